"""Labels: how a value of any format is read as one, and what a user should know of them."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal

import numpy as np

from tuner.data.split import classes
from tuner.study_file.messages import a, counted, quoted, written

LabelName = Callable[[object], str]  # how a label is read: as a class or as a number

_WHOLE = re.compile(r"[+-]?[0-9]{1,15}\.0+")  # floats hold it exactly
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_MISSING = {"na", "n/a", "#n/a", "<na>", "nan", "-nan", "none", "null"}
_SHOWN = 5  # classes that a note names


class LabelError(ValueError):
    """A value that cannot be a label; the message continues the sentence `the label …`."""


class MissingLabelError(LabelError):
    """No value at all."""

    def __init__(self) -> None:
        super().__init__("is missing")


def class_name(value: object) -> str:
    """A label as the name of its class; LabelError if it is missing or cannot be one.

    Whole numbers, truth values and texts are the same class in every format: `1`, `true`.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise LabelError("is not UTF-8 text") from None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise MissingLabelError
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas writes whole numbers so when one of the column is missing
    if isinstance(value, bool | int):
        try:
            return written(value)
        except ValueError:  # more than 4,300 digits
            raise LabelError("is too large a number") from None
    if isinstance(value, list | tuple):
        raise LabelError("is a list; an example has one class, so a row must name one label")
    if not isinstance(value, str):
        raise LabelError(
            f"must be text or a whole number to name a class, is {quoted(written(value))}{_HINT}"
        )
    if not value.strip():
        raise MissingLabelError
    if (bad := unwritable(value)) is not None:
        raise LabelError(f"holds {bad}")
    return value.strip()


def column_class_name(value: object) -> str:
    """The same for a label in a column: the text `1.0` is `1`, as in formats that know numbers."""
    name = class_name(value)
    return str(int(float(name))) if _WHOLE.fullmatch(name) else name


_HINT = "; `task: regression` in the study file's data section says that labels are numbers"


def number_name(value: object) -> str:
    """A label as a number, written with all its digits; LabelError if it is missing or none."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, str | bytes) and not value.strip()):
        raise MissingLabelError
    if isinstance(value, float) and math.isnan(value):  # pandas' mark of a missing number
        raise MissingLabelError
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise LabelError(f"must be a number (`task: regression`), is {a(value)}") from None
    if not math.isfinite(number):
        raise LabelError(f"must be a finite number (`task: regression`), is {a(value)}")
    return repr(number)


class LabelColumn:
    """Labels of a column, with what its notes need: how often each was written in which way."""

    def __init__(self, read: LabelName) -> None:
        self.names: list[str] = []
        self._read = read
        self._known: dict[str, str] = {}  # text → its name
        self._texts: Counter[str] = Counter()

    def append(self, value: object) -> None:
        """Read one more label; LabelError if it is missing or cannot be one."""
        if not isinstance(value, str) or self._read is number_name:  # which seldom come again
            self.names.append(self._read(value))
            return
        name = self._known.get(value)
        if name is None:
            name = self._known[value] = self._read(value)
        self._texts[value] += 1
        self.names.append(name)

    def merged(self, unit: str) -> Iterator[str]:
        """A note on texts that are different but the same class."""
        writings: dict[str, list[str]] = {}
        for text, name in self._known.items():
            writings.setdefault(name, []).append(text)
        several = [texts for texts in writings.values() if len(texts) > 1]
        if several:
            written_so = _groups(several, self._texts, unit)
            yield f"labels written in several ways that are one class: {written_so}"

    @property
    def reordered(self) -> bool:
        """Whether the classes, or their order, were others while the text `1.0` was a class."""
        if all(text.strip() == name for text, name in self._known.items()):
            return False
        before = {text.strip() for text in self._known}
        before |= set(self.names) - set(self._known.values())
        return list(map(column_class_name, classes(before))) != list(classes(self.names))


def notes(labels: Sequence[str], unit: str) -> Iterator[str]:
    """What looks wrong about names of classes; none of it is changed."""
    counts = Counter(labels)
    groups: dict[object, list[str]] = {}
    for name in sorted(counts):
        groups.setdefault(_folded(name), []).append(name)
    alike = [names for names in groups.values() if len(names) > 1]
    if alike:
        yield (
            f"labels that differ in writing only are classes of their own: "
            f"{_groups(alike, counts, unit)}; write them alike if they mean the same"
        )
    missing = [name for name in sorted(counts) if name.casefold() in _MISSING]
    if missing:
        yield (
            f"labels that often stand for a missing one are classes: "
            f"{_listed(missing, counts, unit)}; leave them empty if that is what they mean"
        )
    yield from _several(counts, unit)


def _folded(name: str) -> object:
    """Equal for names that differ in writing only."""
    text = unicodedata.normalize("NFKC", name).casefold()
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")  # zero-width characters
    text = "".join(str(unicodedata.decimal(c, c)) for c in text)  # digits of other scripts
    text = " ".join(text.split())
    return Decimal(text) if _NUMBER.fullmatch(text) else text  # of floats, long ones are equal


def _several(counts: Mapping[str, int], unit: str) -> Iterator[str]:
    """A note on labels that look like several, as `a,b`: in most rows, or of the same few parts."""
    for separator in ",|;":
        split = {name: _pieces(name, separator) for name in counts}
        joined = [name for name, pieces in split.items() if len(pieces) > 1]
        if not joined:
            continue
        uses = Counter(piece for pieces in split.values() for piece in set(pieces))
        pieces = [piece for name in joined for piece in split[name]]
        rows = sum(counts[name] for name in joined)
        again = sum(uses[piece] > 1 for piece in pieces)
        if 2 * rows > sum(counts.values()) or 2 * again >= len(pieces):
            example = max(joined, key=lambda name: (counts[name], name))
            yield (
                f"{counted(rows, unit)} with a label such as {_shown(example)}: each of these is "
                "one class, for an example has one label; if they are lists, split them first"
            )
            return


def _pieces(name: str, separator: str) -> list[str]:
    pieces = [piece.strip(" []'\"") for piece in name.split(separator)]
    # decimal commas are no lists
    return [name] if all(map(_NUMBER.fullmatch, pieces)) or not all(pieces) else pieces


def _groups(groups: Sequence[Sequence[str]], counts: Mapping[str, int], unit: str) -> str:
    shown = [_listed(names, counts, unit) for names in groups[:_SHOWN]]
    more = f"; and {len(groups) - _SHOWN:,} more" if len(groups) > _SHOWN else ""
    return "; ".join(shown) + more


def _listed(names: Sequence[str], counts: Mapping[str, int], unit: str) -> str:
    shown = [f"{_shown(name)} ({counted(counts[name], unit)})" for name in names[:_SHOWN]]
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(shown) + more


def _shown(name: str) -> str:
    """A label in backquotes, with escapes for accents that are characters of their own."""
    return quoted("".join(ascii(c)[1:-1] if unicodedata.combining(c) else c for c in name))


def unwritable(text: str) -> str | None:
    """What no database and no UTF-8 file takes; None where there is nothing of it."""
    if "\0" in text:
        return "a NUL character"
    return surrogate(text)


def surrogate(text: str) -> str | None:
    """The first half of a character that JSON's escapes leave alone, in words."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"half a character, {ascii(text[error.start])[1:-1]}"
    return None
