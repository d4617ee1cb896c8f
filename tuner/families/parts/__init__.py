"""What several families share: layers, terms, decoding, gensim's training."""
