"""Read labels from values of any format, and note what looks wrong about them."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal

import numpy as np

from tuner.data.split import sort_classes
from tuner.study_file.messages import a, counted, quoted, written

ReadLabel = Callable[[object], str]  # reads a label as a class or as a number

_WHOLE = re.compile(r"[+-]?[0-9]{1,15}\.0+")  # a float holds it exactly
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_MISSING = {"na", "n/a", "#n/a", "<na>", "nan", "-nan", "none", "null"}
_MAX_NAMED = 5  # classes that a note names


class LabelError(ValueError):
    """A value that cannot be a label; the message continues the sentence `the label …`."""


class MissingLabelError(LabelError):
    """The value is missing."""

    def __init__(self) -> None:
        super().__init__("is missing")


def read_class(value: object) -> str:
    """Read a label as the name of its class; LabelError if it is missing or cannot be one.

    Whole numbers, booleans and texts name the same class in every format: `1`, `true`.
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
        value = int(value)  # pandas turns whole numbers into floats if one of the column is missing
    if isinstance(value, bool | int):
        try:
            return written(value)
        except ValueError:  # more than 4,300 digits
            raise LabelError("is too large a number") from None
    if isinstance(value, list | tuple):
        raise LabelError("is a list, but each row must name a single label")
    if not isinstance(value, str):
        raise LabelError(
            f"must be text or a whole number to name a class, is {quoted(written(value))}{_HINT}"
        )
    if not value.strip():
        raise MissingLabelError
    if (character := unwritable(value)) is not None:
        raise LabelError(f"holds {character}")
    return value.strip()


def read_column_class(value: object) -> str:
    """Read a label of a column: the text `1.0` means `1`, as in formats that have numbers."""
    name = read_class(value)
    return str(int(float(name))) if _WHOLE.fullmatch(name) else name


_HINT = "; to predict numbers, set `task: regression` in the study file's data section"


def read_number(value: object) -> str:
    """Read a label as a number, written with all digits; LabelError if it is missing or none."""
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
    """The labels of a column, with the spellings of each, which the notes name."""

    def __init__(self, read_label: ReadLabel) -> None:
        self.names: list[str] = []
        self._read_label = read_label
        self._cache: dict[str, str] = {}  # text → its name
        self._spellings: Counter[str] = Counter()

    def append(self, value: object) -> None:
        """Read one more label; LabelError if it is missing or cannot be one."""
        if not isinstance(value, str) or self._read_label is read_number:  # rarely repeated
            self.names.append(self._read_label(value))
            return
        name = self._cache.get(value)
        if name is None:
            name = self._cache[value] = self._read_label(value)
        self._spellings[value] += 1
        self.names.append(name)

    def note_spellings(self, unit: str) -> Iterator[str]:
        """Yield a note on texts that differ but name the same class."""
        spellings: dict[str, list[str]] = {}
        for text, name in self._cache.items():
            spellings.setdefault(name, []).append(text)
        several = [texts for texts in spellings.values() if len(texts) > 1]
        if several:
            groups = _join_groups(several, self._spellings, unit)
            yield f"labels with several spellings are read as one class: {groups}"

    @property
    def reordered(self) -> bool:
        """Whether versions that took the text `1.0` as a class had other classes or another order.

        Such data gets another fingerprint.
        """
        if all(text.strip() == name for text, name in self._cache.items()):
            return False
        former = {text.strip() for text in self._cache}
        former |= set(self.names) - set(self._cache.values())
        return list(map(read_column_class, sort_classes(former))) != list(sort_classes(self.names))


def note_suspicious(labels: Sequence[str], unit: str) -> Iterator[str]:
    """Yield notes on class names that look wrong; they stay as they are."""
    counts = Counter(labels)
    groups: dict[object, list[str]] = {}
    for name in sorted(counts):
        groups.setdefault(_fold(name), []).append(name)
    alike = [names for names in groups.values() if len(names) > 1]
    if alike:
        yield (
            f"labels that differ only in spelling are separate classes: "
            f"{_join_groups(alike, counts, unit)}; spell them the same if they mean the same"
        )
    missing = [name for name in sorted(counts) if name.casefold() in _MISSING]
    if missing:
        yield (
            f"labels that often mean a missing value are classes: "
            f"{_join_names(missing, counts, unit)}; leave them empty if they are missing"
        )
    yield from _note_lists(counts, unit)


def _fold(name: str) -> object:
    """Return the same value for names that differ only in spelling."""
    text = unicodedata.normalize("NFKC", name).casefold()
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")  # zero-width characters
    text = "".join(str(unicodedata.decimal(c, c)) for c in text)  # digits of other scripts
    text = " ".join(text.split())
    return Decimal(text) if _NUMBER.fullmatch(text) else text  # as floats, long ones would be equal


def _note_lists(counts: Mapping[str, int], unit: str) -> Iterator[str]:
    """Yield a note on labels that look like lists, such as `a,b`.

    They do if most rows have such labels, or if their pieces recur in other labels.
    """
    for separator in ",|;":
        split = {name: _split(name, separator) for name in counts}
        joined = [name for name, pieces in split.items() if len(pieces) > 1]
        if not joined:
            continue
        uses = Counter(piece for pieces in split.values() for piece in set(pieces))
        pieces = [piece for name in joined for piece in split[name]]
        rows = sum(counts[name] for name in joined)
        recurring = sum(uses[piece] > 1 for piece in pieces)
        if 2 * rows > sum(counts.values()) or 2 * recurring >= len(pieces):
            example = max(joined, key=lambda name: (counts[name], name))
            yield (
                f"{counted(rows, unit)} with a label such as {_quote(example)}: each such label is "
                "one class, as an example has a single label; if they are lists, split them first"
            )
            return


def _split(name: str, separator: str) -> list[str]:
    pieces = [piece.strip(" []'\"") for piece in name.split(separator)]
    # decimal commas are no lists
    return [name] if all(map(_NUMBER.fullmatch, pieces)) or not all(pieces) else pieces


def _join_groups(groups: Sequence[Sequence[str]], counts: Mapping[str, int], unit: str) -> str:
    joined = "; ".join(_join_names(names, counts, unit) for names in groups[:_MAX_NAMED])
    more = len(groups) - _MAX_NAMED
    return f"{joined}; and {more:,} more" if more > 0 else joined


def _join_names(names: Sequence[str], counts: Mapping[str, int], unit: str) -> str:
    joined = ", ".join(
        f"{_quote(name)} ({counted(counts[name], unit)})" for name in names[:_MAX_NAMED]
    )
    more = len(names) - _MAX_NAMED
    return f"{joined} and {more:,} more" if more > 0 else joined


def _quote(name: str) -> str:
    """Quote a label, with escapes for combining accents."""
    return quoted("".join(ascii(c)[1:-1] if unicodedata.combining(c) else c for c in name))


def unwritable(text: str) -> str | None:
    """Describe a character that no database and no UTF-8 file takes; None if there is none."""
    if "\0" in text:
        return "a NUL character"
    return surrogate(text)


def surrogate(text: str) -> str | None:
    """Describe the first lone surrogate, which JSON's escapes can hold; None if there is none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"half a character, {ascii(text[error.start])[1:-1]}"
    return None
