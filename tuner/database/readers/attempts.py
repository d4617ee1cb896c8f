"""Attempts: those of one trial, and the latest of a study that went wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from tuner.trials import Cause

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
_WRONG = text("""
    SELECT a.number, a.attempt, a.cause, a.message, a.log_tail, a.started_at, a.ended_at,
           a.worker_id, w.host || ':' || w.pid AS worker
    FROM (
        SELECT number, attempt, cause, message, log_tail, started_at, finished_at AS ended_at,
               worker_id
        FROM tuner.trials WHERE study_id = :study AND state = 'failed'
        UNION ALL
        SELECT t.number, a.attempt, a.cause, a.message, a.log_tail, a.started_at, a.ended_at,
               a.worker_id
        FROM tuner.attempts a JOIN tuner.trials t ON t.id = a.trial_id WHERE t.study_id = :study
    ) a
    LEFT JOIN tuner.workers w ON w.id = a.worker_id
    ORDER BY a.ended_at DESC NULLS LAST, a.number, a.attempt
    LIMIT :limit OFFSET :offset
""")


@dataclass(frozen=True, slots=True)
class LoggedAttempt:
    """One attempt of a trial."""

    number: int  # of the trial
    attempt: int
    cause: Cause | None  # None: it runs, or it has a result
    message: str | None
    log_tail: str | None
    started_at: datetime | None
    ended_at: datetime | None
    worker_id: UUID | None
    worker: str | None  # host:pid

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


def of_trial(connection: Connection, trial_id: int) -> list[LoggedAttempt]:
    """The attempts of a trial, the first one first."""
    return _attempts(connection.execute(_OF_TRIAL, {"trial": trial_id}).all())


def wrong(
    connection: Connection, study_id: int, *, limit: int = 50, offset: int = 0
) -> list[LoggedAttempt]:
    """The attempts of a study that ended without a result, the latest first."""
    arguments = {"study": study_id, "limit": limit, "offset": offset}
    return _attempts(connection.execute(_WRONG, arguments).all())


def _attempts(rows: Sequence[Row[Any]]) -> list[LoggedAttempt]:
    return [
        LoggedAttempt(
            number=row.number,
            attempt=row.attempt,
            cause=None if row.cause is None else Cause(row.cause),
            message=row.message,
            log_tail=row.log_tail,
            started_at=row.started_at,
            ended_at=row.ended_at,
            worker_id=row.worker_id,
            worker=row.worker,
        )
        for row in rows
    ]
