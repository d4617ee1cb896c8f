"""Reading trials incrementally: each poll returns only what changed since the one before.

Commit order is not the order of ids or clocks. A row carries the id of the transaction that last
changed it (`changed`), and a reader remembers the oldest transaction that was still running when it
looked (its horizon): everything below was visible then, so rows at or above it are all that can be
new. Some rows are read twice; none is missed and none is seen half-written. Reports do not touch
their trial's row; those of running trials are read again at each poll.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from tuner.database import attributes
from tuner.errors import StudyNotFoundError
from tuner.trials import Cause, ParamValue, Report, Trial, TrialState

_ROWS = """
    SELECT t.id, t.number, t.state, t.space_id, t.params, t.objective_values, t.attempt,
           t.cause, t.message, t.log_tail, t.user_attrs, t.system_attrs,
           t.created_at, t.started_at, t.finished_at, w.host || ':' || w.pid AS worker,
           r.steps, r.values, r.metrics
    FROM ({selection}) t
    LEFT JOIN tuner.workers w ON w.id = t.worker_id
    LEFT JOIN LATERAL (
        SELECT array_agg(step ORDER BY step) AS steps, array_agg(value ORDER BY step) AS values,
               CASE WHEN :metrics THEN json_agg(metrics ORDER BY step) END AS metrics
        FROM tuner.reports WHERE trial_id = t.id
    ) r ON TRUE
    ORDER BY t.number
"""
_CHANGED = text(
    _ROWS.format(
        selection="""
        SELECT * FROM tuner.trials WHERE study_id = :study AND changed >= CAST(:horizon AS xid8)
        UNION
        SELECT * FROM tuner.trials WHERE study_id = :study AND state = 'running'
        """
    )
)
_ONE = text(_ROWS.format(selection="SELECT * FROM tuner.trials WHERE id = :id"))
_HORIZON = text("""
    SELECT CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS horizon,
           EXISTS (SELECT FROM tuner.studies WHERE id = :study) AS exists
""")
_SPACES = text("SELECT id, distributions FROM tuner.spaces WHERE id = ANY(:ids)")

Distributions = Sequence[tuple[str, dict[str, Any]]]  # name, Optuna's distribution as JSON


class TrialRow(NamedTuple):
    """A trial as stored."""

    id: int
    number: int
    state: str
    space_id: int | None
    params: list[float]
    values: list[float] | None
    attempt: int
    cause: str | None
    message: str | None
    log_tail: str | None
    user_attrs: dict[str, str]
    system_attrs: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    steps: list[int] | None
    report_values: list[float] | None
    metrics: list[dict[str, float | None] | None] | None


class Feed:
    """An incremental reader of one study's trials; not shared between threads."""

    def __init__(self, study_id: int, *, metrics: bool = True) -> None:
        self.study_id = study_id
        self.spaces: dict[int, Distributions] = {}
        self._metrics = metrics  # whether reports bring what else was measured
        self._horizon = "0"

    def poll(self, connection: Connection) -> list[TrialRow]:
        """The trials that changed, and those that run, by number.

        The horizon is read in a statement of its own before the rows: it may only be too old.
        StudyNotFoundError if the study was deleted.
        """
        horizon, exists = connection.execute(_HORIZON, {"study": self.study_id}).one()
        if not exists:
            raise StudyNotFoundError(f"there is no study with the id {self.study_id}")
        rows = connection.execute(
            _CHANGED,
            {"study": self.study_id, "horizon": self._horizon, "metrics": self._metrics},
        )
        changed = [TrialRow._make(row) for row in rows]
        unknown = {row.space_id for row in changed} - self.spaces.keys() - {None}
        if unknown:
            for row in connection.execute(_SPACES, {"ids": list(unknown)}):
                self.spaces[row.id] = json.loads(row.distributions)
        self._horizon = horizon
        return changed

    def trial(self, row: TrialRow) -> Trial:
        """The record of a row of this feed."""
        space = self.spaces[row.space_id] if row.space_id is not None else ()
        return Trial(
            id=row.id,
            number=row.number,
            state=TrialState(row.state),
            params={
                name: external(distribution, value)
                for (name, distribution), value in zip(space, row.params, strict=True)
            },
            values=None if row.values is None else tuple(row.values),
            reports=_reports(row),
            attempt=row.attempt,
            worker=row.worker,
            cause=None if row.cause is None else Cause(row.cause),
            message=row.message,
            log_tail=row.log_tail,
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            user_attrs=attributes.decode(row.user_attrs),
        )


def load(connection: Connection, study_id: int) -> list[Trial]:
    """All trials of a study by number."""
    feed = Feed(study_id)
    return [feed.trial(row) for row in feed.poll(connection)]


def one(connection: Connection, trial_id: int) -> tuple[TrialRow, Distributions] | None:
    """The row of a trial with its distributions; None if there is none."""
    found = connection.execute(_ONE, {"id": trial_id, "metrics": False}).one_or_none()
    if found is None:
        return None
    row = TrialRow._make(found)
    space = connection.execute(_SPACES, {"ids": [row.space_id]}).one_or_none()
    return row, json.loads(space.distributions) if space is not None else []


def external(distribution: dict[str, Any], value: float) -> ParamValue:
    """A parameter's value as users see it, from Optuna's internal representation."""
    kind = distribution["name"]
    if kind == "CategoricalDistribution":
        choice: ParamValue = distribution["attributes"]["choices"][int(value)]
        return choice
    return int(value) if kind == "IntDistribution" else value


def _reports(row: TrialRow) -> tuple[Report, ...]:
    if row.steps is None or row.report_values is None:
        return ()
    metrics: Sequence[dict[str, float | None] | None] = row.metrics or [None] * len(row.steps)
    return tuple(
        Report(
            step=step,
            value=value,
            metrics={k: _NAN if v is None else v for k, v in (measured or {}).items()},
        )
        for step, value, measured in zip(row.steps, row.report_values, metrics, strict=True)
    )


_NAN = float("nan")
