"""Frozen records of studies and trials, their states and legal transitions.

Everything that reads results (figures, reports, exports, the dashboard) works on these records.
They do not depend on how they are stored.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal

from tuner.origin import Origin

ParamValue = bool | int | float | str | None
Direction = Literal["minimize", "maximize"]

# What tuner measures of every trial besides its family's metrics; lower is better.
TRAINING_SECONDS, LATENCY = "training_seconds", "latency"
PARAMETERS, PEAK_MEMORY = "parameters", "peak_memory"
COSTS: Mapping[str, str] = MappingProxyType(  # name → unit
    {TRAINING_SECONDS: "s", LATENCY: "ms", PARAMETERS: "", PEAK_MEMORY: "MiB"}
)

# The start of the names of constraints in Optuna's system attributes, and among the metrics of
# reports of user code.
CONSTRAINT_PREFIX = "constraints:"

# User attributes of a trial, set by its worker.
COLD_START = "cold_start"  # true: its executor's first trial of the study
SEED = "seed"  # set on enqueueing; else derived from the study's seed and the trial's number

_EMPTY: Mapping[str, Any] = MappingProxyType({})
NO_LABELS: Mapping[str, str] = MappingProxyType({})


class TrialState(StrEnum):
    """The state of a trial."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    PAUSED = "paused"  # at a rung, with a checkpoint; it goes on only if the pruner promotes it

    @property
    def is_finished(self) -> bool:
        """Whether the state is final."""
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)

    @property
    def is_open(self) -> bool:
        """Whether the trial runs or will certainly run; a paused one need not go on."""
        return self in (TrialState.WAITING, TrialState.RUNNING)


def count_finished(counts: Mapping[TrialState, int]) -> int:
    """Count the trials that have ended or are paused at a rung, from the counts by state."""
    return sum(number for state, number in counts.items() if not state.is_open)


TRANSITIONS: Mapping[TrialState, frozenset[TrialState]] = MappingProxyType(
    {
        TrialState.WAITING: frozenset({TrialState.RUNNING, TrialState.FAILED}),
        # back to WAITING: the attempt was lost (its worker died) and the trial is requeued
        TrialState.RUNNING: frozenset(
            {
                *(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED),
                *(TrialState.WAITING, TrialState.PAUSED),
            }
        ),
        # RUNNING: promoted; PRUNED: its study ended without promoting it; FAILED: killed by a user
        TrialState.PAUSED: frozenset({TrialState.RUNNING, TrialState.PRUNED, TrialState.FAILED}),
        TrialState.COMPLETE: frozenset(),
        TrialState.PRUNED: frozenset(),
        # `tuner retry`: the user requests another attempt
        TrialState.FAILED: frozenset({TrialState.WAITING}),
    }
)


class StudyState(StrEnum):
    """Whether workers may claim trials of a study."""

    ACTIVE = "active"
    PAUSED = "paused"  # no new claims; running trials return to the queue
    STOPPED = "stopped"  # ended by the user
    FINISHED = "finished"  # ended by its budget, target or patience


class Cause(StrEnum):
    """Why an attempt ended without a result; each cause has its own retry rule."""

    USER_ERROR = "user_error"
    OUT_OF_MEMORY = "out_of_memory"
    DIVERGED = "diverged"
    TIMEOUT = "timeout"
    LOST = "lost"
    PREEMPTED = "preempted"
    KILLED = "killed"  # by a user

    @property
    def blames_parameters(self) -> bool:
        """Whether the configuration is at fault, so that samplers keep away from its like."""
        return self in (Cause.OUT_OF_MEMORY, Cause.DIVERGED)


@dataclass(frozen=True, slots=True)
class FailuresByCause:
    """The failures in a study that have one cause."""

    cause: Cause
    failed: int  # trials
    again: int  # failed attempts that another attempt followed
    number: int  # trial of the latest failure, which the following fields describe
    message: str | None
    log_tail: str | None  # the last lines of its output


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a trial."""

    number: int  # of the trial
    attempt: int
    outcome: str  # the cause of its failure, else the state of its trial
    message: str | None
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Report:
    """One report of a trial: the objective and other metrics after `step` epochs."""

    step: int  # epochs done, 1-based
    value: float  # the objective's metric on the validation part
    metrics: Mapping[str, float] = field(default_factory=lambda: _EMPTY)


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial as stored, with the reports of all its attempts."""

    number: int
    state: TrialState
    params: Mapping[str, ParamValue]
    # one per objective; of a pruned or paused trial, its last report
    values: tuple[float, ...] | None = None
    reports: tuple[Report, ...] = ()
    attempt: int = 0  # number of times it was claimed
    worker: str | None = None  # host:pid of the worker of the latest attempt
    cause: Cause | None = None
    message: str | None = None  # one sentence on what went wrong, or why it was pruned
    log_tail: str | None = None  # the last lines of the failed attempt's output
    created_at: datetime | None = None  # UTC, by the database's clock, like all times here
    started_at: datetime | None = None  # of the latest attempt
    finished_at: datetime | None = None
    user_attrs: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    origin: Origin | None = None  # None: not known, as of trials of earlier versions
    violates_constraint: bool = False  # such a trial is never the best
    # name → value; above 0 it is violated. Where it bounds a metric: the share of the bound by
    # which it is missed
    constraints: Mapping[str, float] = field(default_factory=lambda: _EMPTY)
    id: int = 0

    @property
    def value(self) -> float | None:
        """The first objective's value."""
        return self.values[0] if self.values else None

    @property
    def ran_in_optuna(self) -> bool:
        """Whether Optuna, not a worker, runs or ran its latest attempt."""
        if self.worker is not None or self.state is TrialState.WAITING:
            return False
        failed_in_queue = self.started_at is None and self.state is TrialState.FAILED
        return not failed_in_queue

    @property
    def violation(self) -> float:
        """By how much it violates its constraints; 0 if it violates none."""
        return sum(value for value in self.constraints.values() if value > 0)

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
        """Seconds that the latest attempt took; None until it ends."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that claims of a study obey; they may change while it runs. None: no limit."""

    max_trials: int | None = None
    hours: float | None = None  # since the launch; no claims afterwards
    max_epochs: int | None = None  # of all trials together
    max_seconds: float | None = None  # for which all attempts together may hold their devices
    trial_epochs: int | None = None  # at most per trial; never changes
    priority: int = 0  # higher comes first
    max_concurrent: int | None = None  # trials that run at the same time
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)  # that a worker must have


@dataclass(frozen=True, slots=True)
class Study:
    """One study as stored."""

    name: str
    state: StudyState
    directions: tuple[Direction, ...]
    metrics: tuple[str, ...]  # names of the objectives, one per direction
    family: str | None  # None: a study made through Optuna's own API
    spec: Mapping[str, Any] | None  # the resolved study file as plain data
    max_trials: int | None  # None: no limit
    issued: int = 0  # trials given out
    max_epochs: int | None = None
    epochs_issued: int = 0  # reported by ended trials, reserved by others
    max_seconds: float | None = None
    seconds_issued: float = 0.0  # of devices: used, or reserved by running trials
    priority: int = 0
    max_concurrent: int | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    revision: int = 0  # increases with each change of specification or limits
    data_fingerprint: str | None = None
    reason: str | None = None  # why it is paused, stopped or finished
    created_at: datetime | None = None
    finished_at: datetime | None = None
    launched_by: str | None = None
    experiment: str | None = None  # name of the experiment it belongs to
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

    Trials that violate a constraint are excluded, here and below.
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
    """The failed trial that ended last, of several the one with the higher number; None if none."""
    failed = (trial for trial in trials if trial.state is TrialState.FAILED)
    return max(
        failed,
        key=lambda t: (t.finished_at.timestamp() if t.finished_at else 0.0, t.number),
        default=None,
    )


def best_so_far(trials: Iterable[Trial], direction: Direction) -> list[tuple[Trial, float]]:
    """Complete trials in order of their ends, each with the best value so far, its own included."""
    complete = [t for t in trials if t.is_feasible and t.value is not None]
    complete.sort(key=lambda t: (t.finished_at.timestamp() if t.finished_at else 0.0, t.number))
    pairs: list[tuple[Trial, float]] = []
    for trial in complete:
        value = trial.value
        assert value is not None
        best = value if not pairs or better(direction, value, pairs[-1][1]) else pairs[-1][1]
        pairs.append((trial, best))
    return pairs


def beats(directions: Sequence[Direction], a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether `a` is as good as `b` in every objective and better in one."""
    pairs = [
        (x, y) if direction == "minimize" else (y, x)
        for direction, x, y in zip(directions, a, b, strict=True)
    ]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def unbeaten(points: Sequence[Sequence[float]], directions: Sequence[Direction]) -> list[int]:
    """Indices of the points that no other beats, ordered by the first objective, best first.

    Includes all of several equal points; no value may be NaN.
    """
    signs = [1.0 if direction == "minimize" else -1.0 for direction in directions]
    signed = [[s * v for s, v in zip(signs, point, strict=True)] for point in points]
    front: list[int] = []
    for i in sorted(
        range(len(points)), key=signed.__getitem__
    ):  # what beats a point comes before it
        if not any(beats(directions, points[other], points[i]) for other in front):
            front.append(i)
    return front


def pareto_front(trials: Iterable[Trial], directions: Sequence[Direction]) -> list[Trial]:
    """The complete trials that no other beats, ordered by the first objective, best first."""
    points = [
        (trial.values, trial)
        for trial in trials
        if trial.is_feasible
        and trial.values is not None
        and len(trial.values) == len(directions)
        and all(map(math.isfinite, trial.values))
    ]
    return [points[i][1] for i in unbeaten([values for values, _ in points], directions)]
