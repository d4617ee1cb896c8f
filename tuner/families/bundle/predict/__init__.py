"""The sources of a bundle's `predict.py`: one module per kind of input, read by `export.flatten`.

They need only torch, and transformers for pretrained models or gensim for word vectors: whatever
they use of tuner is copied into the file.
"""
