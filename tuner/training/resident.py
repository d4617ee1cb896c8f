"""Parts of a data set where the trials need them: on the device, loaded once a process.

A small data set is read, normalized and moved to the device once, and every trial of this executor
uses the same tensors; there is no DataLoader. A part too large for that stays a memory-mapped file,
of which each batch is gathered, moved and normalized on its way.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor

from tuner.data.prepared import PartName, Prepared

SHARE = 0.25  # of the device's free memory that one part may take

_loaded: dict[tuple[Path, PartName, str], "Resident"] = {}


@dataclass(frozen=True, slots=True)
class Resident:
    """One part. Inputs: images [N, C, H, W], text token ids [N, max_length]; labels int64 [N]."""

    inputs: Tensor
    labels: Tensor
    device: torch.device
    mean: Tensor | None = None  # [C, 1, 1]; None where `inputs` need no normalizing any more
    std: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (images as normalized float32) and labels of these rows, on the device."""
        inputs = self.inputs[indices].to(self.device, non_blocking=True)
        if self.mean is not None and self.std is not None:
            inputs = (inputs.float() - self.mean) / self.std
        elif inputs.ndim == 2 and self.device.type == "cpu":
            inputs = _trimmed(inputs)
        return inputs, self.labels[indices].to(self.device, non_blocking=True)


def load(data: Prepared, name: PartName, device: torch.device) -> Resident:
    """The part on the device; the same object for every call of this process."""
    key = (data.folder, name, str(device))
    if key not in _loaded:
        for other in [k for k in _loaded if k[0] != data.folder]:
            del _loaded[other]  # one data set at a time: executors serve several studies
        _loaded[key] = _load(data, name, device)
    return _loaded[key]


def _load(data: Prepared, name: PartName, device: torch.device) -> Resident:
    part = data.part(name)
    labels = torch.from_numpy(np.array(part.labels))
    is_image = data.kind == "images"
    needed = part.inputs.size * (4 if is_image else part.inputs.itemsize)
    fits = needed <= SHARE * _free(device)
    statistics = (
        (_channels(data.mean, device), _channels(data.std, device)) if is_image else (None, None)
    )
    if not fits:
        # "c": copy on write, since torch has no read-only tensors and nobody writes to it
        mapped = np.load(part.inputs.filename, mmap_mode="c", allow_pickle=False)  # type: ignore[attr-defined]
        return Resident(torch.from_numpy(mapped), labels, device, *statistics)
    inputs = torch.from_numpy(np.array(part.inputs)).to(device)
    if is_image:
        mean, std = statistics
        inputs = (inputs.float() - mean) / std
        if device.type == "cuda":
            inputs = inputs.contiguous(memory_format=torch.channels_last)
    return Resident(inputs, labels.to(device), device)


def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _trimmed(tokens: Tensor) -> Tensor:
    """Without the columns that are padding in every row; at least one column stays."""
    used = int((tokens != 0).sum(dim=1).max())
    return tokens[:, : max(used, 1)]
