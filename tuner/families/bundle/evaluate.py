"""Evaluate exported weights: `python -m tuner.families.bundle.evaluate` < request.

A process of its own, so that the command line never imports torch. The request and the answer are
JSON: what to build, which weights to load and which parts to measure; all metrics of each part, and
an interval of the objective's. Into the folder `bundle` it puts what predictions need besides the
weights, with `onnx` the network as ONNX too; a file of that format is `compared` with torch. Of
`sample` rows of the validation part it gives the predictions and writes the `inputs`.
"""

import contextlib
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from tuner.data import PartName, prepare
from tuner.errors import TunerError
from tuner.families import registry
from tuner.families.bundle import inputs, preprocessing
from tuner.families.code import Networks, load
from tuner.study_file.data import DataSpec
from tuner.training.device import warm_up


def evaluate(request: dict[str, Any]) -> dict[str, Any]:
    """What was asked for; DataError if the data is not what it was at launch."""
    spec = DataSpec.model_validate(request["data"])
    data = prepare(spec, Path(request["cache"]))
    if data.fingerprint != request["fingerprint"]:
        raise TunerError(
            f"the data has changed since the study was launched (fingerprint {data.fingerprint}, "
            f"at launch {request['fingerprint']}): the figures would not be comparable"
        )
    warm_up("cpu")
    torch.set_num_threads(request["threads"])
    code = load(registry.card(request["family"]))
    path, params = Path(request["weights"]), request["params"]
    try:
        parts: Sequence[PartName] = request["parts"]
        scores = code.measure(params, spec, data, path, parts)
        answer: dict[str, Any] = {
            "measured": {part: scored.metrics() for part, scored in scores.items()},
            "intervals": {
                part: scored.interval(request["metric"]) for part, scored in scores.items()
            },
        }
        answer["scale"] = data.scale
        if "bundle" in request:
            preprocessing.write(code, params, spec, data, path, Path(request["bundle"]))
        if "inputs" in request:
            rows = min(request["sample"], data.sizes["validation"])
            answer["predictions"] = code.predictions(params, spec, data, path, inputs.PART, rows)
            inputs.write(spec, data, rows, Path(request["inputs"]))
    # of torch: tensors of another model; of arrays: one is missing, words are no text
    except (SafetensorError, RuntimeError, KeyError, UnicodeDecodeError) as error:
        reason = (str(error).strip().splitlines() or ["?"])[-1].strip()
        raise TunerError(f"the file is damaged ({reason})") from error
    if request.get("onnx") or request.get("compared"):
        assert isinstance(code, Networks)  # others say on their cards why they have no such file
        onnx = importlib.import_module("tuner.families.bundle.onnx")  # needs an extra
        if request.get("onnx"):
            answer["onnx"] = onnx.write(code, params, data, path, Path(request["bundle"]))
        else:
            served = Path(request["compared"])
            answer["onnx"] = onnx.compare(code, params, data, path, served)
    return answer


def main() -> None:
    """Answer the request on standard input; a TunerError is one line on standard error."""
    request = json.load(sys.stdin)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            answer = evaluate(request)
    except TunerError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
