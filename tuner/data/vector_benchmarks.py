"""What word vectors are judged by: word pairs with people's similarities, and analogies.

By default WordSim-353 (Finkelstein et al., 2002) and the questions that came with word2vec (Mikolov
et al., 2013), which both come with gensim. Half of each, by a hash of the words, judges trials and
is the validation part; the other half is the test part. Only what the corpus can answer counts:
pairs and questions all of whose words occur in it, however rare.
"""

import hashlib
import math
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from tuner.data import raw, tokenizer
from tuner.data.prepared import PartName
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.data import DataSpec
from tuner.study_file.messages import quoted

METRICS = {"word_similarity": "word_pairs", "analogy_accuracy": "analogies"}  # → field of `data`
LEAST = 20  # pairs or questions in each half; fewer tell nothing
MANY = 2**20  # bytes of a line

_SEPARATOR = re.compile(r"[\t,;]|\s+")


class WordPair(NamedTuple):
    """Two words and how similar people find them."""

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
    """The pairs of the file that is named, or of WordSim-353; DataError if it is unfit.

    A pair a line: two words and a number, separated by tabs, commas or spaces. What stands between
    them and behind is passed over, so SimLex-999 can be named as it is published; so are a header
    and lines that begin with `#`.
    """
    path = spec.word_pairs or raw.packaged("wordsim353")
    found: list[WordPair] = []
    for at, line in _lines(path):
        cells = _SEPARATOR.split(line)
        score = next((n for n in map(_number, cells[2:]) if n is not None), None)
        if score is None:
            if not found:
                continue  # a header
            raise DataError(f"{at}: must be two words and a number, is {quoted(line)}")
        first, second = (_word(cell, spec) for cell in cells[:2])
        found.append(WordPair(first, second, score))
    if not found:
        raise DataError(f"{shown(path)}: has no line with two words and a number")
    return found


def analogies(spec: DataSpec) -> list[Analogy]:
    """The questions of the file that is named, or word2vec's; DataError if it is unfit.

    Four words a line; lines that begin with `:` name sections and are passed over.
    """
    path = spec.analogies or raw.packaged("questions-words")
    found = []
    for at, line in _lines(path):
        if line.startswith(":"):
            continue
        cells = _SEPARATOR.split(line)
        if len(cells) != 4:
            raise DataError(f"{at}: must be four words, is {quoted(line)}")
        found.append(Analogy(*(_word(cell, spec) for cell in cells)))
    if not found:
        raise DataError(f"{shown(path)}: has no line with four words")
    return found


def halves(items: Sequence[I], known: Collection[str]) -> dict[PartName, list[I]]:
    """The items whose words are all known, as a validation and a test part."""
    parts: dict[PartName, list[I]] = {"validation": [], "test": []}
    for item in items:
        if all(word in known for word in item.words):
            digest = hashlib.sha256("\t".join(item.words).encode()).digest()
            parts["validation" if digest[0] % 2 else "test"].append(item)
    return parts


def check(spec: DataSpec, metric: str, known: Collection[str]) -> None:
    """DataError if there are too few pairs or questions for this metric to tell anything."""
    items: Sequence[WordPair] | Sequence[Analogy]
    field = METRICS[metric]
    items = word_pairs(spec) if field == "word_pairs" else analogies(spec)
    parts = halves(items, known)
    fewest = min(map(len, parts.values()))
    if fewest < LEAST:
        covered = sum(map(len, parts.values()))
        raise DataError(
            f"the corpus has all words of only {covered:,} of the {len(items):,} "
            f"{field.replace('_', ' ')}, too few for {quoted(metric)}: of the halves that judge "
            f"trials and the best one, each needs {LEAST}, one has {fewest}; name a file that "
            f"suits the corpus with `{field}`, or another metric"
        )


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    where = shown(path)
    with raw.opened(path) as file, raw.reading(path):
        for number, content in enumerate(iter(lambda: file.readline(MANY), b""), start=1):
            at = f"{where}, line {number}"
            try:
                line = content.decode("utf-8-sig").strip()
            except UnicodeDecodeError:
                raise DataError(f"{at}: is not UTF-8 text") from None
            if line and not line.startswith("#"):
                yield at, line


def _word(cell: str, spec: DataSpec) -> str:
    """As it would stand in the corpus."""
    return " ".join(tokenizer.tokenizer(spec)(cell))


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
