"""Texts as weighted terms: counted once per kind of n-gram, selected and weighted for each trial.

Counting n-grams is the slow part, and depends only on their kind (words or characters) and length:
the counts of a data set are cached on disk for all processes, once per kind and length. Selecting
and weighting terms is arithmetic on the counts, with the result of scikit-learn's TfidfVectorizer.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from tuner.data import derive, tokenizer
from tuner.data.arrays import array_file
from tuner.data.prepared import PARTS, PartName, PreparedData
from tuner.errors import DataError

COUNTS = 1  # version of the cached counts; raise it when the same texts would give other counts
NAMES = "names.json"
_ARRAYS = {"indptr": "<i8", "indices": "<i4", "data": "<f4"}  # of a compressed sparse row matrix


class Weighting:
    """The terms that a trial's parameters select, learned from the training part only."""

    def __init__(self, params: Mapping[str, Any], data: PreparedData) -> None:
        """Select terms and fit their weights; DataError if the settings leave no term."""
        self._by_word = params["analyzer"] == "word"
        ngrams = params["word_ngrams"] if self._by_word else params["character_ngrams"]
        low, high = str(ngrams).split("-")
        self._ngrams = int(low), int(high)
        self._binary = bool(params["binary"])
        self._counts = _count(data, self._by_word, self._ngrams)
        train = self._matrix("train")
        self._columns = _select(
            train, params["min_df"], float(params["max_df"]), params["max_terms"]
        )
        if not len(self._columns):
            raise DataError(
                f"no term is left with min_df {params['min_df']} and max_df {params['max_df']}; "
                "lower min_df or raise max_df"
            )
        self._transformer = TfidfTransformer(
            norm="l2", use_idf=bool(params["idf"]), sublinear_tf=bool(params["sublinear_tf"])
        ).fit(train[:, self._columns])

    def part(self, name: PartName) -> csr_matrix:
        """Return the weights of a part's terms, float32 [N, terms], with rows of length 1."""
        return csr_matrix(self._transformer.transform(self._matrix(name)[:, self._columns]))

    def describe(self) -> dict[str, Any]:
        """Describe the terms, in the order of their columns, and how texts are cut into them."""
        names = json.loads((self._counts.folder / NAMES).read_text(encoding="utf-8"))
        transformer = self._transformer
        return {
            "names": [names[column] for column in self._columns.tolist()],
            "idf": transformer.idf_.tolist() if transformer.use_idf else None,
            "analyzer": "word" if self._by_word else "character",
            "ngrams": self._ngrams,
            "binary": self._binary,
            "sublinear_tf": transformer.sublinear_tf,
        }

    def _matrix(self, name: PartName) -> csr_matrix:
        """Return counts float32 [N, all terms]; 1 for each term that occurs if `binary` is set."""
        folder = self._counts.folder
        arrays = {a: np.load(folder / f"{name}.{a}.npy", allow_pickle=False) for a in _ARRAYS}
        if self._binary:
            arrays["data"].fill(1.0)
        shape = (self._counts.sizes[name], self._counts.input_shape[0])
        return csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)


def _select(train: csr_matrix, min_df: int, max_df: float, limit: int) -> npt.NDArray[np.int64]:
    """Select the columns of the terms to keep, in order, as scikit-learn does.

    `min_df` is a number of texts, `max_df` a share of them.
    """
    document_frequencies = np.bincount(train.indices, minlength=train.shape[1])
    columns = np.flatnonzero(
        (document_frequencies >= min_df) & (document_frequencies <= max_df * train.shape[0])
    )
    if len(columns) > limit:
        frequencies = np.asarray(train.sum(axis=0)).ravel()[columns]
        columns = np.sort(columns[(-frequencies).argsort()[:limit]])
    return columns


def _count(data: PreparedData, by_word: bool, ngrams: tuple[int, int]) -> PreparedData:
    """Count each text's n-grams, of those that the training part has; the counts are cached."""

    def write(aside: Path) -> PreparedData:
        vectorizer = CountVectorizer(
            analyzer="word" if by_word else "char_wb",
            # the vectorizer has folded case already
            tokenizer=partial(tokenizer.tokenize, lowercase=False, kind=data.tokens)
            if by_word
            else None,
            token_pattern=None,
            ngram_range=ngrams,
            dtype=np.float32,
        )
        try:
            vectorizer.fit(data.texts("train"))
        except ValueError as error:  # "empty vocabulary"
            raise DataError("the texts have no term at all") from error
        for name in PARTS:
            matrix = csr_matrix(vectorizer.transform(data.texts(name)))
            matrix.sort_indices()
            for array, dtype in _ARRAYS.items():
                values = getattr(matrix, array).astype(dtype)
                with array_file(aside / f"{name}.{array}.npy", dtype, values.shape) as file:
                    file.write(values.tobytes())
        names = vectorizer.get_feature_names_out().tolist()
        with (aside / NAMES).open("w", encoding="utf-8") as file:
            json.dump(names, file)
        return replace(data, folder=aside, input_shape=(len(names),), vocabulary=())

    settings = {
        "version": COUNTS,
        "scikit-learn": sklearn.__version__,
        "words": by_word,
        "ngrams": list(ngrams),
    }
    return derive(data, "terms", settings, write)
