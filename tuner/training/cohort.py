"""The conversation between a worker and an executor: a cohort of trials, and its reports.

Imports no torch, since the worker's own process imports this. Everything here is plain data that
travels as JSON. The training loop takes a list of trials even if it holds only one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from tuner.errors import TunerError
from tuner.study_file.code import Code
from tuner.trials import Cause, Direction, ParamValue, Report


@dataclass(frozen=True, slots=True)
class Task:
    """One trial of a cohort."""

    number: int
    attempt: int
    params: Mapping[str, ParamValue]
    seed: int  # initialization, shuffling and dropout of this trial
    folder: Path  # of this attempt: weights, checkpoints, log; created by the first writer
    earlier: tuple[Path, ...] = ()  # folders of earlier attempts, the latest first
    is_promoted: bool = False  # it was paused at a rung and goes on
    level: int = 0  # of fidelity that earlier attempts have reported


@dataclass(frozen=True, slots=True)
class Cohort:
    """One or more trials that one executor trains together on one device."""

    study: str
    family: str
    data: Mapping[str, Any] | None  # `DataSpec` as plain data, paths absolute; None for user code
    fingerprint: str  # of the data at launch; training on other data is refused
    metric: str
    direction: Direction
    epochs: int  # per trial at most; 0: user code decides
    early_stop: int | None  # epochs without improvement
    precision: str  # auto, float32 or bfloat16
    device: str  # a torch device: cpu, cuda:0
    threads: int  # CPU threads for this executor
    cache: Path  # folder of prepared data
    tasks: tuple[Task, ...]
    code: Code | None = None  # of families `function` and `command`
    checkpoints: Mapping[str, str] = field(default_factory=dict)  # → SHA-256 at the launch
    others: tuple[str, ...] = ()  # further metrics that are optimized or bounded
    fidelities: tuple[float, ...] = ()  # levels, each of which is a step; empty: epochs are

    @property
    def last_step(self) -> int:
        """The last step that a trial reports; 0: user code decides."""
        return len(self.fidelities) or self.epochs

    def epochs_of(self, task: Task) -> int:
        """Return a trial's number of epochs: its parameter `epochs`, if its family has that."""
        epochs = task.params.get("epochs")
        return self.epochs if epochs is None else min(self.epochs, int(epochs))


class Decision(StrEnum):
    """The answer to a report."""

    GO_ON = "go_on"
    PRUNE = "prune"  # the pruner ends the trial; its result counts as pruned
    PAUSE = "pause"  # the pruner may have it go on later: save a checkpoint and end
    STOP = "stop"  # the study was paused, or the lease was lost: end without a result


class Context(Protocol):
    """The executor's side of the conversation with its worker."""

    def report(self, reports: Mapping[int, Report]) -> Mapping[int, Decision]:
        """Send one report per trial (by number); returns what each must do next."""
        ...

    def finish(
        self, number: int, value: float, weights: Path | None, measured: Mapping[str, float]
    ) -> None:
        """Finish a trial: `value` is the objective at the epoch of `weights`.

        `measured` holds the other metrics of that epoch, and the trial's costs (`trials.COSTS`).
        """
        ...

    def diverged(self, number: int, message: str) -> None:
        """End a trial whose loss or metric became NaN or infinite."""
        ...

    def paused(self, number: int) -> None:
        """End a trial whose report was answered by `Decision.PAUSE`; its checkpoint is written."""
        ...

    def asked_to_stop(self) -> bool:
        """Whether the cohort must end without a result; to be polled while nothing is reported."""
        ...


class WorkerGoneError(BaseException):
    """The worker has gone away in the middle of the conversation.

    A BaseException, so that users' code does not catch it by accident.
    """


class FailedError(TunerError):
    """The cohort cannot continue, for a known cause."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause
