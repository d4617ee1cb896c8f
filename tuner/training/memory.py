"""What this process takes of its device's memory: at most while it trains, and when it is done.

Torch is asked only where it is loaded: users' own code may do without it.
"""

import contextlib
import gc
import sys
import time
from pathlib import Path
from typing import Any

import psutil

LONG = 0.01  # seconds

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): the peak of the resident set begins anew


class Meter:
    """Bytes over what the process had when this was made: of the GPU's memory, or the machine's.

    On a GPU they are what torch has reserved, caches included, for nobody else can use these; on
    the CPU, where torch does not count, the process's resident set.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._kind = device.partition(":")[0]
        _collect()
        self._base = 0 if self._on_gpu else _resident()

    @property
    def _on_gpu(self) -> bool:
        return self._kind in ("cuda", "mps")

    @property
    def _torch(self) -> Any:
        """The module where it is used, else None: then it holds nothing."""
        torch = sys.modules.get("torch")
        unused = torch is None or (self._kind == "cuda" and not torch.cuda.is_initialized())
        return None if unused else torch

    def begin(self) -> None:
        """Forget the peak of what was done before."""
        if self._on_gpu and self._torch is None:
            return
        if self._kind == "cuda":
            self._torch.cuda.reset_peak_memory_stats(self._device)
        elif not self._on_gpu:
            with contextlib.suppress(OSError):  # not Linux, or forbidden: it counts from the start
                _CLEAR.write_text(_RESET_PEAK)

    def peak(self) -> int:
        """The most that was taken at once since `begin`."""
        if self._on_gpu and self._torch is None:
            return 0
        if self._kind == "cuda":
            return int(self._torch.cuda.max_memory_reserved(self._device))
        if self._on_gpu:  # MPS keeps no peak, but it keeps its cache
            return int(self._torch.mps.driver_allocated_memory())
        return max(0, _resident("VmHWM") - self._base)

    def release(self) -> int:
        """Give caches back; what is held even so. It grows from cohort to cohort if some leaks."""
        _collect()
        if self._on_gpu and self._torch is None:
            return 0
        if self._kind == "cuda":
            self._torch.cuda.empty_cache()
            return int(self._torch.cuda.memory_reserved(self._device))
        if self._on_gpu:
            self._torch.mps.empty_cache()
            return int(self._torch.mps.driver_allocated_memory())
        return max(0, _resident() - self._base)


def _collect() -> None:
    """Collect garbage. What a long search has left is modules and data, not looked at again.

    With torch that is 50 ms, which the next trial would wait for.
    """
    began = time.perf_counter()
    gc.collect()
    if time.perf_counter() - began > LONG:
        gc.freeze()


def _resident(line: str = "VmRSS") -> int:
    """A line of /proc/self/status in bytes; elsewhere than on Linux the resident set as it is."""
    with contextlib.suppress(OSError):
        for said in _STATUS.read_text().splitlines():
            if said.startswith(f"{line}:"):
                return int(said.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)
