"""Labelled examples as every source returns them, before they are split and prepared."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

UNCLASSED = "\0"  # label of examples without classes; no file can contain it

E = TypeVar("E", bound="Examples")


@dataclass(frozen=True, kw_only=True, slots=True)
class Examples:
    """Labelled examples of one file, folder or array."""

    where: str  # the file or folder, as messages name it
    unit: str  # what messages call one example: row, image
    labels: Sequence[str]
    keys: Sequence[bytes]  # examples with equal inputs have equal keys
    notes: tuple[str, ...] = ()
    values: Sequence[float] = ()  # regression: the numbers to predict, instead of classes
    reordered: bool = False  # whether former versions had other classes or another order


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts(Examples):
    """Examples whose inputs are texts, none of them blank."""

    texts: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs(Texts):
    """Texts with their targets; they have no classes."""

    targets: Sequence[str]
    alternatives: Sequence[Sequence[str]]  # other right targets of each text; mostly none


@dataclass(frozen=True, kw_only=True, slots=True)
class Images(Examples):
    """Examples whose inputs are images; read one by one, since they may not fit in memory."""

    shape: tuple[int, int, int]  # C, H, W
    dtype: npt.DTypeLike = field(default=np.uint8)  # or float32
    read: Callable[[int], npt.NDArray[np.generic]]  # index → [C, H, W] of that dtype


def as_numbers(examples: E) -> E:
    """Turn labels that were read by `read_number` into values."""
    values = [float(label) for label in examples.labels]
    return replace(examples, labels=[UNCLASSED] * len(values), values=values)


def select(examples: E, rows: Sequence[int], note: str) -> E:
    """Select rows of the examples, with a note on the others."""
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
    """Return the key of an input."""
    return hashlib.sha256(content).digest()
