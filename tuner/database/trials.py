"""Trials as users ask for them: queueing some, retrying the failed ones, and what became of all.

Functions take a connection and never commit.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from tuner.database import attributes
from tuner.errors import StudyNotFoundError
from tuner.trials import Attempt, Cause, FailuresByCause

_ENQUEUE = text("""
    WITH numbered AS (
        UPDATE tuner.studies SET next_number = next_number + 1 WHERE id = :study
        RETURNING next_number
    )
    INSERT INTO tuner.trials (study_id, number, state, system_attrs)
    SELECT :study, next_number - 1, 'waiting', CAST(:system_attrs AS jsonb) FROM numbered
    RETURNING number, pg_notify('tuner_work', CAST(study_id AS text))
""")

# The failed attempt is archived: its trial's row now belongs to the next one.
_RETRY = text("""
    WITH failed AS (
        SELECT * FROM tuner.trials
        WHERE study_id = :study AND state = 'failed'
          AND (CAST(:number AS integer) IS NULL OR number = :number)
        FOR UPDATE
    ), archived AS (
        INSERT INTO tuner.attempts (trial_id, attempt, worker_id, cause, message, log_tail,
                                    started_at, ended_at)
        SELECT id, attempt, worker_id, cause, message, log_tail, started_at,
               coalesce(finished_at, clock_timestamp())
        FROM failed WHERE cause IS NOT NULL
        ON CONFLICT DO NOTHING
    )
    UPDATE tuner.trials t
    SET state = 'waiting', cause = NULL, message = NULL, log_tail = NULL, finished_at = NULL,
        objective_values = NULL, system_attrs = t.system_attrs - :infeasible,
        changed = pg_current_xact_id()
    FROM failed f WHERE t.id = f.id
    RETURNING t.number, pg_notify('tuner_work', CAST(t.study_id AS text))
""")

# Enqueued and never started: each takes a unit of the budget when it is claimed.
_QUEUED = text("""
    SELECT count(*) FROM tuner.trials
    WHERE study_id = :study AND state = 'waiting' AND started_at IS NULL
""")

_COUNTS = text("""
    SELECT study_id, state, count(*) AS count FROM tuner.trials
    WHERE CAST(:study AS bigint) IS NULL OR study_id = :study
    GROUP BY study_id, state
""")


_FAILURES = text("""
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
        FROM tuner.attempts a JOIN tuner.trials t ON t.id = a.trial_id WHERE t.study_id = :study
    ) AS ended
    GROUP BY cause ORDER BY failed DESC, again DESC, cause
""")

_ATTEMPTS = text("""
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


def enqueue(
    connection: Connection, study_id: int, params: Mapping[str, Any], *, seed: int | None = None
) -> int:
    """Add a trial with some parameters fixed, to be claimed before new ones; returns its number.

    With `seed` it is trained with that instead of the seed that follows from its number.
    """
    attrs = {
        "fixed_params": dict(params),
        **({} if seed is None else {attributes.QUEUED_SEED: seed}),
    }
    row = connection.execute(
        _ENQUEUE, {"study": study_id, "system_attrs": attributes.encode(attrs)}
    ).one_or_none()
    if row is None:
        raise StudyNotFoundError(f"there is no study with the id {study_id}")
    return int(row.number)


def retry(connection: Connection, study_id: int, number: int | None = None) -> list[int]:
    """Requeue the failed trials, or the one with that number; returns their numbers."""
    return sorted(
        row.number
        for row in connection.execute(
            _RETRY, {"study": study_id, "number": number, "infeasible": attributes.INFEASIBLE}
        )
    )


def queued(connection: Connection, study_id: int) -> int:
    """Count the waiting trials that have not taken their unit of the budget yet."""
    return int(connection.execute(_QUEUED, {"study": study_id}).scalar_one())


def counts(connection: Connection, study_id: int | None = None) -> dict[int, dict[str, int]]:
    """Count trials: study id → state → how many; states without trials are left out."""
    by_study: dict[int, dict[str, int]] = {}
    for row in connection.execute(_COUNTS, {"study": study_id}):
        by_study.setdefault(row.study_id, {})[row.state] = int(row[2])
    return by_study


def failures(connection: Connection, study_id: int) -> list[FailuresByCause]:
    """Summarize what went wrong: one entry per cause, the most frequent first."""
    return [
        FailuresByCause(
            Cause(row.cause), row.failed, row.again, row.number, row.message, row.log_tail
        )
        for row in connection.execute(_FAILURES, {"study": study_id})
    ]


def attempts(connection: Connection, study_id: int) -> list[Attempt]:
    """List every attempt of a study's trials, by trial; running ones have no end."""
    return [Attempt(*row) for row in connection.execute(_ATTEMPTS, {"study": study_id})]


def report_times(connection: Connection, study_id: int) -> dict[tuple[int, int], datetime]:
    """Return when each report of a study arrived: (trial number, step) → time."""
    rows = connection.execute(_REPORT_TIMES, {"study": study_id})
    return {(number, step): at for number, step, at in rows}
