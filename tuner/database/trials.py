"""Trials as users steer them: queueing some, retrying the failed ones, counting all.

Functions take a connection and never commit.
"""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

from tuner.database import attributes
from tuner.errors import StudyNotFoundError
from tuner.origin import Origin, OriginKind

ENQUEUED = Origin(kind=OriginKind.ENQUEUED)

_ENQUEUE = text("""
    WITH numbered AS (
        UPDATE tuner.studies SET next_number = next_number + 1 WHERE id = :study
        RETURNING next_number
    )
    INSERT INTO tuner.trials (study_id, number, state, system_attrs, origin)
    SELECT :study, next_number - 1, 'waiting', CAST(:system_attrs AS jsonb),
           CAST(:origin AS jsonb)
    FROM numbered
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


def enqueue(
    connection: Connection,
    study_id: int,
    params: Mapping[str, Any],
    *,
    seed: int | None = None,
    origin: Origin = ENQUEUED,
) -> int:
    """Add a trial with some parameters fixed, to be claimed before new ones; returns its number.

    `origin` says who chose them. With `seed` it is trained with that instead of the
    seed that follows from its number.
    """
    attrs = {
        "fixed_params": dict(params),
        **({} if seed is None else {attributes.QUEUED_SEED: seed}),
    }
    row = connection.execute(
        _ENQUEUE,
        {
            "study": study_id,
            "system_attrs": attributes.encode(attrs),
            "origin": json.dumps(origin.as_json()),
        },
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
