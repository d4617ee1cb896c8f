"""Sentences as numbers: what the families learn from that train word vectors.

All words of a corpus and, one after the other, the numbers of the words of all its sentences: four
bytes a word, on disk, memory-mapped by every process that trains.
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

LONGEST = 10_000  # words of a sentence; gensim passes over what is behind them, so longer are cut
UNKNOWN = -1  # a word that the training part lacks

_tables: dict[tuple[Path, bool, Tokens], "Mapping[PartName, Corpus]"] = {}


@dataclass(frozen=True, eq=False)
class Corpus:
    """Sentences of words; iterating gives each as a list of words, as often as one likes."""

    words: Sequence[str]  # of the training part, in the order in which they first occur
    ids: npt.NDArray[np.int32]  # [tokens], indices into `words` or UNKNOWN
    ends: npt.NDArray[np.int64]  # [sentences], where each ends in `ids`

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[list[str]]:
        names, start = self.words, 0
        for end in self.ends.tolist():
            yield [names[number] for number in self.ids[start:end].tolist() if number >= 0]
            start = end

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """How often each word occurs, [words]."""
        return np.bincount(self.ids[self.ids >= 0], minlength=len(self.words))


class _Encoder:
    """Gives words their numbers; where `index` does not grow, new ones are unknown."""

    def __init__(self, index: dict[str, int], *, grows: bool = True) -> None:
        self.index = index
        self._grows = grows
        self._ids = array("i")
        self._ends = array("q")

    def add(self, texts: Iterable[str], tokenize: Tokenize, longest: int | None) -> None:
        """Each text is a sentence, or several where it has more than `longest` words."""
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


def parts(sentences: Iterable[str], spec: DataSpec) -> dict[PartName, Corpus]:
    """A corpus in three parts, drawn by a hash of content and seed; copies stay together.

    The texts of the held-out parts are in memory until the words of the training part are known.
    """
    held: dict[PartName, list[str]] = {"validation": [], "test": []}

    def training() -> Iterator[str]:
        for text in sentences:
            name = _part(text, spec)
            if name == "train":
                yield text
            else:
                held[name].append(text)

    return _encoded(training(), held, tokenizer.tokenizer(spec))


def _encoded(
    training: Iterable[str], held: Mapping[PartName, Iterable[str]], tokenize: Tokenize
) -> dict[PartName, Corpus]:
    train = _Encoder({})
    train.add(training, tokenize, LONGEST)
    found = {"train": train.corpus()}
    for name, texts in held.items():
        other = _Encoder(train.index, grows=False)
        other.add(texts, tokenize, LONGEST)
        found[name] = other.corpus()
    return {name: found[name] for name in PARTS}


def _part(text: str, spec: DataSpec) -> PartName:
    key = f"{spec.split.seed}:".encode() + tokenizer.same_text(text)
    drawn = int.from_bytes(hashlib.sha256(key).digest()[:8], "big") / 2**64
    if drawn < spec.split.test:
        return "test"
    return "validation" if drawn < spec.split.test + spec.split.validation else "train"


def encode(texts: Iterable[str], tokenize: Tokenize) -> Corpus:
    """Texts as they are, each one sentence however long, with all of their words."""
    encoder = _Encoder({})
    encoder.add(texts, tokenize, None)
    return encoder.corpus()


def load(data: PreparedData, spec: DataSpec) -> Mapping[PartName, Corpus]:
    """The sentences to learn from and those held out: of a corpus, or the texts of a table.

    A table's texts are cut into words once a process.
    """
    if data.kind == "corpus":
        return {name: Corpus(data.vocabulary, *data.sentences(name)) for name in PARTS}
    key = (data.folder, spec.lowercase, spec.tokens)
    if key not in _tables:
        _tables.clear()
        held: dict[PartName, list[str]] = {
            name: data.texts(name) for name in PARTS if name != "train"
        }
        _tables[key] = _encoded(data.texts("train"), held, tokenizer.tokenizer(spec))
    return _tables[key]
