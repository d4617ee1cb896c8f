"""The conversation between a worker and the process of a class: JSON over a socket pair.

worker → process                       process → worker
Begin            once                  Ready | Unusable
Update           trials that changed
Propose          for one trial         Proposed
Judge            one report            Judged
"""

from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from tuner.errors import ExecutorError
from tuner.study_file.code import Code
from tuner.trials import Direction

MAX_BYTES = 4 * 2**20  # of one message to the worker


@dataclass(frozen=True, slots=True)
class Begin:
    """What to load, and for which study."""

    study: str
    directions: list[Direction]
    space: dict[str, Any]  # as in the study's specification
    seed: int
    path: str  # of the class
    options: dict[str, Any]
    role: Literal["sampler", "pruner"]
    code: Code | None = None  # where the class is, if it is not installed
    kind: Literal["begin"] = "begin"


@dataclass(frozen=True, slots=True)
class TrialState:
    """A trial as it is now."""

    number: int
    state: int  # of Optuna's enumeration
    params: dict[str, Any] = field(default_factory=dict)
    values: list[float] | None = None
    reports: dict[int, float] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    started: float | None = None  # seconds since 1970
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """Trials that are new or have changed."""

    trials: list[TrialState]
    kind: Literal["update"] = "update"


@dataclass(frozen=True, slots=True)
class Propose:
    """Propose for a trial, some of whose parameters may be fixed."""

    number: int
    fixed: dict[str, Any]
    kind: Literal["propose"] = "propose"


@dataclass(frozen=True, slots=True)
class Judge:
    """Decide whether a trial ends with this report."""

    number: int
    step: int
    value: float
    kind: Literal["judge"] = "judge"


@dataclass(frozen=True, slots=True)
class Ready:
    """The class is loaded."""

    kind: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True)
class Unusable:
    """The class cannot be used; the process ends."""

    message: str
    kind: Literal["unusable"] = "unusable"


@dataclass(frozen=True, slots=True)
class Proposed:
    """The answer to `Propose`."""

    number: int
    params: dict[str, Any] | None  # None: the sampler has raised, or proposed what is forbidden
    attrs: dict[str, Any] = field(default_factory=dict)  # that it has set for the trial
    problem: str | None = None  # why there are none
    is_over: bool = False  # whether the sampler has asked to end the study
    kind: Literal["proposed"] = "proposed"


@dataclass(frozen=True, slots=True)
class Judged:
    """The answer to `Judge`."""

    number: int
    step: int
    prune: bool
    attrs: dict[str, Any] = field(default_factory=dict)  # that the pruner has set for the trial
    problem: str | None = None  # what it has raised
    kind: Literal["judged"] = "judged"


ToProcess = Begin | Update | Propose | Judge
FromProcess = Ready | Unusable | Proposed | Judged

_CONFIG = ConfigDict(ser_json_inf_nan="constants")
_to_process: TypeAdapter[ToProcess] = TypeAdapter(
    Annotated[ToProcess, Field(discriminator="kind")], config=_CONFIG
)
_from_process: TypeAdapter[FromProcess] = TypeAdapter(
    Annotated[FromProcess, Field(discriminator="kind")], config=_CONFIG
)


def send_to_process(connection: Connection, message: ToProcess) -> None:
    """Send; OSError if the process is gone."""
    connection.send_bytes(_to_process.dump_json(message))


def receive_from_worker(connection: Connection) -> ToProcess:
    """Wait for the next message; EOFError or OSError if the worker is gone."""
    return _to_process.validate_json(connection.recv_bytes())


def send_to_worker(connection: Connection, message: FromProcess) -> None:
    """Send; OSError if the worker is gone."""
    connection.send_bytes(_from_process.dump_json(message))


def receive_from_process(connection: Connection) -> FromProcess:
    """Wait for the next message; EOFError or OSError if it is gone, ExecutorError for nonsense."""
    try:
        return _from_process.validate_json(connection.recv_bytes(MAX_BYTES))
    except ValidationError as error:
        raise ExecutorError(f"a class sent something that is no message: {error}") from None
