"""How this machine's devices are doing: samples that a worker stores now and then."""

from collections.abc import Iterator, Sequence

import psutil

from tuner.database.devices import DeviceRecord, DeviceSample
from tuner.worker.devices import host
from tuner.worker.devices.machine import Slot, nvml


class DeviceSampler:
    """The devices of a worker's slots, and the CPU, which feeds them all."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._gpus = {
            slot.name: gpu
            for slot in slots
            if slot.visible is not None and (gpu := nvml().by_uuid(slot.visible)) is not None
        }
        self._others = list(dict.fromkeys([s.name for s in slots if s.visible is None] + ["cpu"]))
        psutil.cpu_percent()  # the next call measures from here

    def devices(self) -> list[DeviceRecord]:
        """Return the devices."""
        gpus = [DeviceRecord(name, gpu.model, gpu.memory) for name, gpu in self._gpus.items()]
        return gpus + [DeviceRecord(name, host.model(), host.memory()) for name in self._others]

    def samples(self) -> Iterator[tuple[str, DeviceSample]]:
        """Sample each device; the CPU's utilization is that since the last call."""
        for name, gpu in self._gpus.items():
            reading = nvml().measure(gpu)
            yield (
                name,
                DeviceSample(reading.utilization, reading.used, reading.temperature, reading.power),
            )
        for name in self._others:
            used = host.memory() - host.free_memory()
            busy = psutil.cpu_percent() / 100 if name == "cpu" else None
            yield name, DeviceSample(busy, max(0, used))
