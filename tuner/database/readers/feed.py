"""Reading trials incrementally: each poll returns only what changed since the last one.

Commits do not come in the order of ids or clocks. A row carries the id of the transaction that last
changed it (`changed`), and a reader remembers the snapshot that it read with: the transactions that
had not ended then are those from its xmax on and those it lists as in progress. Only their rows can
be new. So none is missed, none is seen half-written and none is read twice, however long a
transaction elsewhere in the cluster takes. The snapshot comes with the rows in one statement:
`pg_current_snapshot()` is the one that the statement itself reads with.

Reports do not touch their trial's row. A running trial's reports are read from after the last known
step, for an attempt reports its steps in order. Reports of a later attempt, which may start at an
earlier step, and of trials without a lease are read from the start.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, TextClause, text

from tuner.database import attributes
from tuner.database.spaces import Distributions
from tuner.errors import StudyNotFoundError
from tuner.origin import Origin
from tuner.trials import Cause, ParamValue, Report, Trial, TrialState

_COLUMNS = """
    t.id, t.number, t.state, t.space_id, t.params, t.objective_values, t.attempt,
    t.cause, t.message, t.log_tail, CAST(t.user_attrs AS text), CAST(t.system_attrs AS text),
    t.created_at, t.started_at, t.finished_at, w.host || ':' || w.pid AS worker,
    r.steps, r.values, r.metrics, CAST(t.origin AS text)
"""
_JOINS = """
    LEFT JOIN tuner.workers w ON w.id = t.worker_id
    LEFT JOIN LATERAL (
        SELECT array_agg(step ORDER BY step) AS steps, array_agg(value ORDER BY step) AS values,
               CASE WHEN :with_metrics THEN json_agg(metrics ORDER BY step) END AS metrics
        FROM tuner.reports WHERE trial_id = t.id AND step > t.since
    ) r ON TRUE
"""
# After a crash PostgreSQL reuses the ids of transactions that were not flushed, as reports are not,
# and a reader that had seen them would take new rows for known ones. A recovery resets the
# statistics, so the time of their reset reveals it.
SNAPSHOT = """
    CAST(pg_current_snapshot() AS text) AS snapshot,
    CAST(pg_stat_get_bgwriter_stat_reset_time() AS text) AS era,
    EXISTS (SELECT FROM tuner.studies WHERE id = :study) AS exists
"""
NEW = "(changed >= CAST(:xmax AS xid8) OR changed = ANY(CAST(:in_progress AS xid8[])))"
_ALL = "TRUE"  # read all trials of the study
OPEN_OR_NEW = f"({NEW} OR state IN ('waiting', 'running'))"
_ONE = text(
    f"""
    SELECT s.distributions, {_COLUMNS}
    FROM (SELECT *, -1 AS since FROM tuner.trials WHERE id = :id) t
    LEFT JOIN tuner.spaces s ON s.id = t.space_id {_JOINS}
    """  # noqa: S608 - constants
)
_ID = text("SELECT id FROM tuner.trials WHERE study_id = :study AND number = :number")
_SPACES = text("SELECT id, distributions FROM tuner.spaces WHERE id = ANY(:ids)")


def source(which: str) -> str:
    """Return the SQL of what a poll reads: trials and `since`, the last known step of each.

    These are the trials for which `which` holds, and those `:running` ones that have reported.
    """
    return f"""
        SELECT *, CAST(-1 AS bigint) AS since FROM tuner.trials
        WHERE study_id = :study AND {which}
        UNION ALL
        SELECT t.*, last.since
        FROM unnest(CAST(:running AS bigint[]), CAST(:since AS bigint[])) AS last(id, since)
        JOIN tuner.trials t ON t.id = last.id
        WHERE NOT {NEW} AND EXISTS (
            SELECT FROM tuner.reports WHERE trial_id = last.id AND step > last.since
        )
    """  # noqa: S608 - constants


@cache
def _poll(which: str) -> TextClause:
    """Return the statement of a poll."""
    return text(f"""
        SELECT {SNAPSHOT}, t.since, {_COLUMNS}
        FROM (VALUES (1)) AS always
        LEFT JOIN ({source(which)}) t ON TRUE
        {_JOINS}
    """)  # noqa: S608 - constants


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
    user_attrs: str  # JSON, as it is stored
    system_attrs: str
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    steps: list[int] | None
    report_values: list[float] | None
    metrics: list[dict[str, float | None] | None] | None
    origin: str | None = None  # JSON
    measured: Sequence[Sequence[float]] | None = None  # of each report, what a reader asked for


class Snapshot(NamedTuple):
    """What a reader has seen: every transaction below `xmax` except those in progress."""

    xmax: str
    in_progress: list[str]
    era: str | None  # roughly when the server last recovered from a crash

    @classmethod
    def parse(cls, snapshot: str, era: str | None) -> "Snapshot":
        """Parse PostgreSQL's text, `xmin:xmax:id,id,…`."""
        _, xmax, in_progress = snapshot.split(":")
        return cls(xmax, in_progress.split(",") if in_progress else [], era)

    @classmethod
    def of(cls, row: Any, study_id: int) -> "Snapshot":
        """Take it from a row of `SNAPSHOT`; StudyNotFoundError if there is no such study."""
        if not row.exists:
            raise StudyNotFoundError(f"there is no study with the id {study_id}")
        return cls.parse(row.snapshot, row.era)

    def arguments(self, study_id: int, running: Mapping[int, int]) -> dict[str, Any]:
        """Return the arguments of `source`; `running`: id → the last known step."""
        return {
            "study": study_id,
            "xmax": self.xmax,
            "in_progress": self.in_progress,
            "running": list(running),
            "since": list(running.values()),
        }


class Feed:
    """An incremental reader of one study's trials; not shared between threads."""

    def __init__(self, study_id: int, *, metrics: bool = True) -> None:
        self.study_id = study_id
        self.spaces: dict[int, Distributions] = {}
        self._metrics = metrics  # whether reports include their other metrics
        self._snapshot: Snapshot | None = None
        self._which = _ALL
        self._running: dict[int, TrialRow] = {}  # by id, with all reports known

    def begin(self, snapshot: Snapshot) -> None:
        """Let the first poll skip all trials that were finished in this snapshot.

        For readers that have those in columns.
        """
        self._snapshot = snapshot
        self._which = OPEN_OR_NEW

    def poll(self, connection: Connection) -> list[TrialRow]:
        """Read the trials that changed, and those that run, by number.

        StudyNotFoundError if the study was deleted.
        """
        snapshot = self._snapshot or Snapshot("0", [], None)
        since = {id_: _last_step(row) for id_, row in self._running.items()}
        rows = connection.execute(
            _poll(self._which),
            {**snapshot.arguments(self.study_id, since), "with_metrics": self._metrics},
        ).all()
        latest = Snapshot.of(rows[0], self.study_id)
        if self._snapshot is not None and self._snapshot.era != latest.era:
            self._snapshot, self._which, self._running = None, _ALL, {}
            return self.poll(connection)
        changed = [(row.since, TrialRow(*row[4:])) for row in rows if row.id is not None]
        self.learn_spaces(connection, {row.space_id for _, row in changed})
        self._snapshot, self._which = latest, NEW
        return self._merged(changed)

    def _merged(self, changed: list[tuple[int, TrialRow]]) -> list[TrialRow]:
        """Merge the rows with known reports, and with running trials that have no news."""
        by_id = dict(self._running)
        for since, row in changed:
            by_id[row.id] = row if since < 0 else _joined(self._running[row.id], row)
        self._running = {r.id: r for r in by_id.values() if r.state == TrialState.RUNNING}
        return sorted(by_id.values(), key=lambda row: row.number)

    def learn_spaces(self, connection: Connection, ids: set[int | None]) -> None:
        """Read the distributions of those of these spaces that are not known."""
        self.spaces |= unknown_spaces(connection, ids, self.spaces)

    def trial(self, row: TrialRow) -> Trial:
        """Turn a row of this feed into a record."""
        return _record(row, self.spaces[row.space_id] if row.space_id is not None else ())


def unknown_spaces(
    connection: Connection, ids: set[int | None], spaces: Mapping[int, Distributions]
) -> dict[int, Distributions]:
    """Read the distributions of those of these ids that are not in `spaces`."""
    unknown = ids - spaces.keys() - {None}
    rows = connection.execute(_SPACES, {"ids": list(unknown)}) if unknown else ()
    return {row.id: json.loads(row.distributions) for row in rows}


def load(connection: Connection, study_id: int) -> list[Trial]:
    """Load all trials of a study, by number."""
    feed = Feed(study_id)
    return [feed.trial(row) for row in feed.poll(connection)]


def by_number(connection: Connection, study_id: int, number: int) -> Trial | None:
    """Load the trial of that number; None if there is none."""
    arguments = {"study": study_id, "number": number}
    trial_id = connection.execute(_ID, arguments).scalar_one_or_none()
    row = None if trial_id is None else load_row(connection, trial_id, metrics=True)
    return None if row is None else _record(*row)


def load_row(
    connection: Connection, trial_id: int, *, metrics: bool = False
) -> tuple[TrialRow, Distributions] | None:
    """Load the row of a trial with its distributions; None if there is none."""
    arguments = {"id": trial_id, "with_metrics": metrics}
    row = connection.execute(_ONE, arguments).one_or_none()
    if row is None:
        return None
    return TrialRow(*row[1:]), json.loads(row[0]) if row[0] else []


def _record(row: TrialRow, space: Distributions) -> Trial:
    constraints: Mapping[str, float] = {}
    if attributes.has_constraints(row.system_attrs):
        constraints = attributes.decode_constraints(json.loads(row.system_attrs))
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
        user_attrs=attributes.decode(json.loads(row.user_attrs)),
        origin=None if row.origin is None else Origin.from_json(json.loads(row.origin)),
        violates_constraint=any(value > 0 for value in constraints.values()),
        constraints=constraints,
    )


def external(distribution: dict[str, Any], value: float) -> ParamValue:
    """Convert a parameter's value from Optuna's internal representation to the user's."""
    kind = distribution["name"]
    if kind == "CategoricalDistribution":
        choice: ParamValue = distribution["attributes"]["choices"][int(value)]
        return choice
    return int(value) if kind == "IntDistribution" else value


def _last_step(row: TrialRow) -> int:
    """Return the step after which reports are new; -1 if any may be."""
    return row.steps[-1] if row.steps and row.attempt == 1 else -1


def _joined(before: TrialRow, new: TrialRow) -> TrialRow:
    """Join a running trial's known reports with new ones."""
    return new._replace(
        steps=(before.steps or []) + (new.steps or []),
        report_values=(before.report_values or []) + (new.report_values or []),
        metrics=(before.metrics or []) + (new.metrics or []),
    )


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
