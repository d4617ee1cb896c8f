"""Arrays of a table in few bytes: counts stay whole, numbers become steps of a log scale."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LEVELS = {"losses": 2**16 - 1, "seconds": 2**8 - 1, "second": 2**12 - 1}


def pack(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    """Write positive arrays; `losses` of whole numbers are counts of `out_of`."""
    stored: dict[str, NDArray[np.generic]] = {}
    for name, values in arrays.items():
        if name not in LEVELS or np.issubdtype(values.dtype, np.integer):
            stored[name] = values
            continue
        logs = np.log(np.maximum(values.astype(np.float64), 1e-9))
        low, high = float(logs.min()), float(logs.max())
        codes = np.rint((logs - low) / max(high - low, 1e-12) * LEVELS[name])
        stored[name] = codes.astype(np.uint8 if LEVELS[name] < 256 else np.uint16)
        stored[f"{name}_scale"] = np.array([low, high])
    np.savez_compressed(path, allow_pickle=False, **stored)


def unpack(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read them."""
    with np.load(path) as stored:
        arrays = {}
        for name, levels in LEVELS.items():
            if name not in stored:
                continue
            if f"{name}_scale" in stored:
                low, high = stored[f"{name}_scale"]
                logs = low + stored[name].astype(np.float64) * (high - low) / levels
                arrays[name] = np.exp(logs).astype(np.float32)
            else:
                divisor = stored["out_of"] if name == "losses" else 1
                arrays[name] = (stored[name] / divisor).astype(np.float32)
        return arrays
