"""The machine's devices, found without torch, and how executors share them.

machine.py   the devices, and the slots on them in which executors work
nvml.py      NVIDIA's GPUs, through the driver's library
host.py      cores and memory that this process may use
packing.py   how much memory a trial will need, and whether it fits
sampling.py  how the devices are doing
"""

from tuner.worker.devices.machine import CHOICES, Device, Slot, find, memory, slots

__all__ = ["CHOICES", "Device", "Slot", "find", "memory", "slots"]
