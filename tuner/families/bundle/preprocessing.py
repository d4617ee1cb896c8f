"""What a bundle needs besides weights to predict: `preprocessing.json`, the family's own files."""

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
    """Write the file, and what else the family's bundles hold, into the folder."""
    more = code.export_files(params, data, weights, folder)
    content = json.dumps({**_described(spec, data), **more}, ensure_ascii=False)
    (folder / FILE).write_text(content + "\n", encoding="utf-8")


def _described(spec: DataSpec, data: PreparedData) -> dict[str, Any]:
    """What is known of the data, all of it from the training part."""
    common = {
        "kind": data.kind,
        "classes": data.classes,
        "scale": data.scale,
        "input_shape": data.input_shape,
        # of a corpus, the words stand with their vectors
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
