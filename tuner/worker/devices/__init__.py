"""The machine's devices, found without torch, and how executors share them."""

from tuner.worker.devices.machine import CHOICES, Device, Slot, find, memory, slots

__all__ = ["CHOICES", "Device", "Slot", "find", "memory", "slots"]
