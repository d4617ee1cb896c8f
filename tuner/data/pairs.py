"""Pairs of texts → arrays: each side has a vocabulary of its own, learned from the training part.

PART.inputs.npy     int32 [N, longest], ids of the text's tokens, padded with 0
PART.labels.npy     int64 [N, longest + 1], ids of its counterpart's tokens and `END`, padded
PART.texts.jsonl, PART.targets.jsonl    the texts themselves
PART.alternatives.jsonl    what counts as right as well, for each text a list of ids as in `labels`
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
from tuner.data.split import Chosen
from tuner.data.tokenizer import SPECIAL
from tuner.study_file.data import DataSpec, Tokens

END = SPECIAL  # behind every counterpart, and before it when one is written
LONGEST = 512  # tokens of a side, unless the study file says something else

_DEFAULTS: Mapping[str, tuple[Tokens, Tokens]] = {
    "cmudict": ("characters", "words"),
    "pairs": ("words", "words"),
}


def kinds(spec: DataSpec) -> tuple[Tokens, Tokens]:
    """What the two sides consist of."""
    text, label = _DEFAULTS[spec.source]
    return spec.text_tokens or text, spec.label_tokens or label


def tokens(text: str, kind: Tokens) -> list[str]:
    """The tokens of a text; composed and decomposed accents are the same."""
    text = unicodedata.normalize("NFC", text)
    return list(text) if kind == "characters" else text.split()


def joined(found: Sequence[str], kind: Tokens) -> str:
    """The text that consists of these tokens."""
    return ("" if kind == "characters" else " ").join(found)


def write(chosen: Mapping[PartName, Chosen[Pairs]], spec: DataSpec, folder: Path) -> dict[str, Any]:
    """Write the arrays of all parts; returns what was learned."""
    sides: list[dict[PartName, list[str]]] = [
        {n: [c.examples.texts[row] for row in c.rows] for n, c in chosen.items()},
        {n: [c.examples.targets[row] for row in c.rows] for n, c in chosen.items()},
    ]
    most = spec.max_length or LONGEST
    names = (("inputs", "texts", "<i4"), ("labels", "targets", "<i8"))
    vocabularies, longest, cut = [], [], 0
    for number, (side, kind) in enumerate(zip(sides, kinds(spec), strict=True)):
        split = {name: [tokens(text, kind) for text in part] for name, part in side.items()}
        counts = Counter(token for found in split["train"] for token in found)
        known = tokenizer.vocabulary(counts, most=spec.vocabulary, min_count=spec.min_count)
        if number:
            known = (*known[:END], "<end>", *known[END:])
        index = {token: place for place, token in enumerate(known)}
        width = min(max(len(found) for part in split.values() for found in part), most)
        cut += sum(len(found) > most for part in split.values() for found in part)
        array, texts, dtype = names[number]
        for name, part in split.items():
            ids = np.zeros((len(part), width + number), dtype=dtype)
            for row, found in enumerate(part):
                kept = [index.get(token, tokenizer.UNKNOWN) for token in found[:most]]
                kept += [END] * number
                ids[row, : len(kept)] = kept
            with array_file(folder / f"{name}.{array}.npy", ids.dtype, ids.shape) as file:
                file.write(ids.tobytes())
            _write_lines(folder / f"{name}.{texts}.jsonl", side[name])
        vocabularies.append(known)
        longest.append(width + number)
    for name, (examples, rows) in chosen.items():
        others = (
            [
                [index.get(token, tokenizer.UNKNOWN) for token in tokens(text, kind)]
                for text in texts
            ]
            for texts in (examples.alternatives[row] for row in rows)
        )
        _write_lines(folder / f"{name}.alternatives.jsonl", others)
    notes = [f"{cut:,} texts are longer than {most} tokens and were cut"] if cut else []
    return {
        "kind": "pairs",
        "input_shape": tuple(longest),
        "vocabulary": vocabularies[0],
        "target_vocabulary": vocabularies[1],
        "target_tokens": kinds(spec)[1],
        "notes": notes,
    }


def _write_lines(path: Path, values: Iterable[object]) -> None:
    with path.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(value) + "\n" for value in values)
