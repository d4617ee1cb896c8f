"""The conversation between a worker and an executor: JSON over a socket pair.

JSON, never pickle: the executor runs users' code, and the worker trusts nothing it sends beyond
the shape that is checked here.

    worker → executor                      executor → worker
                                           Ready            warm, waits for work
                                           Unusable         cannot train on its device, ends
    Train(cohort)                          Reported(reports)   waits for the answer:
    Decided(decisions)                     Finished | Diverged | Paused   one trial's end
    Stop             end without a result
                                           Failed           the whole cohort ends with an error
                                           Done             the cohort is over, waits for work
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from tuner.errors import ExecutorError
from tuner.training.cohort import Cohort, Decision, WorkerGoneError
from tuner.trials import Cause, Report

MAX_BYTES = 4 * 2**20  # of one message; a larger one is refused


@dataclass(frozen=True, slots=True)
class Train:
    """Train this cohort."""

    cohort: Cohort
    kind: Literal["train"] = "train"


@dataclass(frozen=True, slots=True)
class Decided:
    """The answer to `Reported`: one decision per trial."""

    decisions: Mapping[int, Decision]
    kind: Literal["decided"] = "decided"


@dataclass(frozen=True, slots=True)
class Stop:
    """End the cohort, if one runs, without a result and without waiting for its next report."""

    kind: Literal["stop"] = "stop"


@dataclass(frozen=True, slots=True)
class Ready:
    """Started and warm."""

    kind: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True)
class Unusable:
    """The installed torch cannot train on the slot's device; no other executor can either."""

    message: str
    kind: Literal["unusable"] = "unusable"


@dataclass(frozen=True, slots=True)
class Reported:
    """One report per trial of the cohort that is still being trained, by number."""

    reports: Mapping[int, Report]
    peak: int = 0  # the most bytes of the device's memory that the process has held so far
    kind: Literal["reported"] = "reported"


@dataclass(frozen=True, slots=True)
class Finished:
    """A trial ran to its end with this objective."""

    number: int
    value: float
    measured: Mapping[str, float]  # other metrics of the same epoch, and what the trial costs
    peak: int = 0  # bytes, as in `Reported`
    kind: Literal["finished"] = "finished"


@dataclass(frozen=True, slots=True)
class Diverged:
    """A trial's loss or metric became NaN or infinite."""

    number: int
    message: str
    kind: Literal["diverged"] = "diverged"


@dataclass(frozen=True, slots=True)
class Paused:
    """A trial has ended as `Decision.PAUSE` said; what it saved is there for a later attempt."""

    number: int
    kind: Literal["paused"] = "paused"


@dataclass(frozen=True, slots=True)
class Failed:
    """The cohort's code raised; the traceback is in the log."""

    cause: Cause
    message: str
    kind: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class Done:
    """The cohort is over."""

    held: int = 0  # bytes of the device's memory that the process holds with empty caches
    worn: bool = False  # whether the process has changed so that it must train no other cohort
    kind: Literal["done"] = "done"


FromWorker = Train | Decided | Stop
FromExecutor = Ready | Unusable | Reported | Finished | Diverged | Paused | Failed | Done

_CONFIG = ConfigDict(ser_json_inf_nan="constants")
_from_worker: TypeAdapter[FromWorker] = TypeAdapter(
    Annotated[FromWorker, Field(discriminator="kind")], config=_CONFIG
)
_from_executor: TypeAdapter[FromExecutor] = TypeAdapter(
    Annotated[FromExecutor, Field(discriminator="kind")], config=_CONFIG
)


def send_to_executor(connection: Connection, message: FromWorker) -> None:
    """Send; OSError if the executor is gone."""
    connection.send_bytes(_from_worker.dump_json(message))


@contextmanager
def _to_the_worker() -> Iterator[None]:
    try:
        yield
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:
        raise WorkerGoneError from error


def send_to_worker(connection: Connection, message: FromExecutor) -> None:
    """Send; WorkerGoneError if the worker is gone."""
    with _to_the_worker():
        connection.send_bytes(_from_executor.dump_json(message))


def receive_from_worker(connection: Connection) -> FromWorker:
    """Wait for the next message; WorkerGoneError if the worker is gone."""
    with _to_the_worker():
        return _from_worker.validate_json(connection.recv_bytes())


def receive_from_executor(connection: Connection) -> FromExecutor:
    """Wait for the next message; EOFError or OSError if it is gone, ExecutorError for nonsense."""
    try:
        return _from_executor.validate_json(connection.recv_bytes(MAX_BYTES))
    except ValidationError as error:
        raise ExecutorError(f"the executor sent something that is no message: {error}") from None
