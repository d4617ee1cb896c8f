"""Shared by `bow` and `tfidf`: texts → weighted terms → a linear layer or one hidden layer.

Terms are n-grams of words or characters as in scikit-learn; those that are kept are learned from
the training part only (`terms.py`). A text's weights are scaled to unit length. All of this happens
once per process and setting: trials that differ in other parameters share it.
"""

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional

from tuner.data.prepared import PartName, PreparedData
from tuner.families.parts.terms import Weighting
from tuner.training import resident
from tuner.trials import ParamValue

CACHED = 8  # settings whose terms stay in memory, the most recently used
_SETTINGS = (
    *("analyzer", "word_ngrams", "character_ngrams", "min_df", "max_df"),
    *("max_terms", "binary", "sublinear_tf", "idf"),
)

_cache: OrderedDict[tuple[object, ...], "_WeightedParts"] = OrderedDict()


@dataclass(frozen=True, slots=True)
class Terms:
    """A part of the data as weighted terms."""

    count: int  # different terms in the training part; ids are 1 … count
    ids: Tensor  # int32 [N, longest], padded with 0
    weights: Tensor  # float32 [N, longest], padded with 0
    labels: Tensor  # [N]
    lengths: Tensor  # number of terms of each text, int64 [N], in main memory

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield indices in random order, texts of similar length together."""
        return resident.shuffle(len(self), size, generator, self.lengths, self.labels.device)

    def batch(self, indices: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Return ids and weights, and the labels, of the rows at `indices`."""
        ids, weights = self.ids[indices], self.weights[indices]
        if self.ids.device.type == "cpu":
            longest = max(int(self.lengths[indices].max()), 1)
            ids, weights = ids[:, :longest], weights[:, :longest]
        return (ids, weights), self.labels[indices]


class Bag(nn.Module):
    """Ids and weights [N, terms] → logits [N, classes]."""

    def __init__(self, terms: int, classes: int, *, hidden: int = 0, dropout: float = 0.0) -> None:
        """Build the layers; `hidden` 0 makes a linear classifier."""
        super().__init__()
        width = hidden or classes
        self.terms = nn.EmbeddingBag(terms + 1, width, mode="sum", padding_idx=0)
        self.bias = nn.Parameter(torch.zeros(width))
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, classes) if hidden else None
        with torch.no_grad():
            if hidden:
                self.terms.weight.normal_()  # texts have unit length, so units have unit variance
            else:
                self.terms.weight.zero_()
            self.terms.weight[0] = 0.0

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Return the logits of a batch."""
        ids, weights = inputs
        hidden: Tensor = self.terms(ids, per_sample_weights=self.dropout(weights)) + self.bias
        if self.output is None:
            return hidden  # [N, classes]
        logits: Tensor = self.output(self.dropout(functional.relu(hidden)))
        return logits


def build(params: Mapping[str, ParamValue], data: PreparedData) -> nn.Module:
    """Build the classifier that a trial's parameters describe."""
    p: Mapping[str, Any] = params
    terms = load(params, data, "train", torch.device("cpu")).count
    return Bag(terms, data.outputs, hidden=p["hidden"], dropout=p["dropout"])


def load(
    params: Mapping[str, ParamValue], data: PreparedData, name: PartName, device: torch.device
) -> Terms:
    """Load a part as terms on the device; DataError if the settings leave no term."""
    key = _key(params, data)
    if key not in _cache:
        while len(_cache) >= CACHED:
            _cache.popitem(last=False)
        _cache[key] = _WeightedParts(params, data)
    _cache.move_to_end(key)
    return _cache[key].part(name, device)


def export(
    params: Mapping[str, ParamValue], data: PreparedData, _: Path, __: Path
) -> dict[str, dict[str, Any]]:
    """Describe the terms for a bundle: in the order of their ids, and how they are extracted."""
    load(params, data, "train", torch.device("cpu"))
    return {"terms": _cache[_key(params, data)].weighting.describe()}


class _WeightedSum(nn.Module):
    """`nn.EmbeddingBag` as a matrix product; ONNX has no such bag."""

    def __init__(self, bag: nn.EmbeddingBag) -> None:
        super().__init__()
        self.weight = bag.weight

    def forward(self, ids: Tensor, per_sample_weights: Tensor) -> Tensor:
        """Ids and weights [N, terms] → [N, width]; padding has the weight 0."""
        rows = functional.embedding(ids, self.weight)
        return torch.matmul(per_sample_weights.unsqueeze(1), rows).squeeze(1)


def for_onnx(network: Bag) -> nn.Module:
    """The same network in operators that ONNX has."""
    copied = copy.deepcopy(network)
    copied.add_module("terms", _WeightedSum(copied.terms))
    return copied


def _key(params: Mapping[str, ParamValue], data: PreparedData) -> tuple[object, ...]:
    return (data.folder, *(params.get(name) for name in _SETTINGS))


class _WeightedParts:
    """The terms of one setting, and the parts that have been loaded with it."""

    def __init__(self, params: Mapping[str, Any], data: PreparedData) -> None:
        self.weighting = Weighting(params, data)
        self._data = data
        self._parts: dict[tuple[PartName, str], Terms] = {}

    def part(self, name: PartName, device: torch.device) -> Terms:
        key = (name, str(device))
        if key not in self._parts:
            labels = self._data.part(name).labels
            self._parts[key] = _pad(self.weighting.part(name), labels, device)
        return self._parts[key]


def _pad(matrix: csr_matrix, labels: npt.NDArray[np.generic], device: torch.device) -> Terms:
    lengths = np.diff(matrix.indptr)
    shape = (matrix.shape[0], max(int(lengths.max(initial=0)), 1))
    ids, weights = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.float32)
    mask = np.arange(shape[1]) < lengths[:, None]
    ids[mask], weights[mask] = matrix.indices + 1, matrix.data
    return Terms(
        count=matrix.shape[1],
        ids=torch.from_numpy(ids).to(device),
        weights=torch.from_numpy(weights).to(device),
        labels=torch.from_numpy(np.array(labels)).to(device),
        lengths=torch.from_numpy(lengths.astype(np.int64)),
    )
