"""Texts → labels, by a network that reads token ids."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tuner.data.tokenizer import PADDING, UNKNOWN, tokenize
from tuner.families.bundle.predict.common import (
    Prediction,
    describe,
    open_bundle,
    predict,
    read_tensors,
    serve,
)
from tuner.families.bundle.predict.tables import lines_of


def run(build: Callable[[Any, Any], nn.Module], folder: Path) -> None:
    """Predict with the bundle in `folder`; `build` makes the family's network."""
    content, params = open_bundle(folder)
    state = read_tensors(folder / "weights.safetensors")
    data = describe(content, state)
    model = build(params, data)
    model.load_state_dict(state)
    model.eval()
    index = {token: number for number, token in enumerate(data.vocabulary)}
    longest = data.input_shape[0]
    lowercase, kind = content["lowercase"], content["tokens"]

    def predict_texts(texts: Sequence[str]) -> Iterator[Prediction]:
        rows = [
            [index.get(token, UNKNOWN) for token in tokenize(text, lowercase=lowercase, kind=kind)]
            for text in texts
        ]
        width = min(max(1, *map(len, rows)), longest)
        padded = [(ids + [PADDING] * width)[:width] for ids in rows]
        yield from predict(model, torch.tensor(padded), content)

    serve(predict_texts, lines_of, content["column"], "texts: tables, or files with one per line")
