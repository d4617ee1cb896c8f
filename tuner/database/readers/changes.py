"""Trials that are new or have changed, in columns: what a worker reads of all others' work.

Like `Feed`, whose rows are for views: each poll returns only what changed since the last one, by
their snapshots. With many workers each reads what all of them do, so the cost of reading a trial
counts more than anything else; in columns it is a fourth of that in rows.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, TextClause, text

from tuner.database.readers import columns
from tuner.database.readers.columns import Columns, Integers, Reports
from tuner.database.readers.feed import (
    NEW,
    OPEN_OR_NEW,
    SNAPSHOT,
    Snapshot,
    source,
    unknown_spaces,
)
from tuner.database.spaces import Distributions
from tuner.trials import TrialState


@cache
def _poll(which: str, write: str, *, with_metrics: bool) -> TextClause:
    """Return the statement of a poll; `write`: a WITH clause whose `written` has its row."""
    packed_metrics = f"string_agg({columns.METRICS}, '' ORDER BY step)" if with_metrics else "NULL"
    return text(f"""
        {write}
        SELECT {SNAPSHOT}, {"EXISTS (SELECT FROM written)" if write else "FALSE"} AS written,
               packed.*
        FROM (VALUES (1)) AS always
        LEFT JOIN (
            SELECT {columns.PACKED},
                   string_agg(int8send(since), '') AS since,
                   string_agg(int4send(r.count), '') AS counts,
                   string_agg(r.steps, '') AS steps, string_agg(r.values, '') AS values,
                   string_agg(r.metrics, '') AS metrics
            FROM ({source(which)}) t
            LEFT JOIN LATERAL (
                SELECT CAST(count(*) AS integer) AS count,
                       string_agg(int8send(step), '' ORDER BY step) AS steps,
                       string_agg(float8send(value), '' ORDER BY step) AS values,
                       CAST({packed_metrics} AS bytea) AS metrics
                FROM tuner.reports r
                WHERE :with_reports AND trial_id = t.id AND step > t.since
            ) r ON TRUE
            GROUP BY {columns.GROUPS}
        ) packed ON TRUE
    """)  # noqa: S608 - constants


class Batch(NamedTuple):
    """Trials of one state and one space, by number."""

    trials: Columns
    reports: Reports
    since: Integers  # the step after which a trial's reports are included; -1: all are


class Changes:
    """An incremental reader of one study's trials; not shared between threads."""

    def __init__(
        self,
        study_id: int,
        *,
        with_attributes: bool,
        with_reports: bool,
        metrics: Sequence[str] = (),
    ) -> None:
        """`metrics` names metrics to read of each report beside its value."""
        self.study_id = study_id
        self.spaces: dict[int, Distributions] = {}
        self._with_attributes = with_attributes
        self._with_reports = with_reports
        self._metrics = list(metrics)
        self.snapshot: Snapshot | None = None  # what the latest poll has seen
        self._running: dict[int, int] = {}  # id → the step after which its reports are new

    def poll(self, connection: Connection) -> list[Batch]:
        """Read the trials that are new, have changed or have reported; at first all of them.

        StudyNotFoundError if the study was deleted.
        """
        return self.poll_after(connection, "", {})[1]

    def poll_after(
        self, connection: Connection, write: str, arguments: Mapping[str, Any]
    ) -> tuple[bool, list[Batch]]:
        """Write and poll in one round trip.

        `write` is a WITH clause whose part `written` returns the row it matched. Its own changes
        are not among the trials: these are read as they were when the statement started.

        Returns:
            Whether the write matched a row, and what `poll` returns.

        """
        snapshot, which, begun = self.snapshot, NEW, list[Batch]()
        if snapshot is None:
            snapshot, begun = self._begin(connection)
            which = OPEN_OR_NEW
        rows = connection.execute(
            _poll(which, write, with_metrics=bool(self._metrics)),
            {
                **snapshot.arguments(self.study_id, self._running),
                "attributes": self._with_attributes,
                "with_reports": self._with_reports,
                "details": False,
                "never": columns.NO_TIME,
                **({"wanted": self._metrics} if self._metrics else {}),
                **arguments,
            },
        ).all()
        latest, has_written = Snapshot.of(rows[0], self.study_id), rows[0].written
        if snapshot.era != latest.era:
            self.snapshot, self._running = None, {}
            return has_written, self.poll(connection)
        batches = [_batch(row, len(self._metrics)) for row in rows if row.state is not None]
        self._learn_spaces(connection, [batch.trials for batch in batches])
        self.snapshot = latest
        for batch in batches:
            self._note_running(batch)
        return has_written, begun + batches

    def _begin(self, connection: Connection) -> tuple[Snapshot, list[Batch]]:
        """Read all trials that have ended or are paused, with their reports in one scan.

        The first poll skips them.
        """
        snapshot, finished = columns.finished(
            connection, self.study_id, with_attributes=self._with_attributes
        )
        self._learn_spaces(connection, finished)
        reports = columns.NO_REPORTS
        if self._with_reports and finished:
            reports = columns.reports(connection, self.study_id, self._metrics)
        return snapshot, [
            Batch(
                trials,
                reports.of(trials.numbers),
                since=np.full_like(trials.numbers, -1),
            )
            for trials in finished
        ]

    def _note_running(self, batch: Batch) -> None:
        ids = batch.trials.ids.tolist()
        if batch.trials.state != TrialState.RUNNING:
            for id_ in ids:
                self._running.pop(id_, None)
            return
        spans, steps = batch.reports.spans(batch.trials.numbers), batch.reports.steps.tolist()
        for id_, attempt, (a, b) in zip(ids, batch.trials.attempts.tolist(), spans, strict=True):
            # a later attempt may report a step again, and so may a trial without a lease
            self._running[id_] = steps[b - 1] if b > a and attempt == 1 else -1

    def _learn_spaces(self, connection: Connection, batches: list[Columns]) -> None:
        self.spaces |= unknown_spaces(connection, {t.space_id for t in batches}, self.spaces)


def _batch(row: Any, metrics: int) -> Batch:
    trials, order = columns.unpack(row)
    counts = columns.plain(row.counts, ">i4").astype(np.int64)
    reports = columns.unpack_reports(
        np.repeat(columns.plain(row.numbers, ">i4"), counts),
        row.steps,
        row.values,
        row.metrics,
        metrics,
    )
    return Batch(
        trials,
        reports,
        since=columns.plain(row.since, ">i8").astype(np.int64)[order],
    )
