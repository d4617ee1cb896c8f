"""What every source gives: labelled examples that are not split and not prepared yet."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

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
    reordered: bool = False  # whether former versions had other classes, or in another order


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


def numbered(examples: E) -> E:
    """Examples whose labels were read by `number_name`, with these as values."""
    values = [float(label) for label in examples.labels]
    return replace(examples, labels=[UNCLASSED] * len(values), values=values)


def select(examples: E, rows: Sequence[int], note: str) -> E:
    """Some of the examples, with a note on the others."""
    changes: dict[str, Any] = {
        name: [getattr(examples, name)[row] for row in rows]
        for name in ("labels", "keys", "texts")
        if hasattr(examples, name)
    }
    if isinstance(examples, Images):
        read = examples.read
        changes["read"] = lambda index: read(rows[index])
    return replace(examples, notes=(*examples.notes, note), **changes)


def key_of(content: bytes) -> bytes:
    """The key of an input."""
    return hashlib.sha256(content).digest()
