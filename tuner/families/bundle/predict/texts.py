"""Texts → labels, by a network that reads word numbers."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tuner.data.tokenizer import PADDING, UNKNOWN, tokens
from tuner.families.bundle.predict.common import (
    Answer,
    answer,
    description,
    opened,
    predicted,
    read_tensors,
)
from tuner.families.bundle.predict.tables import lines_of


def run(build: Callable[[Any, Any], nn.Module], folder: Path) -> None:
    """The program; `build` makes the family's network."""
    content, params = opened(folder)
    state = read_tensors(folder / "weights.safetensors")
    described = description(content, state)
    model = build(params, described)
    model.load_state_dict(state)
    model.eval()
    index = {word: number for number, word in enumerate(described.vocabulary)}
    longest = described.input_shape[0]
    lowercase, kind = content["lowercase"], content["tokens"]

    def answers(texts: Sequence[str]) -> Iterator[Answer]:
        rows = [
            [index.get(token, UNKNOWN) for token in tokens(text, lowercase=lowercase, kind=kind)]
            for text in texts
        ]
        width = min(max(1, *map(len, rows)), longest)
        padded = [(ids + [PADDING] * width)[:width] for ids in rows]
        yield from predicted(model, torch.tensor(padded), content)

    answer(answers, lines_of, content["column"], "texts: tables, or files with one a line")
