"""Benchmarks of word vectors: word pairs with human similarity ratings, and analogies.

The defaults are WordSim-353 (Finkelstein et al., 2002) and the questions published with word2vec
(Mikolov et al., 2013); gensim ships both. A hash of the words splits each in halves: one is the
validation part, which rates trials, the other the test part. Only pairs and questions whose words
all occur in the corpus count, however rare the words are.
"""

import hashlib
import math
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from tuner.data import source_files, tokenizer
from tuner.data.prepared import PartName
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.data import DataSpec
from tuner.study_file.messages import quoted

METRICS = {"word_similarity": "word_pairs", "analogy_accuracy": "analogies"}  # → field of `data`
LEAST = 20  # pairs or questions in each half; fewer say nothing
LONGEST_LINE = 2**20  # bytes

_SEPARATOR = re.compile(r"[\t,;]|\s+")


class WordPair(NamedTuple):
    """Two words and how similar people rate them."""

    first: str
    second: str
    similarity: float  # on the scale of the file

    @property
    def words(self) -> tuple[str, ...]:
        """The words that a model must know."""
        return (self.first, self.second)


class Analogy(NamedTuple):
    """`first` is to `second` as `third` is to `fourth`."""

    first: str
    second: str
    third: str
    fourth: str

    @property
    def words(self) -> tuple[str, ...]:
        """The words that a model must know."""
        return tuple(self)


class _Item(Protocol):
    @property
    def words(self) -> tuple[str, ...]: ...


I = TypeVar("I", bound=_Item)  # noqa: E741


def word_pairs(spec: DataSpec) -> list[WordPair]:
    """Read the pairs of the file that the study names, or of WordSim-353.

    Each line holds two words and a number, separated by tabs, commas or spaces. Other cells between
    and after them are ignored, so SimLex-999 can be used as published. A header and lines that
    start with `#` are skipped. DataError if the file has no such lines.
    """
    path = spec.word_pairs or source_files.locate_packaged("wordsim353")
    pairs: list[WordPair] = []
    for at, line in _lines(path):
        cells = _SEPARATOR.split(line)
        score = next((n for n in map(_parse_number, cells[2:]) if n is not None), None)
        if score is None:
            if not pairs:
                continue  # a header
            raise DataError(f"{at}: must be two words and a number, is {quoted(line)}")
        first, second = (_normalize(cell, spec) for cell in cells[:2])
        pairs.append(WordPair(first, second, score))
    if not pairs:
        raise DataError(f"{shown(path)}: has no line with two words and a number")
    return pairs


def analogies(spec: DataSpec) -> list[Analogy]:
    """Read the questions of the file that the study names, or those of word2vec.

    Each line holds four words; lines that start with `:` name sections and are skipped. DataError
    if the file has no such lines.
    """
    path = spec.analogies or source_files.locate_packaged("questions-words")
    questions = []
    for at, line in _lines(path):
        if line.startswith(":"):
            continue
        cells = _SEPARATOR.split(line)
        if len(cells) != 4:
            raise DataError(f"{at}: must be four words, is {quoted(line)}")
        questions.append(Analogy(*(_normalize(cell, spec) for cell in cells)))
    if not questions:
        raise DataError(f"{shown(path)}: has no line with four words")
    return questions


def halves(items: Sequence[I], vocabulary: Collection[str]) -> dict[PartName, list[I]]:
    """Split the items whose words are all in the vocabulary into a validation and a test part."""
    parts: dict[PartName, list[I]] = {"validation": [], "test": []}
    for item in items:
        if all(word in vocabulary for word in item.words):
            digest = hashlib.sha256("\t".join(item.words).encode()).digest()
            parts["validation" if digest[0] % 2 else "test"].append(item)
    return parts


def check(spec: DataSpec, metric: str, vocabulary: Collection[str]) -> None:
    """Raise DataError if there are too few pairs or questions for this metric."""
    items: Sequence[WordPair] | Sequence[Analogy]
    field = METRICS[metric]
    items = word_pairs(spec) if field == "word_pairs" else analogies(spec)
    parts = halves(items, vocabulary)
    fewest = min(map(len, parts.values()))
    if fewest < LEAST:
        covered = sum(map(len, parts.values()))
        raise DataError(
            f"the corpus has all words of only {covered:,} of the {len(items):,} "
            f"{field.replace('_', ' ')}, too few for {quoted(metric)}: the validation half and the "
            f"test half need {LEAST} each, one has {fewest}; name a file that suits the corpus "
            f"with `{field}`, or choose another metric"
        )


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    where = shown(path)
    with source_files.open_file(path) as file, source_files.reading(path):
        for number, content in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), start=1):
            at = f"{where}, line {number}"
            try:
                line = content.decode("utf-8-sig").strip()
            except UnicodeDecodeError:
                raise DataError(f"{at}: is not UTF-8 text") from None
            if line and not line.startswith("#"):
                yield at, line


def _normalize(cell: str, spec: DataSpec) -> str:
    """Write a word as the corpus would."""
    return " ".join(tokenizer.make_tokenizer(spec)(cell))


def _parse_number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
