"""Trials that are new or have changed, in columns: what a worker reads of all the others' work.

As `Feed`, whose rows are for views: each poll returns only what changed since the one before, told
by snapshots. Of many workers each reads what all of them do, so what a trial costs a reader counts
more than anything else; in columns it is a fourth of what it is in rows.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, TextClause, text

from tuner.database import columns
from tuner.database.columns import Columns, Integers, Reports
from tuner.database.feed import NEW, SNAPSHOT, Distributions, Snapshot, unknown_spaces
from tuner.errors import StudyNotFoundError
from tuner.trials import TrialState

_ALL = "TRUE"  # which trials are read: all of the study
_OPEN_OR_CHANGED = f"({NEW} OR state IN ('waiting', 'running'))"


@cache
def _poll(which: str, write: str) -> TextClause:
    """The statement of a poll; `write` is a WITH clause whose `written` has a row if it hit."""
    return text(f"""
        {write}
        SELECT {SNAPSHOT}, {"EXISTS (SELECT FROM written)" if write else "FALSE"} AS written,
               packed.*
        FROM (VALUES (1)) AS always
        LEFT JOIN (
            SELECT {columns.PACKED},
                   string_agg(int4send(attempt), '') AS attempts,
                   string_agg(int8send(since), '') AS since,
                   string_agg(int4send(r.count), '') AS counts,
                   string_agg(r.steps, '') AS steps, string_agg(r.values, '') AS values
            FROM (
                SELECT *, CAST(-1 AS bigint) AS since FROM tuner.trials
                WHERE study_id = :study AND {which}
                UNION ALL
                SELECT t.*, known.since
                FROM unnest(CAST(:running AS bigint[]), CAST(:since AS bigint[]))
                     AS known(id, since)
                JOIN tuner.trials t ON t.id = known.id
                WHERE NOT {NEW} AND EXISTS (
                    SELECT FROM tuner.reports WHERE trial_id = known.id AND step > known.since
                )
            ) t
            LEFT JOIN LATERAL (
                SELECT CAST(count(*) AS integer) AS count,
                       string_agg(int8send(step), '' ORDER BY step) AS steps,
                       string_agg(float8send(value), '' ORDER BY step) AS values
                FROM tuner.reports WHERE :with_reports AND trial_id = t.id AND step > t.since
            ) r ON TRUE
            GROUP BY {columns.GROUPS}
        ) packed ON TRUE
    """)  # noqa: S608 - constants


class Batch(NamedTuple):
    """Trials that share the state and the space, by number."""

    trials: Columns
    reports: Reports
    attempts: Integers
    since: Integers  # the step after which a trial's reports are here; -1: all of them are


class Changes:
    """An incremental reader of one study's trials; not shared between threads."""

    def __init__(self, study_id: int, *, with_attributes: bool, with_reports: bool) -> None:
        self.study_id = study_id
        self.spaces: dict[int, Distributions] = {}
        self._with_attributes = with_attributes
        self._with_reports = with_reports
        self._snapshot: Snapshot | None = None
        self._which = _ALL
        self._running: dict[int, int] = {}  # id → the step after which its reports are new

    def poll(self, connection: Connection) -> list[Batch]:
        """The trials that are new or have changed or reported; at first all of them.

        StudyNotFoundError if the study was deleted.
        """
        begun = [] if self._snapshot is not None else self._begin(connection)
        return begun + self._poll(connection, "", {})[1]

    def poll_after(
        self, connection: Connection, write: str, arguments: Mapping[str, Any]
    ) -> tuple[bool, list[Batch]]:
        """Write and poll in one round trip: whether the write hit a row, and what `poll` returns.

        `write` is a WITH clause whose part `written` returns the row. What it changes is not among
        the trials: they are read as they were when the statement began.
        """
        begun = [] if self._snapshot is not None else self._begin(connection)
        written, batches = self._poll(connection, write, arguments)
        return written, begun + batches

    def _begin(self, connection: Connection) -> list[Batch]:
        """All finished trials, whose reports one scan brings; the first poll skips them."""
        snapshot, found = columns.finished(
            connection, self.study_id, with_attributes=self._with_attributes
        )
        self._learn_spaces(connection, found)
        reports = columns.NO_REPORTS
        if self._with_reports and found:
            reports = columns.reports(connection, self.study_id)
        self._snapshot, self._which = snapshot, _OPEN_OR_CHANGED
        return [
            Batch(
                trials,
                reports.of(trials.numbers),
                attempts=np.ones_like(trials.numbers),
                since=np.full_like(trials.numbers, -1),
            )
            for trials in found
        ]

    def _poll(
        self, connection: Connection, write: str, arguments: Mapping[str, Any]
    ) -> tuple[bool, list[Batch]]:
        snapshot = self._snapshot or Snapshot.nothing()
        rows = connection.execute(
            _poll(self._which, write),
            {
                "study": self.study_id,
                "xmax": snapshot.xmax,
                "in_progress": snapshot.in_progress,
                "running": list(self._running),
                "since": list(self._running.values()),
                "attributes": self._with_attributes,
                "with_reports": self._with_reports,
                "details": False,
                "never": columns.NO_TIME,
                **arguments,
            },
        ).all()
        first = rows[0]
        seen = Snapshot.parse(first.snapshot, first.era)
        if not first.exists:
            raise StudyNotFoundError(f"there is no study with the id {self.study_id}")
        if self._snapshot is not None and self._snapshot.era != seen.era:
            self._snapshot, self._which, self._running = None, _ALL, {}
            return first.written, self.poll(connection)
        batches = [_batch(row) for row in rows if row.state is not None]
        self._learn_spaces(connection, [batch.trials for batch in batches])
        self._snapshot, self._which = seen, NEW
        for batch in batches:
            self._note_running(batch)
        return first.written, batches

    def _note_running(self, batch: Batch) -> None:
        ids = batch.trials.ids.tolist()
        if batch.trials.state != TrialState.RUNNING:
            for id_ in ids:
                self._running.pop(id_, None)
            return
        end = np.searchsorted(batch.reports.numbers, batch.trials.numbers, "right").tolist()
        begin = np.searchsorted(batch.reports.numbers, batch.trials.numbers, "left").tolist()
        steps = batch.reports.steps.tolist()
        for id_, attempt, a, b in zip(ids, batch.attempts.tolist(), begin, end, strict=True):
            # a later attempt may report a step again, and so may who has no lease
            self._running[id_] = steps[b - 1] if b > a and attempt == 1 else -1

    def _learn_spaces(self, connection: Connection, found: list[Columns]) -> None:
        self.spaces |= unknown_spaces(connection, {t.space_id for t in found}, self.spaces)


def _batch(row: Any) -> Batch:
    trials, order = columns.unpacked(row)
    counts = columns.plain(row.counts, ">i4").astype(np.int64)
    reports = columns.unpacked_reports(
        np.repeat(columns.plain(row.numbers, ">i4"), counts), row.steps, row.values
    )
    return Batch(
        trials,
        reports,
        attempts=columns.plain(row.attempts, ">i4").astype(np.int64)[order],
        since=columns.plain(row.since, ">i8").astype(np.int64)[order],
    )
