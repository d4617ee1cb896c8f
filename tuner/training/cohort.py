"""What a worker hands to an executor: a cohort of trials, and what comes back.

Torch-free: the worker's parent process imports this. Everything here is plain data that travels as
JSON; the training loop speaks of a list of trials even where it holds one.
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
    folder: Path  # of this attempt: weights, checkpoints, log; made by whoever writes first
    earlier: tuple[Path, ...] = ()  # folders of the attempts before it, the latest first


@dataclass(frozen=True, slots=True)
class Cohort:
    """1..K trials that are trained together by one executor on one device."""

    study: str
    family: str
    data: Mapping[str, Any] | None  # `DataSpec` as plain data, paths absolute; own code has none
    fingerprint: str  # of the data at launch; training on other data is refused
    metric: str
    direction: Direction
    epochs: int  # of a trial at most; 0: its own code knows
    early_stop: int | None  # epochs without improvement
    precision: str  # auto, float32 or bfloat16
    device: str  # a torch device: cpu, cuda:0
    threads: int  # CPU threads for this executor
    cache: Path  # folder of prepared data
    tasks: tuple[Task, ...]
    code: Code | None = None  # of families `function` and `command`
    checkpoints: Mapping[str, str] = field(default_factory=dict)  # → SHA-256 at the launch
    others: tuple[str, ...] = ()  # metrics that are optimized beside the first

    def epochs_of(self, task: Task) -> int:
        """How long a trial is trained: as its family's parameter `epochs` says, if it has one."""
        asked = task.params.get("epochs")
        return self.epochs if asked is None else min(self.epochs, int(asked))


class Decision(StrEnum):
    """The answer to a report."""

    GO_ON = "go_on"
    PRUNE = "prune"  # the pruner ends the trial; its result counts as pruned
    STOP = "stop"  # the study was paused or the lease lost: end without a result


class Context(Protocol):
    """The executor's side of the conversation with its worker."""

    def report(self, reports: Mapping[int, Report]) -> Mapping[int, Decision]:
        """Send one report a trial (by number); returns what each shall do next."""
        ...

    def finish(
        self, number: int, value: float, weights: Path | None, measured: Mapping[str, float]
    ) -> None:
        """A trial trained to its end: `value` is the objective at the epoch of `weights`.

        `measured` is what else was measured there, and what the trial costs (`trials.COSTS`).
        """
        ...

    def diverged(self, number: int, message: str) -> None:
        """A trial's loss or metric became NaN or infinite."""
        ...

    def asked_to_stop(self) -> bool:
        """Whether the cohort shall end without a result; to be asked while nothing is reported."""
        ...


class WorkerGoneError(BaseException):
    """The worker has gone while a context spoke with it.

    It is not one of the errors that users' code raises or catches, as EOFError is.
    """


class FailedError(TunerError):
    """The cohort cannot go on, for a known cause."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause
