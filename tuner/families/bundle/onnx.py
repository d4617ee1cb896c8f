"""A network in the ONNX format, which runtimes in any language read: a bundle's `model.onnx`.

It takes the network's inputs, with batches and texts of any size, and returns the probabilities or
numbers that `predict.py` prints. onnxruntime must compute the same as torch on the whole validation
part.

This uses torch's tracing exporter: the newer one, by `torch.export`, does not support the packed
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
TOLERANCE = 1e-4  # of probabilities, or of the labels' deviation: sums depend on their order
TRACED = 2  # rows of the batch that is traced
CHECKED = 64  # rows per batch that is compared
ERRORS_ONLY = 3  # severity of the messages that onnxruntime prints


def write(
    code: Networks,
    params: Mapping[str, ParamValue],
    data: PreparedData,
    weights: Path,
    folder: Path,
) -> OnnxFile:
    """Write the file into the folder; returns its inputs and its difference from torch.

    TunerError if the difference exceeds `TOLERANCE`.
    """
    network = code.network(params, data, weights)
    model = _Served(network, data.scale).eval()
    traced = model if code.for_onnx is None else _Served(code.for_onnx(network), data.scale).eval()
    part = code.part(params, data, PART)
    path = folder / FILE
    _export(traced, part, data, path)
    difference, inputs = _compare(path, model, part)
    if not difference <= TOLERANCE:
        raise TunerError(
            f"as ONNX the network computes something else: its {model.output} differ by "
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
    """Compare a file with torch and the same weights, on the whole validation part.

    TunerError if onnxruntime cannot run it.
    """
    model = _Served(code.network(params, data, weights), data.scale).eval()
    part = code.part(params, data, PART)
    try:
        difference, _ = _compare(path, model, part)
    except Exception as error:  # onnxruntime has a class per error code, without a common base
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
        """Return the probabilities or the numbers of a batch."""
        outputs: Tensor = self.network(inputs if len(inputs) > 1 else inputs[0])
        if self.scale is None:
            return outputs.softmax(dim=1)
        mean, std = self.scale
        return mean + std * outputs.squeeze(1).double()


def _export(model: _Served, part: Batches, data: PreparedData, path: Path) -> None:
    inputs = _inputs(part, torch.arange(min(TRACED, len(part))))
    names = _names(inputs, data)
    free = {0: "batch"} if data.kind == "images" else {0: "batch", 1: "length"}
    with _unfused(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the older exporter, and constants of the trace
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
    """Keep torch from fusing attention into an operator that ONNX lacks, inside the block."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


@torch.inference_mode()
def _compare(path: Path, model: _Served, part: Batches) -> tuple[float, dict[str, str]]:
    """Return the largest difference, of numbers in standard deviations, and the types of inputs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = ERRORS_ONLY
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    parameters = session.get_inputs()
    largest = 0.0
    for rows in torch.arange(len(part)).split(CHECKED):
        inputs = _inputs(part, rows)
        feed = {
            parameter.name: tensor.numpy()
            for parameter, tensor in zip(parameters, inputs, strict=True)
        }
        (outputs,) = session.run([model.output], feed)
        difference = (torch.from_numpy(outputs) - model(*inputs)).abs().max()
        difference = difference if model.scale is None else difference / model.scale[1]
        largest = max(largest, float(difference.nan_to_num(torch.inf)))
    return largest, {
        parameter.name: f"{parameter.type} {parameter.shape}" for parameter in parameters
    }


def _inputs(part: Batches, rows: Tensor) -> tuple[Tensor, ...]:
    inputs, _ = part.batch(rows)
    return tuple(inputs) if isinstance(inputs, tuple) else (inputs,)
