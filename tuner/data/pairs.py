"""Pairs of texts → arrays: each side has its own vocabulary, learned from the training part.

PART.inputs.npy     int32 [N, longest], token ids of the text, padded with 0
PART.labels.npy     int64 [N, longest + 1], token ids of its target and `END`, padded with 0
PART.texts.jsonl, PART.targets.jsonl    the texts themselves
PART.alternatives.jsonl    other right targets: for each text a list of token ids as in `labels`
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tuner.data import tokenizer
from tuner.data.arrays import array_file
from tuner.data.examples import Pairs
from tuner.data.prepared import PartName
from tuner.data.split import Selection
from tuner.data.tokenizer import SPECIAL
from tuner.study_file.data import DataSpec, Tokens

END = SPECIAL  # ends every target, and starts the decoding of one
LONGEST = 512  # tokens per side, unless the study file sets `max_length`

_DEFAULTS: Mapping[str, tuple[Tokens, Tokens]] = {
    "cmudict": ("characters", "words"),
    "pairs": ("words", "words"),
}


def token_kinds(spec: DataSpec) -> tuple[Tokens, Tokens]:
    """Return the kinds of tokens of the text and of the target."""
    text, target = _DEFAULTS[spec.source]
    return spec.text_tokens or text, spec.label_tokens or target


def split_tokens(text: str, kind: Tokens) -> list[str]:
    """Split a text into tokens; composed and decomposed accents are the same."""
    text = unicodedata.normalize("NFC", text)
    return list(text) if kind == "characters" else text.split()


def join_tokens(tokens: Sequence[str], kind: Tokens) -> str:
    """Join tokens into a text."""
    return ("" if kind == "characters" else " ").join(tokens)


def write(
    selections: Mapping[PartName, Selection[Pairs]], spec: DataSpec, folder: Path
) -> dict[str, Any]:
    """Write the arrays of all parts; returns fields of the prepared data."""
    sides: list[dict[PartName, list[str]]] = [
        {n: [s.examples.texts[row] for row in s.rows] for n, s in selections.items()},
        {n: [s.examples.targets[row] for row in s.rows] for n, s in selections.items()},
    ]
    limit = spec.max_length or LONGEST
    names = (("inputs", "texts", "<i4"), ("labels", "targets", "<i8"))
    vocabularies, widths, cut = [], [], 0
    for is_target, (side, kind) in enumerate(zip(sides, token_kinds(spec), strict=True)):
        parts = {name: [split_tokens(text, kind) for text in part] for name, part in side.items()}
        counts = Counter(token for tokens in parts["train"] for token in tokens)
        vocabulary = tokenizer.build_vocabulary(
            counts, size=spec.vocabulary, min_count=spec.min_count
        )
        if is_target:
            vocabulary = (*vocabulary[:END], "<end>", *vocabulary[END:])
        index = {token: number for number, token in enumerate(vocabulary)}
        lengths = [len(tokens) for part in parts.values() for tokens in part]
        width = min(max(lengths), limit) + is_target  # a target ends with `END`
        cut += sum(length > limit for length in lengths)
        array, texts, dtype = names[is_target]
        for name, part in parts.items():
            padded = np.zeros((len(part), width), dtype=dtype)
            for row, tokens in enumerate(part):
                ids = [index.get(token, tokenizer.UNKNOWN) for token in tokens[:limit]]
                ids += [END] * is_target
                padded[row, : len(ids)] = ids
            with array_file(folder / f"{name}.{array}.npy", padded.dtype, padded.shape) as file:
                file.write(padded.tobytes())
            _write_lines(folder / f"{name}.{texts}.jsonl", side[name])
        vocabularies.append(vocabulary)
        widths.append(width)
    for name, (examples, rows) in selections.items():
        alternatives = (
            [
                [index.get(token, tokenizer.UNKNOWN) for token in split_tokens(text, kind)]
                for text in texts
            ]
            for texts in (examples.alternatives[row] for row in rows)
        )
        _write_lines(folder / f"{name}.alternatives.jsonl", alternatives)
    notes = [f"{cut:,} texts are longer than {limit} tokens and were cut"] if cut else []
    return {
        "kind": "pairs",
        "input_shape": tuple(widths),
        "vocabulary": vocabularies[0],
        "target_vocabulary": vocabularies[1],
        "target_tokens": token_kinds(spec)[1],
        "notes": notes,
    }


def _write_lines(path: Path, values: Iterable[object]) -> None:
    with path.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(value) + "\n" for value in values)
