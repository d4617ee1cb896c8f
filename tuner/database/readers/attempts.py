"""Attempts of one trial or of a whole study, what went wrong in them and when they reported."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from tuner.trials import Attempt, Cause, FailuresByCause, TrialState

_OF_TRIAL = text("""
    SELECT t.number, a.attempt, a.cause, a.message, a.log_tail, a.started_at, a.ended_at,
           a.worker_id, w.host || ':' || w.pid AS worker
    FROM (
        SELECT trial_id, attempt, cause, message, log_tail, started_at, ended_at, worker_id
        FROM tuner.attempts WHERE trial_id = :trial
        UNION ALL
        SELECT id, attempt, cause, message, log_tail, started_at, finished_at, worker_id
        FROM tuner.trials WHERE id = :trial AND attempt > 0 AND state <> 'waiting'
    ) a
    JOIN tuner.trials t ON t.id = a.trial_id
    LEFT JOIN tuner.workers w ON w.id = a.worker_id
    ORDER BY a.attempt
""")
_WITHOUT_RESULT = text("""
    SELECT a.number, a.attempt, a.cause, a.message, a.log_tail, a.started_at, a.ended_at,
           a.worker_id, w.host || ':' || w.pid AS worker
    FROM (
        SELECT number, attempt, cause, message, log_tail, started_at, finished_at AS ended_at,
               worker_id
        FROM tuner.trials WHERE study_id = :study AND state = 'failed'
        UNION ALL
        SELECT t.number, a.attempt, a.cause, a.message, a.log_tail, a.started_at, a.ended_at,
               a.worker_id
        FROM tuner.attempts a JOIN tuner.trials t ON t.id = a.trial_id
        WHERE t.study_id = :study AND a.cause <> 'paused'
    ) a
    LEFT JOIN tuner.workers w ON w.id = a.worker_id
    ORDER BY a.ended_at DESC NULLS LAST, a.number, a.attempt
    LIMIT :limit OFFSET :offset
""")
_BY_CAUSE = text("""
    SELECT cause, count(*) FILTER (WHERE is_last) AS failed,
           count(*) FILTER (WHERE NOT is_last) AS again,
           (array_agg(number ORDER BY ended_at DESC NULLS LAST))[1] AS number,
           (array_agg(message ORDER BY ended_at DESC NULLS LAST))[1] AS message,
           (array_agg(log_tail ORDER BY ended_at DESC NULLS LAST))[1] AS log_tail
    FROM (
        SELECT cause, number, message, log_tail, finished_at AS ended_at, TRUE AS is_last
        FROM tuner.trials WHERE study_id = :study AND state = 'failed' AND cause IS NOT NULL
        UNION ALL
        SELECT a.cause, t.number, a.message, a.log_tail, a.ended_at, FALSE
        FROM tuner.attempts a JOIN tuner.trials t ON t.id = a.trial_id
        WHERE t.study_id = :study AND a.cause <> 'paused'
    ) AS ended
    GROUP BY cause ORDER BY failed DESC, again DESC, cause
""")

_OF_STUDY = text("""
    SELECT t.number, a.attempt, a.cause, a.message, a.started_at, a.ended_at
    FROM tuner.attempts a JOIN tuner.trials t ON t.id = a.trial_id WHERE t.study_id = :study
    UNION ALL
    SELECT number, attempt, coalesce(cause, state), message, started_at, finished_at
    FROM tuner.trials WHERE study_id = :study AND attempt > 0 AND state <> 'waiting'
    ORDER BY 1, 2
""")

_REPORT_TIMES = text("""
    SELECT t.number, r.step, r.reported_at
    FROM tuner.reports r JOIN tuner.trials t ON t.id = r.trial_id WHERE t.study_id = :study
""")


@dataclass(frozen=True, slots=True)
class LoggedAttempt:
    """One attempt of a trial, with its log and worker."""

    number: int  # of the trial
    attempt: int
    cause: Cause | None  # None: it runs, it has a result, or it paused at a rung
    message: str | None
    log_tail: str | None
    started_at: datetime | None
    ended_at: datetime | None
    worker_id: UUID | None
    worker: str | None  # host:pid

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


def of_trial(connection: Connection, trial_id: int) -> list[LoggedAttempt]:
    """List the attempts of a trial, the first one first."""
    return _attempts(connection.execute(_OF_TRIAL, {"trial": trial_id}).all())


def without_result(
    connection: Connection, study_id: int, *, limit: int = 50, offset: int = 0
) -> list[LoggedAttempt]:
    """List the attempts of a study that ended without a result, the latest first."""
    arguments = {"study": study_id, "limit": limit, "offset": offset}
    return _attempts(connection.execute(_WITHOUT_RESULT, arguments).all())


def failures_by_cause(connection: Connection, study_id: int) -> list[FailuresByCause]:
    """Summarize what went wrong: one entry per cause, the most frequent first."""
    return [
        FailuresByCause(
            Cause(row.cause), row.failed, row.again, row.number, row.message, row.log_tail
        )
        for row in connection.execute(_BY_CAUSE, {"study": study_id})
    ]


def of_study(connection: Connection, study_id: int) -> list[Attempt]:
    """List every attempt of a study's trials, by trial; running ones have no end."""
    return [Attempt(*row) for row in connection.execute(_OF_STUDY, {"study": study_id})]


def report_times(connection: Connection, study_id: int) -> dict[tuple[int, int], datetime]:
    """Return when each report of a study arrived: (trial number, step) → time."""
    rows = connection.execute(_REPORT_TIMES, {"study": study_id})
    return {(number, step): at for number, step, at in rows}


def _attempts(rows: Sequence[Row[Any]]) -> list[LoggedAttempt]:
    return [
        LoggedAttempt(
            number=row.number,
            attempt=row.attempt,
            cause=None if row.cause in (None, TrialState.PAUSED) else Cause(row.cause),
            message=row.message,
            log_tail=row.log_tail,
            started_at=row.started_at,
            ended_at=row.ended_at,
            worker_id=row.worker_id,
            worker=row.worker,
        )
        for row in rows
    ]
