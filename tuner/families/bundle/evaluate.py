"""Evaluate exported weights: `python -m tuner.families.bundle.evaluate` < request.

A process of its own, so that the command line never imports torch. It measures the weights, writes
what predictions need besides them into a bundle, and compares ONNX with torch, as
`requests.Evaluate` asks.
"""

import contextlib
import importlib
import sys
from types import FunctionType

import torch
from safetensors import SafetensorError

from tuner.data import PreparedData, prepare
from tuner.errors import TunerError
from tuner.families import registry
from tuner.families.bundle import inputs, preprocessing
from tuner.families.bundle.requests import Evaluate, Evaluated, OnnxComparison, OnnxFile
from tuner.families.code import Code, Networks, load
from tuner.training.device import warm_up
from tuner.training.network import Build


def evaluate(request: Evaluate) -> Evaluated:
    """Answer a request; TunerError if the data is not what it was, or the file is damaged."""
    data = prepare(request.data, request.cache)
    if data.fingerprint != request.fingerprint:
        raise TunerError(
            f"the data has changed since the study was launched (fingerprint {data.fingerprint}, "
            f"at launch {request.fingerprint}): the figures would not be comparable"
        )
    warm_up("cpu")
    torch.set_num_threads(request.threads)
    code = load(registry.card(request.family))
    try:
        answer = _measure(code, request, data)
    # of torch: tensors of another model; of arrays: one is missing, words are no text
    except (SafetensorError, RuntimeError, KeyError, UnicodeDecodeError) as error:
        reason = (str(error).strip().splitlines() or ["?"])[-1].strip()
        raise TunerError(f"the file is damaged ({reason})") from error
    if not request.onnx and request.served is None:
        return answer
    onnx = importlib.import_module("tuner.families.bundle.onnx")  # needs an extra
    assert isinstance(code, Networks)  # the cards of others say why they have no such file
    if request.onnx:
        file: OnnxFile = onnx.write(code, request.params, data, request.weights, request.bundle)
        return answer.model_copy(update={"onnx": file})
    comparison: OnnxComparison = onnx.compare(
        code, request.params, data, request.weights, request.served
    )
    return answer.model_copy(update={"comparison": comparison})


def _measure(code: Code, request: Evaluate, data: PreparedData) -> Evaluated:
    params, spec, weights = request.params, request.data, request.weights
    scores = code.measure(params, spec, data, weights, request.parts)
    answer = Evaluated(
        measured={part: scored.metrics() for part, scored in scores.items()},
        intervals={part: scored.interval(request.metric) for part, scored in scores.items()},
        scale=data.scale,
    )
    if request.bundle is not None:
        preprocessing.write(code, params, spec, data, weights, request.bundle)
        if isinstance(code, Networks):
            answer = answer.model_copy(update={"build": _name(code.build)})
    if request.sample is None:
        return answer
    rows = min(request.sample.rows, data.sizes["validation"])
    inputs.write(spec, data, rows, request.sample.path)
    predictions = code.predictions(params, spec, data, weights, inputs.PART, rows)
    return answer.model_copy(update={"predictions": predictions})


def _name(build: Build) -> str:
    """Where a function stands: `module:function`; TunerError if it has no such name."""
    if not isinstance(build, FunctionType) or "." in build.__qualname__:
        raise TunerError(
            "`build` must be a function at the top of a module: predict.py is made of its source"
        )
    return f"{build.__module__}:{build.__qualname__}"


def main() -> None:
    """Answer the request on standard input; a TunerError is one line on standard error."""
    request = Evaluate.loads(sys.stdin.read())
    try:
        with contextlib.redirect_stdout(sys.stderr):
            answer = evaluate(request)
    except TunerError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    sys.stdout.write(answer.dumps())


if __name__ == "__main__":
    main()
