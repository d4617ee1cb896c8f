"""Shared by all `predict.py`: the bundle's files, inputs from files or a pipe, JSON output."""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

BATCH = 64  # inputs per batch
TOP_CLASSES = 10  # classes of a prediction, the most likely first
DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8},
    **{"U8": torch.uint8, "BOOL": torch.bool},
}

Prediction = dict[str, Any]
Predictor = Callable[[Sequence[Any]], Iterator[Prediction]]  # inputs → a prediction each


class DataDescription:
    """What was learned from the training data, for a `build` that takes tuner's prepared data."""

    def __init__(self, content: Mapping[str, Any], dimension: int) -> None:
        self.kind: str = content["kind"]
        self.outputs: int = count_outputs(content)
        self.input_shape: list[int] = content["input_shape"]
        self.vocabulary: list[str] = content["vocabulary"]
        self.target_vocabulary: list[str] = content["target_vocabulary"]
        self._dimension = dimension

    def vectors(self) -> list[list[float]]:
        """Zeros in place of the word vectors of a file; loading the weights replaces them."""
        return [[0.0] * self._dimension for _ in self.vocabulary]


def count_outputs(content: Mapping[str, Any]) -> int:
    """Count the network's outputs per example: one for each class, or a single number."""
    return len(content["classes"]) if content["scale"] is None else 1


def describe(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> DataDescription:
    """Describe the training data for a network's `build`."""
    names = ("embedding.weight", "embedding.kept.weight")
    widths = [tensors[name].shape[1] for name in names if name in tensors]
    return DataDescription(content, widths[0] if widths else 0)


def open_bundle(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what was learned from the training data, and the parameters."""
    content, result = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("preprocessing.json", "result.json")
    )
    return content, result["params"]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, by name."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    tensors = {}
    for name, entry in json.loads(content[8:start]).items():
        if name == "__metadata__":
            continue
        first, end = entry["data_offsets"]
        dtype = DTYPES[entry["dtype"]]
        if first == end:
            tensors[name] = torch.empty(entry["shape"], dtype=dtype)
            continue
        piece = bytearray(content[start + first : start + end])
        tensors[name] = torch.frombuffer(piece, dtype=dtype).reshape(entry["shape"])
    return tensors


@torch.inference_mode()
def predict(model: nn.Module, inputs: Any, content: Mapping[str, Any]) -> Iterator[Prediction]:
    """Predict each input's class and the classes' probabilities, or its number."""
    outputs = model(inputs).float()  # [N, classes] or [N, 1]
    if content["scale"] is not None:
        mean, std = content["scale"]
        for number in (mean + std * outputs.squeeze(1).double()).tolist():
            yield {"prediction": number}
        return
    probabilities, order = outputs.softmax(dim=1).sort(dim=1, descending=True, stable=True)
    rows = zip(
        probabilities[:, :TOP_CLASSES].tolist(), order[:, :TOP_CLASSES].tolist(), strict=True
    )
    for values, indices in rows:
        names = [content["classes"][index] for index in indices]
        yield {
            "prediction": names[0],
            "probabilities": dict(zip(names, values, strict=True)),
        }


def serve(
    predictor: Predictor, read: Callable[[str, str, str], Iterator[Any]], column: str, what: str
) -> None:
    """Run the program: print a line of JSON for each input that the command line names.

    `read` takes a path, a column and an encoding and yields inputs; `column` is the default column,
    `what` describes the inputs.
    """
    parser = argparse.ArgumentParser(description=f"Print a prediction, a line of JSON, for {what}.")
    parser.add_argument("path", nargs="*", default=["-"], help=f"{what}; `-`: standard input")
    if column:
        parser.add_argument("--column", default=column, help="of tables (default: %(default)s)")
        parser.add_argument("--encoding", default="utf-8-sig", help="of files (default: UTF-8)")
    else:
        parser.set_defaults(column="", encoding="")
    arguments = parser.parse_args()
    inputs = [
        example
        for path in arguments.path
        for example in read(path, arguments.column, arguments.encoding)
    ]
    for start in range(0, len(inputs), BATCH):
        for prediction in predictor(inputs[start : start + BATCH]):
            print(json.dumps(prediction, ensure_ascii=False))
