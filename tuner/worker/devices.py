"""The machine's devices, found without torch, and how executors share them."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache

from tuner.errors import BadInputError
from tuner.settings import visible_cuda_devices


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one executor works."""

    device: str  # a torch device: cpu, or cuda:0 as the executor sees its only GPU
    threads: int
    cuda_index: str | None = None  # what CUDA_VISIBLE_DEVICES shall be

    @property
    def name(self) -> str:
        """For people: `cpu` or `cuda:3`."""
        return "cpu" if self.cuda_index is None else f"cuda:{self.cuda_index}"


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def gpus() -> tuple[str, ...]:
    """CUDA devices as CUDA_VISIBLE_DEVICES names them; empty where there is no NVIDIA driver."""
    visible = visible_cuda_devices()
    if visible is not None:
        return visible
    command = shutil.which("nvidia-smi")
    if command is None:
        return ()
    found = subprocess.run(
        [command, "--query-gpu=index", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return tuple(found.stdout.split()) if found.returncode == 0 else ()


def slots(device: str, executors: int | None, threads: int | None) -> tuple[Slot, ...]:
    """One slot a GPU, or the cores divided among CPU executors.

    `device` is auto, cpu or cuda; `executors` and `threads` (of each) are None for what is there.
    BadInputError if cuda is asked for by name and there is no GPU.
    """
    available = gpus() if device in ("auto", "cuda") else ()
    if device == "cuda" and not available:
        raise BadInputError("the device cuda is asked for, but there is no NVIDIA GPU to be used")
    if available:
        chosen = [available[i % len(available)] for i in range(executors or len(available))]
        share = threads or max(1, cores() // len(chosen))
        return tuple(Slot("cuda:0", share, index) for index in chosen)
    count = executors or max(1, cores() // (threads or 1))
    return tuple(Slot("cpu", threads or max(1, cores() // count)) for _ in range(count))
