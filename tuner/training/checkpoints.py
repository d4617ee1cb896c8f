"""Checkpoints: what a trial needs to go on from an epoch, as safetensors; no pickle anywhere.

One file an epoch, `epoch-0007.3f2a….checkpoint`: tensors under dotted names and the rest as JSON in
the file's metadata. The name holds the digest of the content, so a file that was cut or changed is
told by its name alone; it is put aside as `….corrupt`, and the one before it is used. Each attempt
writes to a folder of its own: a worker that lost its lease cannot spoil what its successor reads.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
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

KEEP = 2  # checkpoints an attempt: the latest, and the one before it in case that is damaged
_NAME = re.compile(r"epoch-(\d+)\.([0-9a-f]{16})\.checkpoint")
_STATE = "state"  # key of the JSON in safetensors' metadata

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trial after some epoch."""

    epoch: int  # epochs done
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]  # JSON's own types


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint whole and flushed; removes all but the latest `KEEP` of this folder.

    DiskFullError where there is no space; the earlier ones stay.
    """
    values = json.dumps({"epoch": checkpoint.epoch, **checkpoint.values})
    content = weights.packed(checkpoint.tensors, {_STATE: values})
    path = folder / f"epoch-{checkpoint.epoch:04d}.{_digest(content)}{CHECKPOINT_SUFFIX}"
    files.write(path, content)
    for _, old in _found([folder])[KEEP:]:
        old.unlink(missing_ok=True)
    return path


def latest(folders: Iterable[Path]) -> Checkpoint | None:
    """The checkpoint of most epochs in any of the folders; None without a whole one."""
    for epoch, path in _found(folders):
        try:
            content = path.read_bytes()
        except OSError as error:
            _log.warning("%s: cannot be read (%s); an earlier checkpoint is used", path, error)
            continue
        if _digest(content) != path.name.split(".")[1]:
            _log.warning("%s: is damaged; an earlier checkpoint is used", path)
            path.replace(path.with_name(f"{path.name}.corrupt"))
            continue
        with safetensors.safe_open(path, framework="pt") as file:  # its header, for the metadata
            values = json.loads(file.metadata()[_STATE])
        return Checkpoint(epoch, safetensors.torch.load(content), values)
    return None


def optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of an optimizer's state by name, and everything else in it."""
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
    optimizer: Optimizer, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]
) -> None:
    """Give an optimizer of the same parameters the state that `optimizer_state` has returned."""
    state: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in rest["values"].items()}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": rest["groups"]})


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix.`, without it."""
    return {
        name.removeprefix(f"{prefix}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }


def named(prefix: str, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The tensors with `prefix.` before their names."""
    return ((f"{prefix}.{name}", tensor) for name, tensor in tensors.items())


def random_states(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's own generators that a trial on this device draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Set torch's own generators."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(states["mps"])


def _found(folders: Iterable[Path]) -> list[tuple[int, Path]]:
    """Epoch and path of every checkpoint, the latest epoch first."""
    found = [
        (int(match[1]), path)
        for folder in folders
        for path in folder.glob(f"*{CHECKPOINT_SUFFIX}")
        if (match := _NAME.fullmatch(path.name))
    ]
    return sorted(found, reverse=True)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
