"""Weights as safetensors: written whole, and loaded without running any code of the file."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from tuner import files


def save(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a state dict; the file appears whole or not at all. Raises DiskFullError."""
    files.write(path, to_bytes(state))


def to_bytes(state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return tensors of any device and layout as the content of a safetensors file."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    return safetensors.torch.save(tensors, metadata=None if metadata is None else dict(metadata))


def load(model: nn.Module, path: Path) -> None:
    """Load a state dict into a model of the same shape."""
    model.load_state_dict(safetensors.torch.load_file(path))
