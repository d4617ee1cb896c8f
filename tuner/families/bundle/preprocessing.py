"""What a bundle needs besides weights to predict: `preprocessing.json` and the family's files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.data import PreparedData, pairs
from tuner.families.code import Code
from tuner.study_file.data import PAIRS, DataSpec
from tuner.trials import ParamValue

FILE = "preprocessing.json"


def write(
    code: Code,
    params: Mapping[str, ParamValue],
    spec: DataSpec,
    data: PreparedData,
    weights: Path,
    folder: Path,
) -> None:
    """Write the file, and the family's further files, into the folder."""
    more = code.export_files(params, data, weights, folder)
    content = json.dumps({**_describe(spec, data), **more}, ensure_ascii=False)
    (folder / FILE).write_text(content + "\n", encoding="utf-8")


def _describe(spec: DataSpec, data: PreparedData) -> dict[str, Any]:
    """Describe the data as the training part shows it."""
    common = {
        "kind": data.kind,
        "classes": data.classes,
        "scale": data.scale,
        "input_shape": data.input_shape,
        # the words of a corpus are stored with their vectors
        "vocabulary": () if data.kind == "corpus" else data.vocabulary,
        "target_vocabulary": data.target_vocabulary,
    }
    if data.kind == "images":
        pixels = data.part("train").inputs
        range_ = [float(pixels.min()), float(pixels.max())]
        return {**common, "mean": data.mean, "std": data.std, "range": range_}
    more = {"column": spec.text, "lowercase": spec.lowercase, "tokens": spec.tokens}
    if spec.source in PAIRS:
        text, target = pairs.token_kinds(spec)
        more |= {"text_tokens": text, "target_tokens": target}
    return {**common, **more}
