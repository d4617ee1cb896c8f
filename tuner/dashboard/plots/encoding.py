"""Figures as JSON for a page: numbers packed as plotly.js reads them, without nulls."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

PACKED = 32  # numbers: from here on packing is shorter
EXACT = 1e-4  # of the greatest value: if all are closer together, 32 bits would move them


def encode(value: Any) -> bytes:
    """Encode as JSON: lists of numbers packed, NaN and infinities as null."""
    return json.dumps(_plain(value), separators=(",", ":"), allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return _encode_list(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    return value


def _encode_list(values: Sequence[Any]) -> Any:
    """Pack a long list of numbers, as a whole: plotly.js does not unpack parts of a list."""
    if values and all(isinstance(row, list | tuple) for row in values):
        flat = [cell for row in values for cell in row]
        width = len(values[0])
        if len(flat) >= PACKED and all(len(row) == width for row in values):
            packed = _pack(flat)
            if packed is not None:
                return packed | {"shape": f"{len(values)},{width}"}
        return [[_plain(cell) for cell in row] for row in values]
    packed = _pack(values) if len(values) >= PACKED else None
    return packed or [_plain(inner) for inner in values]


def _pack(values: Sequence[Any]) -> dict[str, str] | None:
    """Pack as plotly.js' typed array; null becomes NaN, which it draws as a gap too."""
    kinds = set(map(type, values))
    if kinds == {int}:
        array = np.array(values)
        if array.dtype != np.int64:  # beyond 64 bits
            return None
        for dtype in (np.uint8, np.int16, np.int32):
            if np.iinfo(dtype).min <= array.min() and array.max() <= np.iinfo(dtype).max:
                return _typed_array(array.astype(dtype))
        return _typed_array(array.astype(np.float64))
    if not kinds <= {int, float, type(None)} or kinds == {type(None)}:
        return None
    try:
        floats = np.array([math.nan if v is None else v for v in values], dtype=np.float64)
    except OverflowError:
        return None
    finite = floats[np.isfinite(floats)]
    largest = float(np.abs(finite).max(initial=0.0))
    is_narrow = len(finite) > 0 and float(np.ptp(finite)) < EXACT * largest
    if is_narrow or not 1e-30 < largest < 1e30:
        return _typed_array(floats)
    return _typed_array(floats.astype(np.float32))


def _typed_array(array: Any) -> dict[str, str]:
    little_endian = array.astype(array.dtype.newbyteorder("<"))
    return {
        "dtype": f"{array.dtype.kind}{array.dtype.itemsize}",
        "bdata": base64.b64encode(little_endian.tobytes()).decode(),
    }
