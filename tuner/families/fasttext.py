"""Word vectors with character n-grams (Bojanowski, Grave, Joulin & Mikolov, 2017).

Like `word2vec`, but a word's vector is the mean of its own and those of its character n-grams, with
`<` and `>` around the word. So even rare words are similar to others with the same stem, and words
missing from the corpus have vectors too. N-grams are hashed into `bucket` vectors.
"""

from typing import Any

from gensim.models import FastText, Word2Vec
from gensim.models.fasttext import ft_ngram_hashes

from tuner.data.corpus import Corpus
from tuner.data.vectors import unpack_words
from tuner.families.parts import word_vectors
from tuner.families.parts.word_tests import Floats, Vectors
from tuner.families.parts.word_vectors import Arrays, Params


def build(params: Params, sentences: Corpus, seed: int, threads: int) -> FastText:
    """Build the model that a trial's parameters describe, before its first epoch."""
    p: Any = params
    model = FastText(
        **word_vectors.settings(params, seed, threads),
        min_n=p["min_n"],
        max_n=p["max_n"],
        bucket=p["bucket"],
    )
    return word_vectors.with_vocabulary(model, sentences)


def _state(model: Word2Vec) -> dict[str, Floats]:
    return {
        "words": model.wv.vectors_vocab,
        "ngrams": model.wv.vectors_ngrams,
        "output": model.syn1 if model.hs else model.syn1neg,
    }


def _weights(model: Word2Vec) -> dict[str, Floats]:
    return {"vectors": model.wv.vectors, "ngrams": model.wv.vectors_ngrams}


def _vectors(params: Params, weights: Arrays) -> Vectors:
    p: Any = params
    ngrams = weights["ngrams"]

    def compose(word: str) -> Floats | None:
        hashes = ft_ngram_hashes(word, p["min_n"], p["max_n"], len(ngrams))
        mean: Floats | None = ngrams[hashes].mean(axis=0) if hashes else None
        return mean

    return Vectors(unpack_words(weights["words"]), weights["vectors"], compose)


KIND = word_vectors.Kind(build, _state, _weights, _vectors)
CODE = word_vectors.code(KIND)
