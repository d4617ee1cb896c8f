"""Inputs for pretrained models, prepared once and cached: tokens, or a frozen encoder's features.

A frozen encoder's features of an example are the same in every epoch and trial, so they are
computed once.
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

_costs: dict[tuple[Path, str, str, str], Mapping[str, float]] = {}  # do not depend on the head

CHUNK = 4096  # texts that are tokenized at once
TOKENS, FEATURES = 1, 1  # versions; raise one when the same model would give other arrays


def prepare_inputs(params: Mapping[str, Any], data: PreparedData) -> PreparedData:
    """Prepare the encoder's inputs: images as they are, texts as its tokenizer's ids plus 1."""
    if data.kind == "images":
        return data
    folder = files.locate(params["checkpoint"])
    limit = int(params["max_length"])

    def write(aside: Path) -> PreparedData:
        tokenizer, length = encoders.load_tokenizer(folder), encoders.max_tokens(folder, limit)
        parts: dict[PartName, list[list[int]]] = {
            name: list(_tokenize(tokenizer, data.texts(name), length)) for name in PARTS
        }
        width = max(len(ids) for part in parts.values() for ids in part)
        for name, part in parts.items():
            with array_file(aside / f"{name}.inputs.npy", "<i4", (len(part), width)) as file:
                for ids in part:
                    row = np.zeros(width, dtype="<i4")
                    row[: len(ids)] = np.array(ids) + 1  # 0 is padding, for any tokenizer
                    file.write(row.tobytes())
            _copy_labels(data, name, aside)
        return replace(data, folder=aside, input_shape=(width,), vocabulary=(), has_vectors=False)

    identity = files.digest(folder, weights=False).hex()
    settings = {"version": TOKENS, "tokenizer": identity, "max_length": limit}
    return derive(data, "tokens", settings, write)


def prepare_features(
    params: Mapping[str, Any], data: PreparedData, device: torch.device
) -> PreparedData:
    """Prepare the frozen encoder's features of every example, float32 [N, width]."""
    folder = files.locate(params["checkpoint"])
    source = prepare_inputs(params, data)

    def write(aside: Path) -> PreparedData:
        encoder = encoders.load(folder, data.kind, params["pooling"]).to(device)
        for name in PARTS:
            features: npt.NDArray[np.float32] = (
                predict(encoder, resident.load(source, name, device)).cpu().numpy()
            )
            with array_file(aside / f"{name}.inputs.npy", "<f4", features.shape) as file:
                file.write(features.tobytes())
            _copy_labels(data, name, aside)
        return replace(
            source, kind="features", folder=aside, input_shape=(encoder.width,), mean=(), std=()
        )

    settings = {
        "version": FEATURES,
        "model": files.digest(folder).hex(),
        "pooling": params["pooling"],
    }
    return derive(source, "features", settings, write)


def encoder_costs(
    params: Mapping[str, Any], data: PreparedData, device: torch.device
) -> Mapping[str, float]:
    """Return a frozen encoder's costs, which add to its head's.

    An encoder that is trained is a part of the network, whose costs include it.
    """
    if params["fine_tuning"] != "frozen":
        return {}
    source = prepare_inputs(params, data)
    key = (source.folder, str(params["checkpoint"]), str(params["pooling"]), str(device))
    if key not in _costs:
        _costs[key] = _measure_costs(params, source, device)
    return _costs[key]


def _measure_costs(
    params: Mapping[str, Any], source: PreparedData, device: torch.device
) -> dict[str, float]:
    folder = files.locate(params["checkpoint"])
    encoder = encoders.load(folder, source.kind, params["pooling"]).to(device)
    part = resident.load(source, "validation", device)
    rows = torch.arange(min(len(part), footprint.WARM + footprint.TIMED))
    examples = (part.batch(row.to(part.labels.device))[0] for row in rows.split(1))
    return {
        PARAMETERS: float(footprint.parameters(encoder)),
        LATENCY: footprint.latency(encoder, encoder, examples, device),
    }


def _tokenize(tokenizer: Any, texts: list[str], length: int) -> Iterator[list[int]]:
    for start in range(0, len(texts), CHUNK):
        chunk = texts[start : start + CHUNK]
        for ids in tokenizer(chunk, truncation=True, max_length=length)["input_ids"]:
            yield ids or [0]  # a tokenizer may find no token in a text


def _copy_labels(data: PreparedData, name: PartName, folder: Path) -> None:
    labels = data.part(name).labels
    with array_file(folder / f"{name}.labels.npy", labels.dtype, labels.shape) as file:
        file.write(labels.tobytes())
