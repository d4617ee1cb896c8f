"""Checkpoints: what a trial needs to continue from an epoch, as safetensors; never pickle.

One file per epoch, `epoch-0007.3f2a….checkpoint`, holds tensors under dotted names and the rest as
JSON in the file's metadata. Its name holds the digest of its content, so a truncated or changed
file is recognized; it is renamed to `….corrupt`, and the previous one is used. Each attempt writes
to its own folder: a worker that lost its lease cannot damage what its successor reads.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.optim import Optimizer

from tuner import files
from tuner.artifacts import CHECKPOINT_SUFFIX
from tuner.training import weights

KEEP = 2  # checkpoints per attempt: the latest, and the previous one in case that is damaged
_NAME = re.compile(r"epoch-(\d+)\.([0-9a-f]{16})\.checkpoint")
_STATE = "state"  # key of the JSON in safetensors' metadata

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trial after some epoch."""

    epoch: int  # epochs that are finished
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]  # JSON types


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint whole and flushed; removes all but the latest `KEEP` of this folder.

    DiskFullError if there is no space; earlier checkpoints stay.
    """
    values = json.dumps({"epoch": checkpoint.epoch, **checkpoint.values})
    content = weights.to_bytes(checkpoint.tensors, {_STATE: values})
    path = folder / f"epoch-{checkpoint.epoch:04d}.{_digest(content)}{CHECKPOINT_SUFFIX}"
    files.write(path, content)
    for _, old in _list_checkpoints([folder])[KEEP:]:
        old.unlink(missing_ok=True)
    return path


def load_latest(folders: Iterable[Path]) -> Checkpoint | None:
    """Load the checkpoint of the latest epoch in any of the folders; None if none is intact."""
    for epoch, path in _list_checkpoints(folders):
        try:
            content = path.read_bytes()
        except OSError as error:
            _log.warning("%s: cannot be read (%s); an earlier checkpoint is used", path, error)
            continue
        if _digest(content) != path.name.split(".")[1]:
            _log.warning("%s: is damaged; an earlier checkpoint is used", path)
            path.replace(path.with_name(f"{path.name}.corrupt"))
            continue
        with safetensors.safe_open(path, framework="pt") as file:  # reads only the header
            values = json.loads(file.metadata()[_STATE])
        return Checkpoint(epoch, safetensors.torch.load(content), values)
    return None


def optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of an optimizer's state by name, and everything else in it."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    for index, entry in state["state"].items():
        for key, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = value
            else:
                values.setdefault(str(index), {})[key] = value
    return tensors, {"groups": state["param_groups"], "values": values}


def restore_optimizer(
    optimizer: Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> None:
    """Restore what `optimizer_state` has returned, for an optimizer of the same parameters."""
    state: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in values["values"].items()}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": values["groups"]})


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Select the tensors whose names start with `prefix.`, and remove it from the names."""
    return {
        name.removeprefix(f"{prefix}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put `prefix.` before the names of tensors."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's global generators that a trial on this device draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Set torch's global generators."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(states["mps"])


def _list_checkpoints(folders: Iterable[Path]) -> list[tuple[int, Path]]:
    """List epoch and path of every checkpoint, the latest epoch first."""
    checkpoints = [
        (int(match[1]), path)
        for folder in folders
        for path in folder.glob(f"*{CHECKPOINT_SUFFIX}")
        if (match := _NAME.fullmatch(path.name))
    ]
    return sorted(checkpoints, reverse=True)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
