"""Sentences as word ids: what the families of word vectors learn from.

A corpus holds its words and the ids of all its sentences, one after the other: four bytes per word,
on disk, memory-mapped by every process that trains.
"""

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tuner.data import tokenizer
from tuner.data.prepared import PARTS, PartName, PreparedData
from tuner.data.tokenizer import Tokenize
from tuner.study_file.data import DataSpec, Tokens

LONGEST = 10_000  # words per sentence; gensim ignores the rest, so longer sentences are split
UNKNOWN = -1  # id of a word that is missing from the training part

_tables: dict[tuple[Path, bool, Tokens], "Mapping[PartName, Corpus]"] = {}


@dataclass(frozen=True, eq=False)
class Corpus:
    """Sentences of words; each iteration yields them all, as lists of words."""

    words: Sequence[str]  # of the training part, in the order in which they first occur
    ids: npt.NDArray[np.int32]  # [tokens], indices into `words` or UNKNOWN
    ends: npt.NDArray[np.int64]  # [sentences], where each ends in `ids`

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[list[str]]:
        names, start = self.words, 0
        for end in self.ends.tolist():
            yield [names[word] for word in self.ids[start:end].tolist() if word != UNKNOWN]
            start = end

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """The number of occurrences of each word, [words]."""
        return np.bincount(self.ids[self.ids >= 0], minlength=len(self.words))


class _Encoder:
    """Assigns ids to words; new words are unknown if the index does not grow."""

    def __init__(self, index: dict[str, int], *, grows: bool = True) -> None:
        self.index = index
        self._grows = grows
        self._ids = array("i")
        self._ends = array("q")

    def add(self, texts: Iterable[str], tokenize: Tokenize, longest: int | None) -> None:
        """Add each text as a sentence, or as several if it has more than `longest` words."""
        index = self.index
        for text in texts:
            tokens = tokenize(text)
            step = longest or max(len(tokens), 1)
            for start in range(0, len(tokens), step):
                piece = tokens[start : start + step]
                if self._grows:
                    self._ids.extend(index.setdefault(token, len(index)) for token in piece)
                else:
                    self._ids.extend(index.get(token, UNKNOWN) for token in piece)
                self._ends.append(len(self._ids))

    def corpus(self) -> Corpus:
        ids, ends = np.array(self._ids, dtype="<i4"), np.array(self._ends, dtype="<i8")
        return Corpus(tuple(self.index), ids, ends)


def split_sentences(sentences: Iterable[str], spec: DataSpec) -> dict[PartName, Corpus]:
    """Split a corpus into three parts by a hash of content and seed; copies stay together.

    The texts of the held-out parts stay in memory until the training part's words are known.
    """
    heldout: dict[PartName, list[str]] = {"validation": [], "test": []}

    def training() -> Iterator[str]:
        for text in sentences:
            name = _part_of(text, spec)
            if name == "train":
                yield text
            else:
                heldout[name].append(text)

    return _encode_parts(training(), heldout, tokenizer.make_tokenizer(spec))


def _encode_parts(
    training: Iterable[str], heldout: Mapping[PartName, Iterable[str]], tokenize: Tokenize
) -> dict[PartName, Corpus]:
    train = _Encoder({})
    train.add(training, tokenize, LONGEST)
    parts = {"train": train.corpus()}
    for name, texts in heldout.items():  # filled while `training` was read
        encoder = _Encoder(train.index, grows=False)
        encoder.add(texts, tokenize, LONGEST)
        parts[name] = encoder.corpus()
    return {name: parts[name] for name in PARTS}


def _part_of(text: str, spec: DataSpec) -> PartName:
    key = f"{spec.split.seed}:".encode() + tokenizer.normalize_text(text)
    position = int.from_bytes(hashlib.sha256(key).digest()[:8], "big") / 2**64  # in [0, 1)
    if position < spec.split.test:
        return "test"
    return "validation" if position < spec.split.test + spec.split.validation else "train"


def encode(texts: Iterable[str], tokenize: Tokenize) -> Corpus:
    """Encode texts with all of their words, each as one sentence, however long."""
    encoder = _Encoder({})
    encoder.add(texts, tokenize, None)
    return encoder.corpus()


def load(data: PreparedData, spec: DataSpec) -> Mapping[PartName, Corpus]:
    """Load the sentences of all parts, of a corpus or of a table's texts.

    A table's texts are tokenized once per process.
    """
    if data.kind == "corpus":
        return {name: Corpus(data.vocabulary, *data.sentences(name)) for name in PARTS}
    key = (data.folder, spec.lowercase, spec.tokens)
    if key not in _tables:
        _tables.clear()
        heldout: dict[PartName, list[str]] = {
            name: data.texts(name) for name in PARTS if name != "train"
        }
        _tables[key] = _encode_parts(data.texts("train"), heldout, tokenizer.make_tokenizer(spec))
    return _tables[key]
