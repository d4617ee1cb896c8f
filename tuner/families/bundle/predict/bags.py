"""Texts → labels, by n-grams of words or characters, weighted as scikit-learn does."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tuner.data.tokenizer import tokenize
from tuner.families.bundle.predict.common import (
    Prediction,
    count_outputs,
    open_bundle,
    predict,
    read_tensors,
    serve,
)
from tuner.families.bundle.predict.tables import lines_of
from tuner.families.parts.bag import Bag
from tuner.study_file.data import Tokens


def run(folder: Path) -> None:
    """Predict with the bundle in `folder`."""
    content, params = open_bundle(folder)
    terms = content["terms"]
    index = {term: column for column, term in enumerate(terms["names"])}
    model = Bag(
        len(index), count_outputs(content), hidden=params["hidden"], dropout=params["dropout"]
    )
    model.load_state_dict(read_tensors(folder / "weights.safetensors"))
    model.eval()

    def predict_texts(texts: Sequence[str]) -> Iterator[Prediction]:
        rows = [_weigh(text, terms, index, content["tokens"]) for text in texts]
        width = max(1, *map(len, rows))
        ids = torch.zeros(len(rows), width, dtype=torch.int64)  # 0 is padding
        weights = torch.zeros(len(rows), width)
        for row, weight_of in enumerate(rows):
            for position, (column, weight) in enumerate(sorted(weight_of.items())):
                ids[row, position], weights[row, position] = column + 1, weight
        yield from predict(model, (ids, weights), content)

    serve(predict_texts, lines_of, content["column"], "texts: tables, or files with one per line")


def _weigh(
    text: str, terms: Mapping[str, Any], index: Mapping[str, int], kind: Tokens
) -> dict[int, float]:
    """Weigh the known terms of a text, to length 1 together: column → weight."""
    low, high = terms["ngrams"]
    text = text.lower()
    if terms["analyzer"] == "word":
        ngrams = _token_ngrams(tokenize(text, lowercase=False, kind=kind), low, high)
    else:
        ngrams = _character_ngrams(text, low, high)
    counts = Counter(index[term] for term in ngrams if term in index)
    weights = {}
    for column, count in counts.items():
        weight = 1.0 if terms["binary"] else float(count)
        weight = 1.0 + math.log(weight) if terms["sublinear_tf"] else weight
        weights[column] = weight * (terms["idf"][column] if terms["idf"] else 1.0)
    length = math.hypot(*weights.values()) or 1.0
    return {column: weight / length for column, weight in weights.items()}


def _token_ngrams(words: Sequence[str], low: int, high: int) -> Iterator[str]:
    for size in range(low, high + 1):
        for start in range(len(words) - size + 1):
            yield " ".join(words[start : start + size])


def _character_ngrams(text: str, low: int, high: int) -> Iterator[str]:
    """Yield n-grams within words, with the spaces around them; a short word only once."""
    for word in re.sub(r"\s\s+", " ", text).split():
        padded = f" {word} "
        for size in range(low, high + 1):
            yield padded[:size]
            for start in range(1, len(padded) - size + 1):
                yield padded[start : start + size]
            if size >= len(padded):
                break
