"""What a pretrained model is fed with, prepared once and cached: its tokens, or its features.

A frozen encoder says the same of an example in every epoch and every trial, so it is asked once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tuner.data import PreparedData, derive
from tuner.data.arrays import array_file
from tuner.data.prepared import PARTS, PartName
from tuner.families.transfer import encoder as encoders
from tuner.families.transfer import files
from tuner.training import footprint, resident
from tuner.training.network import predict
from tuner.trials import LATENCY, PARAMETERS

_costs: dict[tuple[Path, str, str, str], Mapping[str, float]] = {}  # the same for every head

CHUNK = 4096  # texts that are tokenized at once
TOKENS, FEATURES = 1, 1  # raise one when the same model would give other arrays


def inputs(params: Mapping[str, Any], data: PreparedData) -> PreparedData:
    """What the encoder reads: images as they are, texts as ids of its own tokenizer, plus one."""
    if data.kind == "images":
        return data
    folder = files.folder(params["checkpoint"])
    most = int(params["max_length"])

    def make(aside: Path) -> PreparedData:
        tokenizer, length = encoders.tokenizer(folder), encoders.longest(folder, most)
        found: dict[PartName, list[list[int]]] = {
            name: list(_tokens(tokenizer, data.texts(name), length)) for name in PARTS
        }
        width = max(len(ids) for part in found.values() for ids in part)
        for name, part in found.items():
            with array_file(aside / f"{name}.inputs.npy", "<i4", (len(part), width)) as file:
                for ids in part:
                    row = np.zeros(width, dtype="<i4")
                    row[: len(ids)] = np.array(ids) + 1  # 0 is padding, whatever the tokenizer's
                    file.write(row.tobytes())
            _copy_labels(data, name, aside)
        return replace(data, folder=aside, input_shape=(width,), vocabulary=(), has_vectors=False)

    identity = files.digest(folder, weights=False).hex()
    settings = {"version": TOKENS, "tokenizer": identity, "max_length": most}
    return derive(data, "tokens", settings, make)


def features(params: Mapping[str, Any], data: PreparedData, device: torch.device) -> PreparedData:
    """What the frozen encoder says about every example."""
    folder = files.folder(params["checkpoint"])
    source = inputs(params, data)

    def make(aside: Path) -> PreparedData:
        encoder = encoders.load(folder, data.kind, params["pooling"]).to(device)
        for name in PARTS:
            found: npt.NDArray[np.float32] = (
                predict(encoder, resident.load(source, name, device)).cpu().numpy()
            )
            with array_file(aside / f"{name}.inputs.npy", "<f4", found.shape) as file:
                file.write(found.tobytes())
            _copy_labels(data, name, aside)
        return replace(
            source, kind="features", folder=aside, input_shape=(encoder.width,), mean=(), std=()
        )

    settings = {
        "version": FEATURES,
        "model": files.digest(folder).hex(),
        "pooling": params["pooling"],
    }
    return derive(source, "features", settings, make)


def cost(
    params: Mapping[str, Any], data: PreparedData, device: torch.device
) -> Mapping[str, float]:
    """What a frozen encoder adds to what its head costs; one that is trained is the network's."""
    if params["fine_tuning"] != "frozen":
        return {}
    source = inputs(params, data)
    key = (source.folder, str(params["checkpoint"]), str(params["pooling"]), str(device))
    if key not in _costs:
        _costs[key] = _cost(params, source, device)
    return _costs[key]


def _cost(
    params: Mapping[str, Any], source: PreparedData, device: torch.device
) -> dict[str, float]:
    folder = files.folder(params["checkpoint"])
    encoder = encoders.load(folder, source.kind, params["pooling"]).to(device)
    part = resident.load(source, "validation", device)
    rows = torch.arange(min(len(part), footprint.WARM + footprint.TIMED))
    examples = (part.batch(row.to(part.labels.device))[0] for row in rows.split(1))
    return {
        PARAMETERS: float(footprint.parameters(encoder)),
        LATENCY: footprint.latency(encoder, encoder, examples, device),
    }


def _tokens(tokenizer: Any, texts: list[str], length: int) -> Iterator[list[int]]:
    for start in range(0, len(texts), CHUNK):
        chunk = texts[start : start + CHUNK]
        for ids in tokenizer(chunk, truncation=True, max_length=length)["input_ids"]:
            yield ids or [0]  # a tokenizer may know nothing of a text


def _copy_labels(data: PreparedData, name: PartName, folder: Path) -> None:
    labels = data.part(name).labels
    with array_file(folder / f"{name}.labels.npy", labels.dtype, labels.shape) as file:
        file.write(labels.tobytes())
