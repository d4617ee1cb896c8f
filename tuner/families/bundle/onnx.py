"""A network in the ONNX format, which runtimes in any language read: a bundle's `model.onnx`.

It takes what the network takes, in batches and, of texts, lengths of any size, and gives the
probabilities or the numbers that `predict.py` gives. onnxruntime must say of the whole validation
part what torch says of it.

The exporter is torch's tracing one: the newer one, by `torch.export`, has no form for the packed
sequences that recurrent networks read.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor, nn

from tuner.data import PreparedData
from tuner.errors import TunerError
from tuner.families.bundle.inputs import PART
from tuner.families.bundle.requests import OnnxComparison, OnnxFile
from tuner.families.code import Networks
from tuner.training.network import Batches
from tuner.trials import ParamValue

FILE = "model.onnx"
OPSET = 18
PROBABILITIES, NUMBERS = "probabilities", "numbers"  # names of the output
TOLERANCE = 1e-4  # of probabilities, and of labels' deviation: sums differ with their terms' order
TRACED = 2  # rows of the batch that is traced
CHECKED = 64  # rows of a batch that is compared; the last one has fewer
ERRORS_ALONE = 3  # severity of what onnxruntime prints


def write(
    code: Networks,
    params: Mapping[str, ParamValue],
    data: PreparedData,
    weights: Path,
    folder: Path,
) -> OnnxFile:
    """Write the file into the folder; return what it takes, and how far it is from torch.

    TunerError if that is more than `TOLERANCE`.
    """
    network = code.network(params, data, weights)
    model = _Served(network, data.scale).eval()
    traced = model if code.for_onnx is None else _Served(code.for_onnx(network), data.scale).eval()
    part = code.part(params, data, PART)
    path = folder / FILE
    _export(traced, part, data, path)
    difference, inputs = _compared(path, model, part)
    if not difference <= TOLERANCE:
        raise TunerError(
            f"as ONNX the network says something else: its {model.output} differ by "
            f"{difference:.2g}{model.unit}"
        )
    return OnnxFile(
        opset=OPSET,
        inputs=inputs,
        output=model.output,
        examples=len(part),
        largest_difference=difference,
        onnxruntime=onnxruntime.__version__,
    )


def compare(
    code: Networks,
    params: Mapping[str, ParamValue],
    data: PreparedData,
    weights: Path,
    path: Path,
) -> OnnxComparison:
    """How far a file is from torch with the same weights, on the whole validation part.

    TunerError if onnxruntime cannot run it.
    """
    model = _Served(code.network(params, data, weights), data.scale).eval()
    part = code.part(params, data, PART)
    try:
        difference, _ = _compared(path, model, part)
    except Exception as error:  # of onnxruntime: a class for each of its codes, of no common kind
        reason = (str(error).strip().splitlines() or ["?"])[0]
        raise TunerError(f"{FILE} cannot be run ({reason})") from error
    return OnnxComparison(examples=len(part), largest_difference=difference)


class _Served(nn.Module):
    """A network's inputs, each a tensor [N, …] → probabilities [N, classes], or numbers [N]."""

    def __init__(self, network: nn.Module, scale: tuple[float, float] | None) -> None:
        super().__init__()
        self.network = network
        self.scale = scale
        self.output = PROBABILITIES if scale is None else NUMBERS
        self.unit = "" if scale is None else " standard deviations of the labels"

    def forward(self, *inputs: Tensor) -> Tensor:
        """What is served of a batch."""
        said: Tensor = self.network(inputs if len(inputs) > 1 else inputs[0])
        if self.scale is None:
            return said.softmax(dim=1)
        mean, spread = self.scale
        return mean + spread * said.squeeze(1).double()


def _export(model: _Served, part: Batches, data: PreparedData, path: Path) -> None:
    inputs = _inputs(part, torch.arange(min(TRACED, len(part))))
    names = _names(inputs, data)
    free = {0: "batch"} if data.kind == "images" else {0: "batch", 1: "length"}
    with _unfused(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is the older exporter, and what tracing fixes
        torch.onnx.export(
            model,
            inputs,
            path,
            input_names=names,
            output_names=[model.output],
            dynamic_axes={**dict.fromkeys(names, free), model.output: {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def _names(inputs: tuple[Tensor, ...], data: PreparedData) -> list[str]:
    if data.kind == "images":
        return ["images"]
    return ["tokens"] if len(inputs) == 1 else ["terms", "weights"]


@contextmanager
def _unfused() -> Iterator[None]:
    """Within the block, attention is no single operator of torch's own, which ONNX lacks."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


@torch.inference_mode()
def _compared(path: Path, model: _Served, part: Batches) -> tuple[float, dict[str, str]]:
    """The largest difference, of numbers in deviations, and what the inputs are: name → type."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = ERRORS_ALONE
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    named = session.get_inputs()
    difference = 0.0
    for rows in torch.arange(len(part)).split(CHECKED):
        inputs = _inputs(part, rows)
        given = {one.name: tensor.numpy() for one, tensor in zip(named, inputs, strict=True)}
        (found,) = session.run([model.output], given)
        apart = (torch.from_numpy(found) - model(*inputs)).abs().max()
        apart = apart if model.scale is None else apart / model.scale[1]
        difference = max(difference, float(apart.nan_to_num(torch.inf)))
    return difference, {one.name: f"{one.type} {one.shape}" for one in named}


def _inputs(part: Batches, rows: Tensor) -> tuple[Tensor, ...]:
    inputs, _ = part.batch(rows)
    return tuple(inputs) if isinstance(inputs, tuple) else (inputs,)
