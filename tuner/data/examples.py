"""What every source gives: labelled examples that are not split and not prepared yet."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tuner.spec.words import a, quoted, written

LabelName = Callable[[object], str]  # how a label is read: `class_name` or `number_name`
UNCLASSED = "\0"  # the label of examples that have no classes; no file can name it

E = TypeVar("E", bound="Examples")


@dataclass(frozen=True, kw_only=True, slots=True)
class Examples:
    """Labelled examples of one file, folder or array."""

    where: str  # the file or folder, as messages name it
    unit: str  # what messages call one example: row, image
    labels: Sequence[str]
    keys: Sequence[bytes]  # examples with equal inputs have equal keys
    notes: tuple[str, ...] = ()
    values: Sequence[float] = ()  # in place of classes, numbers to be predicted


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts(Examples):
    """Examples whose inputs are texts, none of them blank."""

    texts: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs(Texts):
    """Texts and what each of them becomes; they have no classes."""

    targets: Sequence[str]
    alternatives: Sequence[Sequence[str]]  # what each of them may become as well; mostly nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class Images(Examples):
    """Examples whose inputs are images; they are read one by one, as all may not fit in memory."""

    shape: tuple[int, int, int]  # C, H, W
    dtype: npt.DTypeLike = field(default=np.uint8)  # or float32
    read: Callable[[int], npt.NDArray[np.generic]]  # index → [C, H, W] of that dtype


class LabelError(ValueError):
    """A value that cannot be a label; the message continues the sentence `the label …`."""


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
        raise LabelError("is missing")
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas writes whole numbers so when one of the column is missing
    if isinstance(value, bool | int):
        try:
            return written(value)
        except ValueError:  # more than 4,300 digits
            raise LabelError("is too large a number") from None
    if not isinstance(value, str):
        raise LabelError(
            f"must be text or a whole number to name a class, is {quoted(written(value))}{_HINT}"
        )
    if not value.strip():
        raise LabelError("is missing")
    if (bad := unwritable(value)) is not None:
        raise LabelError(f"holds {bad}")
    return value.strip()


_HINT = "; `task: regression` in the study file's data section says that labels are numbers"


def number_name(value: object) -> str:
    """A label as a number, written with all its digits; LabelError if it is none."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, str | bytes) and not value.strip()):
        raise LabelError("is missing")
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise LabelError(f"must be a number (`task: regression`), is {a(value)}") from None
    if not math.isfinite(number):
        raise LabelError(f"must be a finite number (`task: regression`), is {a(value)}")
    return repr(number)


def numbered(examples: E) -> E:
    """Examples whose labels were read by `number_name`, with these as values."""
    values = [float(label) for label in examples.labels]
    return replace(examples, labels=[UNCLASSED] * len(values), values=values)


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


def key_of(content: bytes) -> bytes:
    """The key of an input."""
    return hashlib.sha256(content).digest()


def counted(number: int, unit: str) -> str:
    """`1 row`, `3,708 rows`."""
    plural = "es" if unit.endswith("s") else "s"
    return f"{number:,} {unit}{'' if number == 1 else plural}"
