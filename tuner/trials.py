"""Frozen records of studies and trials, their states and the legal transitions.

Everything that reads results (figures, reports, export, the dashboard) works on these records;
nothing here knows where they are stored.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal

ParamValue = bool | int | float | str | None
Direction = Literal["minimize", "maximize"]

# What tuner measures of every trial beside what its family does, each better where it is smaller.
TRAINING_SECONDS, LATENCY = "training_seconds", "latency"
PARAMETERS, PEAK_MEMORY = "parameters", "peak_memory"
COSTS: Mapping[str, str] = MappingProxyType(  # name → unit
    {TRAINING_SECONDS: "s", LATENCY: "ms", PARAMETERS: "", PEAK_MEMORY: "MiB"}
)

# User attributes of a trial, noted by its worker.
COLD_START = "cold_start"  # true: its executor's first trial since it took up the study
SEED = "seed"  # that it was given; without it, its seed follows from the study's and its number

_EMPTY: Mapping[str, Any] = MappingProxyType({})
NO_LABELS: Mapping[str, str] = MappingProxyType({})


class TrialState(StrEnum):
    """Where a trial stands."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def is_finished(self) -> bool:
        """Whether the state is final."""
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)


def finished(counts: Mapping[TrialState, int]) -> int:
    """How many of the trials that are counted by state have ended, however."""
    return sum(number for state, number in counts.items() if state.is_finished)


TRANSITIONS: Mapping[TrialState, frozenset[TrialState]] = MappingProxyType(
    {
        TrialState.WAITING: frozenset({TrialState.RUNNING, TrialState.FAILED}),
        # back to WAITING: the attempt was lost (its worker died) and the trial is requeued
        TrialState.RUNNING: frozenset(
            {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED, TrialState.WAITING}
        ),
        TrialState.COMPLETE: frozenset(),
        TrialState.PRUNED: frozenset(),
        # `tuner retry`: the user asks for another attempt
        TrialState.FAILED: frozenset({TrialState.WAITING}),
    }
)


class StudyState(StrEnum):
    """Whether workers may claim trials of a study."""

    ACTIVE = "active"
    PAUSED = "paused"  # no new claims; running trials go back to the queue
    STOPPED = "stopped"  # ended by the user
    FINISHED = "finished"  # ended by its budget, target or patience


class Cause(StrEnum):
    """Why an attempt did not end in a result; each cause has its own retry rule."""

    USER_ERROR = "user_error"
    OUT_OF_MEMORY = "out_of_memory"
    DIVERGED = "diverged"
    TIMEOUT = "timeout"
    LOST = "lost"
    PREEMPTED = "preempted"
    KILLED = "killed"  # by a user


@dataclass(frozen=True, slots=True)
class FailuresByCause:
    """What went wrong in a study from one cause."""

    cause: Cause
    failed: int  # trials
    again: int  # attempts that another one followed
    number: int  # the trial of the latest one, of which the rest speaks
    message: str | None
    log_tail: str | None  # the last lines of its output


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a trial."""

    number: int  # of the trial
    attempt: int
    outcome: str  # the cause for which another one followed or the trial failed, else its state
    message: str | None
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Report:
    """One report of a trial: the objective and whatever else was measured after `step` epochs."""

    step: int  # epochs done, 1-based
    value: float  # the objective's metric on the validation part
    metrics: Mapping[str, float] = field(default_factory=lambda: _EMPTY)


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial as stored, with the reports of all its attempts."""

    number: int
    state: TrialState
    params: Mapping[str, ParamValue]
    values: tuple[float, ...] | None = None  # one an objective; a pruned trial has its last report
    reports: tuple[Report, ...] = ()
    attempt: int = 0  # how often it was claimed
    worker: str | None = None  # host:pid of the worker of the latest attempt
    cause: Cause | None = None
    message: str | None = None  # one sentence of what went wrong
    log_tail: str | None = None  # the last lines of the failed attempt's output
    created_at: datetime | None = None  # UTC, the database's clock, as all times here
    started_at: datetime | None = None  # of the latest attempt
    finished_at: datetime | None = None
    user_attrs: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    violates_constraint: bool = False  # one of Optuna's constraints: such a trial is never the best
    id: int = 0

    @property
    def value(self) -> float | None:
        """The first objective's value."""
        return self.values[0] if self.values else None

    @property
    def ran_in_optuna(self) -> bool:
        """Whether no worker has its latest attempt: Optuna runs it, or has."""
        if self.worker is not None or self.state is TrialState.WAITING:
            return False
        return self.started_at is not None or self.state is not TrialState.FAILED  # in the queue

    @property
    def is_feasible(self) -> bool:
        """Whether it is complete and within its constraints."""
        return self.state is TrialState.COMPLETE and not self.violates_constraint

    @property
    def can_be_best(self) -> bool:
        """Whether it is feasible and its first objective's value is finite."""
        return self.is_feasible and self.value is not None and math.isfinite(self.value)

    @property
    def seconds(self) -> float | None:
        """How long the latest attempt took; None while it has not ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a claim of a study obeys; it may change while the study runs. None: no limit."""

    max_trials: int | None = None
    hours: float | None = None  # since the launch: no claim after them
    max_epochs: int | None = None  # of all trials together, as recorded
    max_seconds: float | None = None  # that all attempts together may hold their devices
    trial_epochs: int | None = None  # of a trial at most; never changes
    priority: int = 0  # studies of a higher one come first
    max_concurrent: int | None = None  # trials that run at once
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)  # a worker must have them


@dataclass(frozen=True, slots=True)
class Study:
    """One study as stored."""

    name: str
    state: StudyState
    directions: tuple[Direction, ...]
    metrics: tuple[str, ...]  # names of the objectives, one a direction
    family: str | None  # None: a study made through Optuna's own API
    spec: Mapping[str, Any] | None  # the resolved study file as plain data
    max_trials: int | None  # None: no limit
    issued: int = 0  # of the trials: given out
    max_epochs: int | None = None
    epochs_issued: int = 0  # reported by trials that ended, reserved by those that have not
    max_seconds: float | None = None
    seconds_issued: float = 0.0  # of devices: used, or reserved by trials that run
    priority: int = 0
    max_concurrent: int | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    revision: int = 0  # grows when specification or limits change
    data_fingerprint: str | None = None
    reason: str | None = None  # why it is paused, stopped or finished
    created_at: datetime | None = None
    finished_at: datetime | None = None
    launched_by: str | None = None
    experiment: str | None = None  # studies of several families on the same data and metric
    user_attrs: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    system_attrs: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)  # Optuna's own
    id: int = 0

    @property
    def direction(self) -> Direction:
        """The first objective's direction."""
        return self.directions[0]

    @property
    def metric(self) -> str:
        """The first objective's name."""
        return self.metrics[0] if self.metrics else "value"


def better(direction: Direction, a: float, b: float) -> bool:
    """Whether `a` is strictly better than `b`."""
    return a > b if direction == "maximize" else a < b


def best_trial(trials: Iterable[Trial], direction: Direction) -> Trial | None:
    """The complete trial with the best finite value, the earliest of equal ones; None if none.

    Here and below those that violate a constraint are left out.
    """
    best: Trial | None = None
    for trial in trials:
        if not trial.can_be_best:
            continue
        assert trial.value is not None
        if best is None or best.value is None or better(direction, trial.value, best.value):
            best = trial
    return best


def latest_failure(trials: Iterable[Trial]) -> Trial | None:
    """The failed trial that ended last, the later number of several; None if none has failed."""
    failed = (trial for trial in trials if trial.state is TrialState.FAILED)
    return max(
        failed,
        key=lambda t: (t.finished_at.timestamp() if t.finished_at else 0.0, t.number),
        default=None,
    )


def best_so_far(trials: Iterable[Trial], direction: Direction) -> list[tuple[Trial, float]]:
    """Complete trials in order of finishing, each with the best value up to and including it."""
    complete = [t for t in trials if t.is_feasible and t.value is not None]
    complete.sort(key=lambda t: (t.finished_at.timestamp() if t.finished_at else 0.0, t.number))
    out: list[tuple[Trial, float]] = []
    for trial in complete:
        value = trial.value
        assert value is not None
        best = value if not out or better(direction, value, out[-1][1]) else out[-1][1]
        out.append((trial, best))
    return out


def beats(directions: Sequence[Direction], a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether `a` is as good as `b` in every objective and better in one."""
    pairs = [
        (x, y) if direction == "minimize" else (y, x)
        for direction, x, y in zip(directions, a, b, strict=True)
    ]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def unbeaten(points: Sequence[Sequence[float]], directions: Sequence[Direction]) -> list[int]:
    """Indices of the points that no other beats, by their first objective, the best first.

    Equal ones are all among them; no value may be NaN.
    """
    signs = [1.0 if direction == "minimize" else -1.0 for direction in directions]
    signed = [[s * v for s, v in zip(signs, point, strict=True)] for point in points]
    front: list[int] = []
    for i in sorted(range(len(points)), key=signed.__getitem__):  # who beats it stands before it
        if not any(beats(directions, points[other], points[i]) for other in front):
            front.append(i)
    return front


def pareto_front(trials: Iterable[Trial], directions: Sequence[Direction]) -> list[Trial]:
    """The complete trials that no other beats, by their first objective, the best first."""
    points = [
        (trial.values, trial)
        for trial in trials
        if trial.is_feasible
        and trial.values is not None
        and len(trial.values) == len(directions)
        and all(map(math.isfinite, trial.values))
    ]
    return [points[i][1] for i in unbeaten([values for values, _ in points], directions)]
