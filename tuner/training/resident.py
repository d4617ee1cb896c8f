"""Parts of a data set on the device, loaded once per process.

A small part is read, normalized and moved to the device once, and all trials of this executor use
the same tensors; there is no DataLoader. A part too large for that stays a memory-mapped file, and
each batch is gathered, moved and normalized when it is used.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor

from tuner.data.prepared import PartName, PreparedData

SHARE = 0.25  # of the device's free memory that one part may take
BUCKET = 32  # batches whose texts are sorted by length together

_loaded: dict[tuple[Path, PartName, str], "Resident"] = {}


@dataclass(frozen=True, slots=True)
class Resident:
    """One part of the data."""

    inputs: Tensor  # images [N, C, H, W], token ids [N, longest] or features [N, width]
    labels: Tensor  # classes int64 [N], numbers float32 [N], or token ids int64 [N, longest]
    device: torch.device
    mean: Tensor | None = None  # [C, 1, 1]; None if `inputs` are normalized already
    std: Tensor | None = None  # [C, 1, 1]
    lengths: Tensor | None = None  # texts: number of tokens of each, int64 [N] in main memory

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield indices in random order, `size` at a time."""
        return shuffle(len(self), size, generator, self.lengths, self.labels.device)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs (images as normalized float32) and labels at `indices`, on the device."""
        inputs = self.inputs[indices].to(self.device, non_blocking=True)
        if self.mean is not None and self.std is not None:
            inputs = (inputs.float() - self.mean) / self.std
        elif self.lengths is not None and self.device.type == "cpu":
            inputs = inputs[:, : int(self.lengths[indices].max())]  # a GPU would have to wait here
        return inputs, self.labels[indices].to(self.device, non_blocking=True)


def shuffle(
    total: int, size: int, generator: torch.Generator, lengths: Tensor | None, device: torch.device
) -> Iterator[Tensor]:
    """Yield batches of indices in random order.

    With `lengths`, examples of a batch have similar lengths, so that little of it is padding: a
    random order is cut into runs of `BUCKET` batches, each run is sorted by length, and the batches
    are shuffled.
    """
    order = torch.randperm(total, generator=generator)
    starts = torch.arange(0, total, size)
    if lengths is not None:
        runs = order.split(size * BUCKET)
        order = torch.cat([run[lengths[run].argsort(stable=True)] for run in runs])
        starts = starts[torch.randperm(len(starts), generator=generator)]
    order = order.to(device)
    for start in starts.tolist():
        yield order[start : start + size]


def load(data: PreparedData, name: PartName, device: torch.device) -> Resident:
    """Load a part onto the device; every call of this process returns the same object."""
    key = (data.folder, name, str(device))
    if key not in _loaded:
        for other in [k for k in _loaded if k[0] != data.folder]:
            del _loaded[other]  # one data set at a time, since executors serve several studies
        _loaded[key] = _load(data, name, device)
    return _loaded[key]


def _load(data: PreparedData, name: PartName, device: torch.device) -> Resident:
    part = data.part(name)
    labels = torch.from_numpy(np.array(part.labels))
    is_image = data.kind == "images"
    size = part.inputs.size * (4 if is_image else part.inputs.itemsize)  # bytes
    fits = size <= SHARE * _free_memory(device)
    if fits:
        inputs, labels = torch.from_numpy(np.array(part.inputs)).to(device), labels.to(device)
    else:
        inputs = torch.from_numpy(part.inputs)
    if data.kind == "features":
        return Resident(inputs, labels, device)
    if not is_image:
        lengths = torch.from_numpy((np.asarray(part.inputs) != 0).sum(axis=1))
        return Resident(inputs, labels, device, lengths=lengths)
    mean, std = _per_channel(data.mean, device), _per_channel(data.std, device)
    if not fits:
        return Resident(inputs, labels, device, mean, std)
    inputs = (inputs.float() - mean) / std
    if device.type == "cuda":
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    return Resident(inputs, labels, device)


def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
