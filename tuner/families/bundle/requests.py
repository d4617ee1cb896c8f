"""What processes that import torch are asked for, and what they answer: JSON over their pipes.

    Evaluate → Evaluated     `families.bundle.evaluate`     exported weights, measured
    Retrain  → Retrained     `families.bundle.retrain`      one configuration, trained again
    Profile  → Cost …        `families.transfer.profile`    a line per way of fine-tuning

Each is a process of its own, so that the command line never imports torch. A request is the
process's standard input, an answer is its standard output. Both ends use these classes.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from tuner.study_file.data import DataSpec
from tuner.training.cohort import Cohort
from tuner.trials import ParamValue

Params = Mapping[str, ParamValue]
MeasuredPart = Literal["validation", "test"]


class Message(BaseModel):
    """A request or an answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def loads(cls, text: str) -> Self:
        """Read what `dumps` has written; pydantic's ValidationError if it is anything else."""
        return cls.model_validate(json.loads(text))

    def dumps(self) -> str:
        """Write the message as one line of JSON: NaN, infinity and any path included."""
        return json.dumps(self.model_dump(mode="json"))


class Sample(Message):
    """Examples of the validation part that predictions are compared on."""

    rows: int  # at most
    path: Path  # where the examples are written, as `predict.py` reads them


class Evaluate(Message):
    """Measure the weights in a file."""

    family: str
    params: Params  # pinned ones included
    data: DataSpec
    fingerprint: str | None  # of the data at the launch; other data is an error
    cache: Path  # folder of prepared data
    metric: str  # the objective's, of which intervals are computed
    weights: Path
    parts: Sequence[MeasuredPart]
    threads: int = 1
    bundle: Path | None = None  # where what predictions need besides the weights is written
    onnx: bool = False  # whether the network is written there as ONNX too
    served: Path | None = None  # a `model.onnx` to compare with torch
    sample: Sample | None = None


class OnnxFile(Message):
    """A network that was written as ONNX, and how its outputs compare with torch."""

    opset: int
    inputs: Mapping[str, str]  # name → type and shape
    output: str
    examples: int  # of the validation part, all compared
    largest_difference: float  # of probabilities, or of numbers in the labels' deviations
    onnxruntime: str  # version


class OnnxComparison(Message):
    """How the outputs of a `model.onnx` compare with torch."""

    examples: int
    largest_difference: float


class Evaluated(Message):
    """The answer to `Evaluate`."""

    measured: Mapping[str, Mapping[str, float]]  # part → metric → value
    intervals: Mapping[str, tuple[float, float]]  # part → the objective's 95 % interval
    scale: tuple[float, float] | None  # labels that are numbers: mean, standard deviation
    onnx: OnnxFile | None = None
    comparison: OnnxComparison | None = None
    build: str | None = None  # `module:function` that builds the networks, for `predict.py`
    predictions: Sequence[Mapping[str, Any]] = ()  # for the sample, as `predict.py` prints them


class Retrain(Message):
    """Train the trials of a cohort to their ends."""

    cohort: Cohort


class Retrained(Message):
    """The answer to `Retrain`: the objective's value, or the problem there was."""

    value: float | None = None
    problem: str | None = None


class Profile(Message):
    """Measure what a pretrained checkpoint costs, in each way of fine-tuning."""

    family: str
    data: DataSpec
    params: Params
    ways: Sequence[str]
    device: str
    threads: int
    limit: float  # MiB that a trial may use
    cache: Path  # folder of prepared data


class Cost(Message):
    """A line of the answer to `Profile`; a way that failed has none."""

    way: str
    memory: float  # MiB, the peak
    seconds: float  # per epoch
