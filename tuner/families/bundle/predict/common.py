"""What all `predict.py` share: the bundle's files, inputs from files or a pipe, answers as JSON."""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

BATCH = 64  # inputs that are asked at once
SHOWN = 10  # classes of an answer, the most likely first
DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8},
    **{"U8": torch.uint8, "BOOL": torch.bool},
}

Answer = dict[str, Any]
Answers = Callable[[Sequence[Any]], Iterator[Answer]]  # inputs → an answer each


class Description:
    """What the training data has taught; stands where tuner has its prepared data."""

    def __init__(self, content: Mapping[str, Any], dimension: int) -> None:
        self.kind: str = content["kind"]
        self.outputs: int = outputs(content)
        self.input_shape: list[int] = content["input_shape"]
        self.vocabulary: list[str] = content["vocabulary"]
        self.target_vocabulary: list[str] = content["target_vocabulary"]
        self._dimension = dimension

    def vectors(self) -> list[list[float]]:
        """Where word vectors were given: zeros, which the weights replace."""
        return [[0.0] * self._dimension for _ in self.vocabulary]


def outputs(content: Mapping[str, Any]) -> int:
    """What a network says of an example: a number for each class, or one."""
    return len(content["classes"]) if content["scale"] is None else 1


def description(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Description:
    """For a network's `build`."""
    names = ("embedding.weight", "embedding.kept.weight")
    widths = [tensors[name].shape[1] for name in names if name in tensors]
    return Description(content, widths[0] if widths else 0)


def opened(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the training data has taught, and the parameters."""
    found = []
    for name in ("preprocessing.json", "result.json"):
        found.append(json.loads((folder / name).read_text(encoding="utf-8")))
    return found[0], found[1]["params"]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    found = {}
    for name, entry in json.loads(content[8:start]).items():
        if name == "__metadata__":
            continue
        first, end = entry["data_offsets"]
        dtype = DTYPES[entry["dtype"]]
        if first == end:
            found[name] = torch.empty(entry["shape"], dtype=dtype)
            continue
        piece = bytearray(content[start + first : start + end])
        found[name] = torch.frombuffer(piece, dtype=dtype).reshape(entry["shape"])
    return found


@torch.inference_mode()
def predicted(model: nn.Module, inputs: Any, content: Mapping[str, Any]) -> Iterator[Answer]:
    """The class of each input and how likely it is, or its number."""
    said = model(inputs).float()
    if content["scale"] is not None:
        mean, spread = content["scale"]
        for number in (mean + spread * said.squeeze(1).double()).tolist():
            yield {"prediction": number}
        return
    classes, odds = content["classes"], said.softmax(dim=1)
    likely, order = odds.sort(dim=1, descending=True, stable=True)
    for shares, places in zip(likely[:, :SHOWN].tolist(), order[:, :SHOWN].tolist(), strict=True):
        named = {classes[place]: share for place, share in zip(places, shares, strict=True)}
        yield {"prediction": classes[places[0]], "probabilities": named}


def answer(
    answers: Answers, read: Callable[[str, str, str], Iterator[Any]], column: str, what: str
) -> None:
    """The program: a line of JSON for each input that the command line names.

    `read` gives the inputs of a path, a column and an encoding; `column` is the one by default.
    """
    parser = argparse.ArgumentParser(description=f"Print a prediction, a line of JSON, for {what}.")
    parser.add_argument("path", nargs="*", default=["-"], help=f"{what}; `-`: standard input")
    if column:
        parser.add_argument("--column", default=column, help="of tables (default: %(default)s)")
        parser.add_argument("--encoding", default="utf-8-sig", help="of files (default: UTF-8)")
    else:
        parser.set_defaults(column="", encoding="")
    chosen = parser.parse_args()
    inputs = [one for path in chosen.path for one in read(path, chosen.column, chosen.encoding)]
    for start in range(0, len(inputs), BATCH):
        for found in answers(inputs[start : start + BATCH]):
            print(json.dumps(found, ensure_ascii=False))
