"""A fake of NVIDIA's driver: the module `pynvml` over GPUs that a test describes."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml

GIB = 2**30


@dataclass(eq=False)
class FakeGpu:
    """A GPU, or a MIG instance; what is None is not supported by it."""

    uuid: str
    model: str = "NVIDIA H100 80GB HBM3"
    total: int = 80 * GIB
    used: int = GIB
    busy: int | None = 0  # percent
    heat: int | None = 40  # °C
    milliwatts: int | None = 70_000
    mig: list["FakeGpu | None"] | None = None  # None in the list: a place that is not taken
    answers: bool = True


@dataclass
class FakeDriver:
    """What the package asks of `pynvml`."""

    board: list[FakeGpu] = field(default_factory=list)
    is_installed: bool = True

    NVMLError = pynvml.NVMLError
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU
    NVML_DEVICE_MIG_ENABLE = pynvml.NVML_DEVICE_MIG_ENABLE

    def nvmlInit(self) -> None:
        if not self.is_installed:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    def nvmlDeviceGetCount(self) -> int:
        if not self.is_installed:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
        return len(self.board)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        if not self.board[index].answers:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return self.board[index]

    def nvmlDeviceGetUUID(self, handle: FakeGpu) -> str:
        return handle.uuid

    def nvmlDeviceGetName(self, handle: FakeGpu) -> str:
        return handle.model

    def nvmlDeviceGetMemoryInfo(self, handle: FakeGpu) -> Any:
        free = handle.total - handle.used
        return SimpleNamespace(total=handle.total, used=handle.used, free=free)

    def nvmlDeviceGetUtilizationRates(self, handle: FakeGpu) -> Any:
        return SimpleNamespace(gpu=_supported(handle.busy), memory=0)

    def nvmlDeviceGetTemperature(self, handle: FakeGpu, sensor: int) -> int:
        assert sensor == self.NVML_TEMPERATURE_GPU
        return _supported(handle.heat)

    def nvmlDeviceGetPowerUsage(self, handle: FakeGpu) -> int:
        return _supported(handle.milliwatts)

    def nvmlDeviceGetMigMode(self, handle: FakeGpu) -> list[int]:
        return [int(handle.mig is not None)] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: FakeGpu) -> int:
        return len(handle.mig or ())

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: FakeGpu, index: int) -> FakeGpu:
        instance = (handle.mig or ())[index]
        if instance is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return instance


def _supported(value: int | None) -> int:
    if value is None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return value
