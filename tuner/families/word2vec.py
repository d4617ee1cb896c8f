"""Word vectors learned from contexts (Mikolov et al., 2013): CBOW and skip-gram.

    sg 0, CBOW        the mean of the vectors of the words around a word predicts it
    sg 1, skip-gram   the vector of a word predicts each of the words around it

A prediction tells the word from a few random ones (negative sampling), or is a path through a
Huffman tree of all words (hierarchical softmax). Frequent words are skipped at random (`sample`).
gensim trains the vectors by stochastic gradient descent.
"""

from gensim.models import Word2Vec

from tuner.data.corpus import Corpus
from tuner.data.vectors import unpack_words
from tuner.families.parts import word_vectors
from tuner.families.parts.word_tests import Floats, Vectors
from tuner.families.parts.word_vectors import Arrays, Params


def build(params: Params, sentences: Corpus, seed: int, threads: int) -> Word2Vec:
    """Build the model that a trial's parameters describe, before its first epoch."""
    model = Word2Vec(**word_vectors.settings(params, seed, threads))
    return word_vectors.with_vocabulary(model, sentences)


def _state(model: Word2Vec) -> dict[str, Floats]:
    return {"input": model.wv.vectors, "output": model.syn1 if model.hs else model.syn1neg}


def _weights(model: Word2Vec) -> dict[str, Floats]:
    return {"vectors": model.wv.vectors}


def _vectors(_: Params, weights: Arrays) -> Vectors:
    return Vectors(unpack_words(weights["words"]), weights["vectors"])


KIND = word_vectors.Kind(build, _state, _weights, _vectors)
CODE = word_vectors.code(KIND)
