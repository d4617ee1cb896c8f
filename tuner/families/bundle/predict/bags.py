"""Texts → labels, by weighted n-grams of words or characters, as scikit-learn has them."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tuner.data.tokenizer import tokens
from tuner.families.bundle.predict.common import (
    Answer,
    answer,
    opened,
    outputs,
    predicted,
    read_tensors,
)
from tuner.families.bundle.predict.tables import lines_of
from tuner.families.parts.bag import Bag
from tuner.study_file.data import Tokens


def run(folder: Path) -> None:
    """The program."""
    content, params = opened(folder)
    terms = content["terms"]
    index = {term: number for number, term in enumerate(terms["names"])}
    model = Bag(len(index), outputs(content), hidden=params["hidden"], dropout=params["dropout"])
    model.load_state_dict(read_tensors(folder / "weights.safetensors"))
    model.eval()

    def answers(texts: Sequence[str]) -> Iterator[Answer]:
        found = [_weighted(text, terms, index, content["tokens"]) for text in texts]
        width = max(1, *map(len, found))
        ids = torch.zeros(len(found), width, dtype=torch.int64)
        weights = torch.zeros(len(found), width)
        for row, numbers in enumerate(found):
            for place, (number, weight) in enumerate(sorted(numbers.items())):
                ids[row, place], weights[row, place] = number + 1, weight
        yield from predicted(model, (ids, weights), content)

    answer(answers, lines_of, content["column"], "texts: tables, or files with one a line")


def _weighted(
    text: str, terms: Mapping[str, Any], index: Mapping[str, int], kind: Tokens
) -> dict[int, float]:
    """The known terms of a text with their weights, of length 1 together."""
    low, high = terms["ngrams"]
    text = text.lower()
    if terms["analyzer"] == "word":
        cut = _token_ngrams(tokens(text, lowercase=False, kind=kind), low, high)
    else:
        cut = _character_ngrams(text, low, high)
    counts = Counter(index[term] for term in cut if term in index)
    weights = {}
    for number, count in counts.items():
        weight = 1.0 if terms["binary"] else float(count)
        weight = 1.0 + math.log(weight) if terms["sublinear_tf"] else weight
        weights[number] = weight * (terms["idf"][number] if terms["idf"] else 1.0)
    length = math.hypot(*weights.values()) or 1.0
    return {number: weight / length for number, weight in weights.items()}


def _token_ngrams(of: Sequence[str], low: int, high: int) -> Iterator[str]:
    for size in range(low, high + 1):
        for start in range(len(of) - size + 1):
            yield " ".join(of[start : start + size])


def _character_ngrams(text: str, low: int, high: int) -> Iterator[str]:
    """Those within words, the spaces around them counted; of a short word, the word once."""
    for word in re.sub(r"\s\s+", " ", text).split():
        padded = f" {word} "
        for size in range(low, high + 1):
            yield padded[:size]
            for start in range(1, len(padded) - size + 1):
                yield padded[start : start + size]
            if size >= len(padded):
                break
