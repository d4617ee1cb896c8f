"""How far all studies are, kept by reading what changed: counts, best values, pace.

A few numbers per trial stay in memory, packed by the server as in `columns`, so a list of studies
with a million trials only costs reading what is new. Rows are selected as in `feed`: those that
were written by transactions which had not ended at the last poll.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from tuner.database.attributes import CONSTRAINED, violate_constraints
from tuner.database.readers.feed import NEW, Snapshot
from tuner.trials import Direction, TrialState, count_finished

STATES = (
    TrialState.WAITING,
    TrialState.RUNNING,
    TrialState.COMPLETE,
    TrialState.PRUNED,
    TrialState.FAILED,
    TrialState.PAUSED,
)
RECENT = 200  # latest trials to end, from which the pace follows
SPARK = 40  # points of a sparkline

_CHANGED = text(f"""
    SELECT CAST(pg_current_snapshot() AS text) AS snapshot,
           CAST(pg_stat_get_bgwriter_stat_reset_time() AS text) AS era,
           s.id, packed.*
    FROM (VALUES (1)) AS always
    LEFT JOIN tuner.studies s ON TRUE
    LEFT JOIN LATERAL (
        SELECT string_agg(int4send(number), '') AS numbers,
               string_agg(int2send(CAST(array_position(
                   ARRAY['waiting', 'running', 'complete', 'pruned', 'failed', 'paused'], state)
                   AS smallint)), '') AS states,
               string_agg(float8send(coalesce(objective_values[1], 'NaN')), '') AS values,
               string_agg(float8send(coalesce(
                   CAST(extract(epoch FROM started_at) AS double precision), 'NaN')), '')
                   AS started,
               string_agg(float8send(coalesce(
                   CAST(extract(epoch FROM finished_at) AS double precision), 'NaN')), '')
                   AS finished,
               {CONSTRAINED} AS constrained
        FROM tuner.trials
        WHERE study_id = s.id AND {NEW}
    ) packed ON TRUE
""")  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a study is."""

    counts: Mapping[TrialState, int]
    best_number: int | None  # of the best feasible trial with a finite value
    best_value: float | None
    spark: tuple[float, ...]  # the best so far, over the trials by number
    seconds: float  # taken by the trials' latest attempts
    pace: float | None  # trials that end per second, by the last `RECENT`; None: too few ended
    last_end: float | None  # seconds since 1970

    @property
    def total(self) -> int:
        """How many trials there are."""
        return sum(self.counts.values())

    @property
    def finished(self) -> int:
        """How many trials have ended or are paused at a rung."""
        return count_finished(self.counts)


class _StudyColumns:
    """Columns of one study, by trial number."""

    def __init__(self) -> None:
        self.states = np.zeros(0, np.int8)  # index into STATES, plus 1; 0: no such trial
        self.values = np.empty(0)
        self.started = np.empty(0)
        self.finished = np.empty(0)
        self.violated = np.zeros(0, np.bool_)
        self.cached: dict[Direction, Progress] = {}

    def update(self, row: Any) -> None:
        """Take over what changed."""
        numbers = np.frombuffer(row.numbers, ">i4").astype(np.int64)
        self._grow(int(numbers.max()) + 1)
        self.states[numbers] = np.frombuffer(row.states, ">i2").astype(np.int8)
        for column, packed in (
            (self.values, row.values),
            (self.started, row.started),
            (self.finished, row.finished),
        ):
            column[numbers] = np.frombuffer(packed, ">f8")
        self.violated[numbers] = False
        for number, attributes in (row.constrained or {}).items():
            self.violated[int(number)] = violate_constraints(attributes)
        self.cached.clear()

    def _grow(self, size: int) -> None:
        more = max(size, len(self.states) * 5 // 4) - len(self.states)
        if size > len(self.states):
            self.states = np.concatenate([self.states, np.zeros(more, np.int8)])
            self.violated = np.concatenate([self.violated, np.zeros(more, np.bool_)])
            for name in ("values", "started", "finished"):
                setattr(self, name, np.concatenate([getattr(self, name), np.full(more, np.nan)]))

    def progress(self, direction: Direction) -> Progress:
        """Sum them up."""
        if direction not in self.cached:
            self.cached[direction] = self._progress(direction)
        return self.cached[direction]

    def _progress(self, direction: Direction) -> Progress:
        counted = np.bincount(self.states, minlength=len(STATES) + 1)
        complete = (self.states == _code(TrialState.COMPLETE)) & np.isfinite(self.values)
        feasible = complete & ~self.violated
        sign = 1.0 if direction == "maximize" else -1.0
        scores = np.where(feasible, sign * self.values, -np.inf)
        best = int(np.argmax(scores)) if feasible.any() else None
        ended = self.finished[np.isfinite(self.finished)]
        return Progress(
            counts={state: int(counted[_code(state)]) for state in STATES},
            best_number=best,
            best_value=None if best is None else float(self.values[best]),
            spark=_spark(sign * np.maximum.accumulate(scores)) if best is not None else (),
            seconds=float(np.nansum(self.finished - self.started)),
            pace=_pace(ended),
            last_end=float(ended.max()) if len(ended) else None,
        )

    def series(self) -> "Series":
        """Copy the columns of the trials that exist."""
        numbers = np.flatnonzero(self.states)
        return Series(
            numbers,
            np.array([STATES[code - 1] for code in self.states[numbers]], dtype=object),
            self.values[numbers],
            self.started[numbers],
            self.finished[numbers],
            self.violated[numbers],
        )


@dataclass(frozen=True, slots=True)
class Series:
    """The trials of a study in columns, by number."""

    numbers: NDArray[np.int64]
    states: NDArray[Any]  # TrialState
    values: NDArray[np.float64]  # of the first objective; NaN where there is none
    started: NDArray[np.float64]  # seconds since 1970, or NaN
    finished: NDArray[np.float64]
    violated: NDArray[np.bool_]  # a constraint

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Whether each trial has a finite result."""
        is_complete: NDArray[np.bool_] = (self.states == TrialState.COMPLETE) & np.isfinite(
            self.values
        )
        return is_complete

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Whether each trial can be the best."""
        return self.complete & ~self.violated

    def top(self, direction: Direction, count: int) -> list[int]:
        """Return the numbers of the best feasible trials, the earlier of equal ones first."""
        chosen = np.flatnonzero(self.feasible)
        scores = self.values[chosen] * (-1.0 if direction == "maximize" else 1.0)
        best = chosen[np.argsort(scores, kind="stable")[:count]]
        return [int(number) for number in self.numbers[best]]


_NO_TRIALS = _StudyColumns()


class Overviews:
    """The progress of every study of a database; not shared between threads."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._studies: dict[int, _StudyColumns] = {}

    def refresh(self, connection: Connection) -> None:
        """Read what changed."""
        before = self._snapshot or Snapshot("0", [], None)
        arguments = {"xmax": before.xmax, "in_progress": before.in_progress}
        rows = connection.execute(_CHANGED, arguments).all()
        latest = Snapshot.parse(rows[0].snapshot, rows[0].era)
        if self._snapshot is not None and self._snapshot.era != latest.era:
            self._snapshot, self._studies = None, {}
            self.refresh(connection)
            return
        self._snapshot = latest
        by_study = {row.id: row for row in rows if row.id is not None}
        self._studies = {id_: n for id_, n in self._studies.items() if id_ in by_study}
        for id_, row in by_study.items():
            if row.numbers is not None:
                self._studies.setdefault(id_, _StudyColumns()).update(row)

    def of(self, study_id: int, direction: Direction) -> Progress:
        """Return how far a study is."""
        return self._studies.get(study_id, _NO_TRIALS).progress(direction)

    def series(self, study_id: int) -> Series:
        """Return the trials of a study in columns."""
        return self._studies.get(study_id, _NO_TRIALS).series()


def _code(state: TrialState) -> int:
    return STATES.index(state) + 1


def _spark(so_far: NDArray[np.float64]) -> tuple[float, ...]:
    finite = so_far[np.isfinite(so_far)]
    if len(finite) > SPARK:
        finite = finite[np.linspace(0, len(finite) - 1, SPARK).astype(int)]
    return tuple(finite.tolist())


def _pace(ended: NDArray[np.float64]) -> float | None:
    """Compute it from the latest ends: early trials, and nights without any, say little."""
    if len(ended) < 3:
        return None
    latest = np.sort(np.partition(ended, -RECENT)[-RECENT:] if len(ended) > RECENT else ended)
    span = float(latest[-1] - latest[0])
    return (len(latest) - 1) / span if span > 0 else None
