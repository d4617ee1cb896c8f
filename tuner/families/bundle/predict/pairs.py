"""Texts → their counterparts, written token by token."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from tuner.data.pairs import END, join_tokens, split_tokens
from tuner.data.tokenizer import UNKNOWN
from tuner.families.bundle.predict.common import (
    Prediction,
    describe,
    open_bundle,
    read_tensors,
    serve,
)
from tuner.families.bundle.predict.tables import lines_of
from tuner.families.parts.decoding import beam, greedy
from tuner.families.seq2seq import LENGTH_POWER, build


def run(folder: Path) -> None:
    """Predict with the bundle in `folder`."""
    content, params = open_bundle(folder)
    data: Any = describe(content, {})
    model: Any = build(params, data)
    model.load_state_dict(read_tensors(folder / "weights.safetensors"))
    model.eval()
    index = {token: number for number, token in enumerate(data.vocabulary)}
    longest_input, longest_output = data.input_shape
    width = params["beam"]

    @torch.inference_mode()
    def predict_texts(texts: Sequence[str]) -> Iterator[Prediction]:
        rows = [
            [index.get(token, UNKNOWN) for token in split_tokens(text, content["text_tokens"])]
            for text in texts
        ]
        rows = [ids[:longest_input] for ids in rows]
        inputs = torch.zeros(len(rows), max(1, *map(len, rows)), dtype=torch.int64)  # padded with 0
        for row, ids in enumerate(rows):
            inputs[row, : len(ids)] = torch.tensor(ids)
        state = model.encode(inputs)
        if width > 1:
            decoded = beam(
                model.step,
                state,
                end=END,
                max_length=longest_output,
                width=width,
                length_power=LENGTH_POWER,
            )
        else:
            decoded = greedy(model.step, state, end=END, max_length=longest_output)
        for ids in decoded.tolist():
            target = [data.target_vocabulary[token] for token in ids if token not in (0, END)]
            yield {"prediction": join_tokens(target, content["target_tokens"])}

    serve(predict_texts, lines_of, content["column"], "texts: tables, or files with one per line")
