"""Texts → what becomes of them, written token by token."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from tuner.data.pairs import END, joined, tokens
from tuner.data.tokenizer import UNKNOWN
from tuner.families.bundle.predict.common import Answer, answer, description, opened, read_tensors
from tuner.families.bundle.predict.tables import lines_of
from tuner.families.parts.decoding import beam, greedy
from tuner.families.seq2seq import LENGTH_POWER, build


def run(folder: Path) -> None:
    """The program."""
    content, params = opened(folder)
    described: Any = description(content, {})
    model: Any = build(params, described)
    model.load_state_dict(read_tensors(folder / "weights.safetensors"))
    model.eval()
    index = {token: number for number, token in enumerate(described.vocabulary)}
    longest, most = described.input_shape
    width = params["beam"]

    @torch.inference_mode()
    def answers(texts: Sequence[str]) -> Iterator[Answer]:
        found = [
            [index.get(token, UNKNOWN) for token in tokens(text, content["text_tokens"])][:longest]
            for text in texts
        ]
        ids = torch.zeros(len(found), max(1, *map(len, found)), dtype=torch.int64)
        for row, numbers in enumerate(found):
            ids[row, : len(numbers)] = torch.tensor(numbers)
        state = model.encode(ids)
        if width > 1:
            written = beam(
                model.step, state, end=END, most=most, width=width, length_power=LENGTH_POWER
            )
        else:
            written = greedy(model.step, state, end=END, most=most)
        for numbers in written.tolist():
            kept = [described.target_vocabulary[n] for n in numbers if n not in (0, END)]
            yield {"prediction": joined(kept, content["target_tokens"])}

    answer(answers, lines_of, content["column"], "texts: tables, or files with one a line")
