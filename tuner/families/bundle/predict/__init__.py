"""What a bundle's `predict.py` is made of: one module a kind of input, read by `export.flatten`.

Needs torch alone, besides transformers for pretrained models and gensim for word vectors: what
these modules use of tuner is copied into the file.
"""
