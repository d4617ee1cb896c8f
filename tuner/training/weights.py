"""Weights as safetensors: written whole, read without running anything."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from tuner import files


def save(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a state dict; the file appears whole or not at all. DiskFullError where it must."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    files.write(path, safetensors.torch.save(tensors))


def load(model: nn.Module, path: Path) -> None:
    """Read a state dict into a model of the same shape."""
    model.load_state_dict(safetensors.torch.load_file(path))
