"""Devices of this machine, and the slots on them in which executors work."""

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from tuner.errors import BadInputError
from tuner.settings import visible_cuda_devices
from tuner.worker.devices import host
from tuner.worker.devices.nvml import Gpu, Nvml

CHOICES = ("auto", "cpu", "cuda", "mps")
MAX_PER_GPU = 16  # executors


@dataclass(frozen=True, slots=True)
class Device:
    """Something to train on."""

    name: str  # cpu, mps, cuda:3 or, a MIG instance, cuda:3.0
    model: str  # for people
    memory: int  # bytes, in total
    gpu: Gpu | None = None  # only NVIDIA's

    @property
    def kind(self) -> str:
        """A torch device's type: cpu, mps or cuda."""
        return self.name.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one executor works."""

    device: str  # a torch device: cpu, mps, or cuda:0 as the executor sees its only GPU
    threads: int
    visible: str | None = None  # the value for CUDA_VISIBLE_DEVICES: the GPU's UUID
    name: str = "cpu"  # the device's
    spare: int = 0  # above 0: used only while a study wants several trials on the device

    @property
    def kind(self) -> str:
        """A torch device's type: cpu, mps or cuda."""
        return self.name.partition(":")[0]


@lru_cache(maxsize=1)
def nvml() -> Nvml:
    """The driver's library, opened at the first call."""
    return Nvml()


def find(choice: str) -> tuple[Device, ...]:
    """The devices to train on: `auto` takes the GPUs if there are any, else the CPU.

    BadInputError if `cuda` or `mps` is asked for by name and there is none.
    """
    if choice in ("auto", "cuda"):
        gpus = nvml().gpus(visible_cuda_devices())
        if gpus:
            return tuple(Device(gpu.name, gpu.model, gpu.memory, gpu) for gpu in gpus)
        if choice == "cuda":
            hidden = " in CUDA_VISIBLE_DEVICES" if nvml().gpus(None) else ""
            raise BadInputError(
                "the device cuda is asked for, but there is no NVIDIA GPU to be used" + hidden
            )
    if choice in ("auto", "mps"):
        # whether torch can use it, only torch knows: the executor asks it
        if (sys.platform, platform.machine()) == ("darwin", "arm64"):
            return (Device("mps", host.model(), host.memory()),)
        if choice == "mps":
            raise BadInputError("the device mps is asked for, but this is no Mac with Apple's GPU")
    return (Device("cpu", host.model(), host.memory()),)


def slots(
    devices: Sequence[Device], executors: int | None = None, threads: int | None = None
) -> tuple[Slot, ...]:
    """Return one slot per GPU and spare ones, or the cores divided among CPU executors.

    Args:
        devices: what to train on, all of one kind.
        executors: exactly how many slots; None for as many as fit, and spare ones.
        threads: CPU threads per slot; None for an equal share of the cores.

    """
    cores = host.cores()
    if devices[0].kind == "cpu":
        count = executors or max(1, cores // (threads or 1))
    else:
        count = executors or len(devices)
    share = threads or max(1, cores // count)
    chosen = [_slot(devices[i % len(devices)], share) for i in range(count)]
    if executors is None:
        spare = range(1, MAX_PER_GPU)
        chosen += [replace(s, spare=n) for n in spare for s in chosen if s.kind == "cuda"]
    return tuple(chosen)


def _slot(device: Device, threads: int) -> Slot:
    if device.gpu is None:
        return Slot(device.name, threads, name=device.name)
    return Slot("cuda:0", threads, device.gpu.uuid, device.name)


def memory(slot: Slot) -> tuple[int, int]:
    """Return the bytes of memory that are free on the slot's device, and all that it has."""
    if slot.visible is None:
        return host.free_memory(), host.memory()
    gpu = nvml().by_uuid(slot.visible)
    return (0, 0) if gpu is None else (nvml().measure(gpu).free or 0, gpu.memory)
