"""Exported weights measured on parts of the data: `python -m tuner.families.evaluate` < request.

A process of its own, so that the command line never imports torch. The request and the answer are
JSON: what to build, which weights to load and which parts to measure; all metrics of each part.
Beside the weights it puts what else the family's exports hold.
"""

import contextlib
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError

from tuner.data import PartName, Prepared, prepare
from tuner.errors import TunerError
from tuner.families import registry
from tuner.spec.data import DataSpec
from tuner.training import metrics, weights
from tuner.training.device import warm_up
from tuner.training.network import load_resident, predict
from tuner.trials import ParamValue


def evaluate(request: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Part → metric → value; DataError if the data is not what it was at launch."""
    spec = DataSpec.model_validate(request["data"])
    data = prepare(spec, Path(request["cache"]))
    if data.fingerprint != request["fingerprint"]:
        raise TunerError(
            f"the data has changed since the study was launched (fingerprint {data.fingerprint}, "
            f"at launch {request['fingerprint']}): the figures would not be comparable"
        )
    warm_up("cpu")
    torch.set_num_threads(request["threads"])
    family = importlib.import_module(registry.card(request["family"]).module)
    path = Path(request["weights"])
    measure = getattr(family, "measure", partial(_measure, family))
    try:
        measured: dict[str, dict[str, float]] = measure(
            request["params"], spec, data, path, request["parts"]
        )
    # of torch: tensors of another model; of arrays: one is missing, words are no text
    except (SafetensorError, RuntimeError, KeyError, UnicodeDecodeError) as error:
        reason = (str(error).strip().splitlines() or ["?"])[-1].strip()
        raise TunerError(f"the file is damaged ({reason})") from error
    if hasattr(family, "export"):
        family.export(path, path.parent)
    return measured


def _measure(
    family: ModuleType,
    params: Mapping[str, ParamValue],
    _: DataSpec,
    data: Prepared,
    path: Path,
    parts: Sequence[PartName],
) -> dict[str, dict[str, float]]:
    """Of a network's weights."""
    model = family.build(params, data)
    weights.load(model, path)
    load = getattr(family, "load", load_resident)
    device = torch.device("cpu")
    measured: dict[str, dict[str, float]] = {}
    for name in parts:
        part = load(params, data, name, device)
        measured[name] = metrics.classification(predict(model, part), part.labels)
    return measured


def main() -> None:
    """Answer the request on standard input; a TunerError is one line on standard error."""
    request = json.load(sys.stdin)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            measured = evaluate(request)
    except TunerError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    json.dump(measured, sys.stdout)


if __name__ == "__main__":
    main()
