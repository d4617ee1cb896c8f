"""NVIDIA GPUs through NVML, the driver's own library: which there are, and how they are doing.

https://docs.nvidia.com/deploy/nvml-api. Nothing here makes a CUDA context. Without a driver there
are no GPUs, and no error. A GPU in MIG mode is as many devices as it has instances.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pynvml

NOTHING = ("-1", "NoDevFiles")  # values of CUDA_VISIBLE_DEVICES that hide all GPUs

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, or an instance of one in MIG mode."""

    name: str  # cuda:3, or cuda:3.0 for its first MIG instance; numbered as nvidia-smi does
    uuid: str  # GPU-… or MIG-…, as CUDA_VISIBLE_DEVICES takes it
    model: str  # for people: NVIDIA H100 80GB HBM3
    memory: int  # bytes, in total
    parent: str  # the GPU's own uuid, also of an instance
    handle: Any = field(compare=False, repr=False)
    board: Any = field(compare=False, repr=False)  # the GPU's handle, also of an instance


@dataclass(frozen=True, slots=True)
class GpuReading:
    """How a GPU is doing at one moment; None where the driver does not say."""

    utilization: float | None  # 0 to 1, of the time since the driver's last sample
    used: int | None  # bytes
    free: int | None  # bytes
    temperature: float | None  # °C, of the board
    power: float | None  # W, of the board


class Nvml:
    """NVML, opened once per process; `library` is pynvml, or a module with the same interface."""

    def __init__(self, library: Any = pynvml) -> None:
        self._library = library
        self._by_uuid: dict[str, Gpu] = {}  # by UUID
        self._is_open = self._ask(library.nvmlInit, absent=False) is not False

    def gpus(self, visible: Sequence[str] | None) -> tuple[Gpu, ...]:
        """Find the GPUs that may be used, in the order of `visible`.

        `visible` holds the entries of CUDA_VISIBLE_DEVICES: numbers as nvidia-smi shows them, or
        prefixes of UUIDs. As in CUDA, entries after one that names no GPU do not count.
        """
        present = tuple(self._all()) if self._is_open else ()
        self._by_uuid = {gpu.uuid: gpu for gpu in present}
        if visible is None:
            return present
        chosen: dict[str, Gpu] = {}
        for entry in visible:
            named = [gpu for gpu in present if _names(entry, gpu)]
            if not named:
                if entry not in NOTHING:
                    _log.warning("CUDA_VISIBLE_DEVICES: there is no GPU `%s`", entry)
                break
            chosen |= {gpu.uuid: gpu for gpu in named}
        return tuple(chosen.values())

    def by_uuid(self, uuid: str) -> Gpu | None:
        """Return the GPU of that full UUID; None if there is none."""
        if uuid not in self._by_uuid:
            self.gpus(None)
        return self._by_uuid.get(uuid)

    def measure(self, gpu: Gpu) -> GpuReading:
        """Measure how the GPU is doing now."""
        library = self._library
        memory = self._ask(library.nvmlDeviceGetMemoryInfo, gpu.handle)
        rates = self._ask(library.nvmlDeviceGetUtilizationRates, gpu.handle)
        sensor = library.NVML_TEMPERATURE_GPU
        heat = self._ask(library.nvmlDeviceGetTemperature, gpu.board, sensor)
        milliwatts = self._ask(library.nvmlDeviceGetPowerUsage, gpu.board)
        return GpuReading(
            utilization=None if rates is None else rates.gpu / 100,
            used=None if memory is None else int(memory.used),
            free=None if memory is None else int(memory.free),
            temperature=None if heat is None else float(heat),
            power=None if milliwatts is None else milliwatts / 1000,
        )

    def _all(self) -> Iterator[Gpu]:
        library = self._library
        for index in range(self._ask(library.nvmlDeviceGetCount) or 0):
            board = self._ask(library.nvmlDeviceGetHandleByIndex, index)
            if board is None:  # it has fallen off the bus
                continue
            name, uuid = f"cuda:{index}", self._text(library.nvmlDeviceGetUUID, board)
            mode = self._ask(library.nvmlDeviceGetMigMode, board)
            if mode is None or mode[0] != library.NVML_DEVICE_MIG_ENABLE:
                yield self._gpu(name, uuid, board, board)
                continue
            for place in range(self._ask(library.nvmlDeviceGetMaxMigDeviceCount, board) or 0):
                instance = self._ask(library.nvmlDeviceGetMigDeviceHandleByIndex, board, place)
                if instance is not None:  # the place is free
                    yield self._gpu(f"{name}.{place}", uuid, instance, board)

    def _gpu(self, name: str, parent: str, handle: Any, board: Any) -> Gpu:
        library = self._library
        memory = self._ask(library.nvmlDeviceGetMemoryInfo, handle)
        return Gpu(
            name=name,
            uuid=self._text(library.nvmlDeviceGetUUID, handle),
            model=self._text(library.nvmlDeviceGetName, handle),
            memory=0 if memory is None else int(memory.total),
            parent=parent,
            handle=handle,
            board=board,
        )

    def _text(self, question: Callable[..., Any], handle: Any) -> str:
        answer = self._ask(question, handle)
        return answer.decode() if isinstance(answer, bytes) else str(answer or "")

    def _ask(self, question: Callable[..., _T], *arguments: Any, absent: Any = None) -> Any:
        """Return NVML's answer; `absent` without a driver, or if the device does not know."""
        try:
            return question(*arguments)
        except self._library.NVMLError as error:
            _log.debug("NVML: %s", error)
            return absent


def _names(entry: str, gpu: Gpu) -> bool:
    """Whether an entry of CUDA_VISIBLE_DEVICES names this GPU, or the one it is a part of."""
    if entry.isdigit():
        return gpu.name.removeprefix("cuda:").partition(".")[0] == entry
    uuids = (gpu.uuid, gpu.parent)
    return entry.startswith(("GPU-", "MIG-")) and any(u.startswith(entry) for u in uuids)
