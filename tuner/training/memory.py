"""The memory that this process uses on its device: the peak while it trains, and afterwards.

Torch is used only if it is loaded: user code may do without it.
"""

import contextlib
import gc
import sys
import time
from pathlib import Path
from typing import Any

import psutil

SLOW_COLLECTION = 0.01  # seconds

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): resets the peak of the resident set


class Meter:
    """Measures bytes beyond those that the process used when the meter was made.

    On a GPU these are the bytes that torch has reserved, including caches, since no other process
    can use them; on the CPU, where torch does not count, the process's resident set.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._kind = device.partition(":")[0]
        _collect()
        self._base = 0 if self._on_gpu else _resident_set()

    @property
    def _on_gpu(self) -> bool:
        return self._kind in ("cuda", "mps")

    @property
    def _torch(self) -> Any:
        """The module if it is in use, else None: then it holds no memory."""
        torch = sys.modules.get("torch")
        unused = torch is None or (self._kind == "cuda" and not torch.cuda.is_initialized())
        return None if unused else torch

    def begin(self) -> None:
        """Reset the peak."""
        if self._on_gpu and self._torch is None:
            return
        if self._kind == "cuda":
            self._torch.cuda.reset_peak_memory_stats(self._device)
        elif not self._on_gpu:
            with contextlib.suppress(OSError):  # not Linux, or forbidden: the old peak counts
                _CLEAR.write_text(_RESET_PEAK)

    def peak(self) -> int:
        """Return the peak since `begin`."""
        if self._on_gpu and self._torch is None:
            return 0
        if self._kind == "cuda":
            return int(self._torch.cuda.max_memory_reserved(self._device))
        if self._on_gpu:  # MPS records no peak, but keeps its cache
            return int(self._torch.mps.driver_allocated_memory())
        return max(0, _resident_set("VmHWM") - self._base)

    def release(self) -> int:
        """Release caches; returns what is still in use, which grows if cohorts leak memory."""
        _collect()
        if self._on_gpu and self._torch is None:
            return 0
        if self._kind == "cuda":
            self._torch.cuda.empty_cache()
            return int(self._torch.cuda.memory_reserved(self._device))
        if self._on_gpu:
            self._torch.mps.empty_cache()
            return int(self._torch.mps.driver_allocated_memory())
        return max(0, _resident_set() - self._base)


def _collect() -> None:
    """Collect garbage; if that is slow, exempt what remains from later collections.

    What remains are modules and data. With torch, searching them takes 50 ms, which the next trial
    would have to wait for.
    """
    started = time.perf_counter()
    gc.collect()
    if time.perf_counter() - started > SLOW_COLLECTION:
        gc.freeze()


def _resident_set(field: str = "VmRSS") -> int:
    """Read a field of /proc/self/status in bytes; without /proc, the current resident set."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)
