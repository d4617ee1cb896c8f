"""Shared by several families: layers, terms, decoding, training with gensim."""
