"""What trained weights say about examples, by the code that trained them.

A bundle's `predict.py` must say the same of the same inputs, which are written here as it reads
them.
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from tuner.data import PartName, PreparedData
from tuner.study_file.data import DataSpec
from tuner.training import weights
from tuner.training.network import Batches, load_resident, predict, supervision
from tuner.trials import ParamValue

PART: PartName = "validation"
CPU = torch.device("cpu")


def outputs(
    family: ModuleType,
    params: Mapping[str, ParamValue],
    data: PreparedData,
    path: Path,
    part: PartName,
) -> tuple[Tensor, Tensor]:
    """What a network with the weights in a file says, [N, outputs], and labels [N]."""
    found = part_of(family, params, data, part)
    return predict(network(family, params, data, path), found), found.labels


def network(
    family: ModuleType, params: Mapping[str, ParamValue], data: PreparedData, path: Path
) -> nn.Module:
    """A family's network with the weights in a file."""
    model: nn.Module = family.build(params, data)
    weights.load(model, path)
    return model


def part_of(
    family: ModuleType, params: Mapping[str, ParamValue], data: PreparedData, name: PartName
) -> Batches:
    """A part as the family's networks take it."""
    part: Batches = getattr(family, "load", load_resident)(params, data, name, CPU)
    return part


def expected(
    family: ModuleType,
    params: Mapping[str, ParamValue],
    spec: DataSpec,
    data: PreparedData,
    path: Path,
    rows: int,
) -> list[dict[str, Any]]:
    """Predictions for the first rows of the validation part, as `predict.py` words them."""
    if hasattr(family, "predictions"):
        found: list[dict[str, Any]] = family.predictions(params, spec, data, path, PART, rows)
        return found
    said, _ = outputs(family, params, data, path, PART)
    return supervision(params, data, CPU).words(said[:rows])


def write_inputs(spec: DataSpec, data: PreparedData, rows: int, path: Path) -> None:
    """The same rows as a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if data.kind == "images":
            for image in data.part(PART).inputs[:rows]:
                writer.writerow(image.flatten().tolist())
            return
        writer.writerow([spec.text])
        texts = data.vocabulary if data.kind == "corpus" else data.texts(PART)
        writer.writerows([text] for text in texts[:rows])
