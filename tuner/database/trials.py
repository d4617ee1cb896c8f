"""Trials: claim, report, renew, finish, requeue. The heart of the service, in SQL.

The promise: a trial may execute more than once; its outcome, its reports and its budget unit are
recorded exactly once. What keeps it:

* a claim reserves the budget unit and inserts the trial RUNNING in one statement;
* every later write names the attempt and the worker (fencing): after the lease was lost and the
  trial went to somebody else, or back to the queue, the write matches no row and is refused;
* leases are counted on the database's clock alone.

Functions take a connection and never commit. Reports and finishes are single statements whose part
`written` says whether they hit their row; a reader may let one carry its poll (`via`).
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from tuner.database import attributes
from tuner.database.prepared import Prepared
from tuner.errors import LeaseLostError, StudyNotFoundError
from tuner.trials import Cause, Report, TrialState

# Trials that wait come first: those that were interrupted (their unit is reserved already), then
# the enqueued ones in their order. `studies` is locked last and only until the commit.
_CLAIM = Prepared("""
    WITH waiting AS (
        SELECT t.id, t.attempt FROM tuner.trials t JOIN tuner.studies s ON s.id = t.study_id
        WHERE t.study_id = :study AND t.state = 'waiting'
          AND s.state = 'active' AND (s.deadline IS NULL OR clock_timestamp() < s.deadline)
          AND (t.attempt > 0 OR s.max_trials IS NULL OR s.issued < s.max_trials)
        ORDER BY t.attempt = 0, t.number
        LIMIT 1 FOR UPDATE OF t SKIP LOCKED
    ), reserved AS (
        UPDATE tuner.studies
        SET issued = issued + 1,
            next_number = next_number + CASE WHEN EXISTS (SELECT FROM waiting) THEN 0 ELSE 1 END
        WHERE id = :study AND state = 'active'
          AND (deadline IS NULL OR clock_timestamp() < deadline)
          AND (max_trials IS NULL OR issued < max_trials)
          AND NOT EXISTS (SELECT FROM waiting WHERE attempt > 0)
        RETURNING next_number
    ), resumed AS (
        UPDATE tuner.trials t
        SET state = 'running', attempt = t.attempt + 1, worker_id = :worker, claim_key = :key,
            lease_until = clock_timestamp() + :lease * interval '1 second',
            started_at = clock_timestamp(), finished_at = NULL, changed = pg_current_xact_id(),
            cause = NULL, message = NULL, log_tail = NULL
        FROM waiting w
        WHERE t.id = w.id AND (w.attempt > 0 OR EXISTS (SELECT FROM reserved))
        RETURNING t.id, t.number, t.attempt, t.space_id, t.params, t.system_attrs, TRUE AS resumed
    ), inserted AS (
        INSERT INTO tuner.trials (study_id, number, state, space_id, params, attempt, worker_id,
                                  claim_key, lease_until, started_at)
        SELECT CAST(:study AS bigint), next_number - 1, 'running', CAST(:space AS bigint),
               CAST(:params AS double precision[]), 1, CAST(:worker AS uuid), CAST(:key AS uuid),
               clock_timestamp() + :lease * interval '1 second', clock_timestamp()
        FROM reserved WHERE NOT EXISTS (SELECT FROM waiting)
        RETURNING id, number, attempt, space_id, params, system_attrs, FALSE AS resumed
    )
    SELECT * FROM resumed UNION ALL SELECT * FROM inserted
""")

# A new trial has its parameters from its only attempt on; one that was enqueued has none yet.
_CLAIMED = text("""
    SELECT id, number, attempt, space_id, params, system_attrs,
           attempt > 1 OR space_id IS NULL AS resumed
    FROM tuner.trials
    WHERE study_id = :study AND state = 'running' AND claim_key = :key AND worker_id = :worker
""")

_SET_PARAMS = Prepared("""
    UPDATE tuner.trials SET space_id = :space, params = :params, changed = pg_current_xact_id()
    WHERE id = :id AND attempt = :attempt AND worker_id = :worker AND state = 'running'
    RETURNING id
""")

# A report need not be flushed at once: the trial's finish, which is, flushes what went before it.
_REPORT = """
    WITH asynchronous AS MATERIALIZED (
        SELECT set_config('synchronous_commit', 'off', TRUE)
    ), renewed AS (
        UPDATE tuner.trials t
        SET lease_until = clock_timestamp() + :lease * interval '1 second'
        FROM asynchronous
        WHERE id = :id AND attempt = :attempt AND worker_id = :worker AND state = 'running'
        RETURNING t.id
    ), written AS (
        INSERT INTO tuner.reports (trial_id, step, value, metrics)
        SELECT id, CAST(:step AS bigint), CAST(:value AS double precision),
               CAST(:metrics AS jsonb)
        FROM renewed
        ON CONFLICT (trial_id, step)
            DO UPDATE SET value = excluded.value, metrics = excluded.metrics
        RETURNING trial_id
    )
"""

_RENEW = text("""
    UPDATE tuner.trials SET lease_until = clock_timestamp() + :lease * interval '1 second'
    WHERE id = ANY(:ids) AND worker_id = :worker AND state = 'running'
    RETURNING id, attempt
""")

_FINISH = """
    WITH written AS (
        UPDATE tuner.trials
        SET state = :state, objective_values = :values, cause = :cause, message = :message,
            log_tail = :log_tail, user_attrs = user_attrs || CAST(:attrs AS jsonb),
            finished_at = clock_timestamp(), lease_until = NULL, changed = pg_current_xact_id()
        WHERE id = :id AND attempt = :attempt AND worker_id = :worker AND state = 'running'
        RETURNING id
    )
"""

_IS_FINISHED = text("""
    SELECT id FROM tuner.trials
    WHERE id = :id AND attempt = :attempt AND worker_id = :worker AND state = :state
""")

# An attempt that ended without a result: archived, and its trial goes back to the queue unless it
# was lost as often as the study allows. Interruptions by pause or drain do not count.
_INTERRUPT = """
    WITH interrupted AS (
        {selection}
        FOR UPDATE OF t SKIP LOCKED
    ), archived AS (
        INSERT INTO tuner.attempts (trial_id, attempt, worker_id, cause, message, log_tail,
                                    started_at)
        SELECT id, attempt, worker_id, :cause, :message, :log_tail, started_at FROM interrupted
        ON CONFLICT DO NOTHING
    )
    UPDATE tuner.trials t
    SET state = CASE WHEN i.again THEN 'waiting' ELSE 'failed' END,
        cause = CASE WHEN i.again THEN NULL ELSE CAST(:cause AS text) END,
        message = CASE WHEN i.again THEN NULL ELSE CAST(:message AS text) END,
        log_tail = CASE WHEN i.again THEN NULL ELSE CAST(:log_tail AS text) END,
        finished_at = CASE WHEN i.again THEN NULL ELSE clock_timestamp() END,
        worker_id = CASE WHEN i.again THEN NULL ELSE t.worker_id END,
        lease_until = NULL, changed = pg_current_xact_id()
    FROM interrupted i WHERE t.id = i.id
    RETURNING t.id, t.study_id, t.number, t.state,
              pg_notify('tuner_work', CAST(t.study_id AS text))
"""
_SELECTION = """
    SELECT t.id, t.attempt, t.worker_id, t.started_at,
           :cause <> 'lost' OR
           (SELECT count(*) FROM tuner.attempts a WHERE a.trial_id = t.id AND a.cause = 'lost') + 1
           < coalesce(CAST(s.spec -> 'resources' ->> 'max_attempts' AS integer), 3) AS again
    FROM tuner.trials t JOIN tuner.studies s ON s.id = t.study_id
    WHERE t.state = 'running' AND
"""
_REAP = text(_INTERRUPT.format(selection=_SELECTION + "t.lease_until < clock_timestamp()"))
_GIVE_BACK = text(
    _INTERRUPT.format(
        selection=_SELECTION + "t.id = :id AND t.attempt = :attempt AND t.worker_id = :worker"
    )
)

_ENQUEUE = text("""
    WITH numbered AS (
        UPDATE tuner.studies SET next_number = next_number + 1 WHERE id = :study
        RETURNING next_number
    )
    INSERT INTO tuner.trials (study_id, number, state, system_attrs)
    SELECT :study, next_number - 1, 'waiting', CAST(:system_attrs AS jsonb) FROM numbered
    RETURNING number, pg_notify('tuner_work', CAST(study_id AS text))
""")

_RETRY = text("""
    UPDATE tuner.trials
    SET state = 'waiting', cause = NULL, message = NULL, log_tail = NULL, finished_at = NULL,
        objective_values = NULL, changed = pg_current_xact_id()
    WHERE study_id = :study AND state = 'failed'
      AND (CAST(:number AS integer) IS NULL OR number = :number)
    RETURNING number, pg_notify('tuner_work', CAST(study_id AS text))
""")

_COUNTS = text("""
    SELECT study_id, state, count(*) AS count FROM tuner.trials
    WHERE CAST(:study AS bigint) IS NULL OR study_id = :study
    GROUP BY study_id, state
""")


# Runs one of these statements with its arguments; whether it hit its row.
Via = Callable[[Connection, str, Mapping[str, Any]], bool]


@cache
def _alone(write: str) -> Prepared:
    return Prepared(write + " SELECT FROM written")


def alone(connection: Connection, write: str, arguments: Mapping[str, Any]) -> bool:
    """Write, and nothing else."""
    return _alone(write).run(connection, arguments).one_or_none() is not None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A trial that this worker holds."""

    id: int
    study_id: int
    number: int
    attempt: int
    worker_id: UUID
    space_id: int | None
    params: tuple[float, ...]  # Optuna's internal representation, in the space's order
    fixed_params: Mapping[str, Any]  # an enqueued configuration: sampled only where it is silent
    resumed: bool  # it had been waiting: interrupted (it has parameters) or enqueued


def claim(
    connection: Connection,
    study_id: int,
    *,
    worker_id: UUID,
    key: UUID,
    lease: float,
    space_id: int,
    params: Sequence[float],
) -> Claimed | None:
    """Reserve a budget unit and take a trial: one that waits, or a new one with `params`.

    Returns None when the study is not active or its budget is given out. One statement: run it in
    its own transaction. `lease` is in seconds.
    """
    row = _CLAIM.run(
        connection,
        {
            "study": study_id,
            "worker": worker_id,
            "key": key,
            "lease": lease,
            "space": space_id,
            "params": list(params),
        },
    ).one_or_none()
    return None if row is None else _claimed(row, study_id, worker_id)


def claimed(connection: Connection, study_id: int, *, worker_id: UUID, key: UUID) -> Claimed | None:
    """What an earlier claim with this key took: its acknowledgement may have been lost."""
    row = connection.execute(
        _CLAIMED, {"study": study_id, "worker": worker_id, "key": key}
    ).one_or_none()
    return None if row is None else _claimed(row, study_id, worker_id)


def _claimed(row: Any, study_id: int, worker_id: UUID) -> Claimed:
    fixed = attributes.decode(row.system_attrs).get("fixed_params", {})
    return Claimed(
        id=row.id,
        study_id=study_id,
        number=row.number,
        attempt=row.attempt,
        worker_id=worker_id,
        space_id=row.space_id,
        params=tuple(row.params),
        fixed_params=fixed,
        resumed=row.resumed,
    )


def set_params(
    connection: Connection, held: Claimed, *, space_id: int, params: Sequence[float]
) -> None:
    """Set all parameters of a held trial; LeaseLostError if it is not held any more."""
    arguments = {**_fence(held), "space": space_id, "params": list(params)}
    if _SET_PARAMS.run(connection, arguments).one_or_none() is None:
        raise _lost(held)


def report(
    connection: Connection, held: Claimed, made: Report, *, lease: float, via: Via = alone
) -> None:
    """Store a report and renew the lease; LeaseLostError if the trial is not held any more."""
    finite = {k: v if math.isfinite(v) else None for k, v in made.metrics.items()}
    arguments = {
        **_fence(held),
        "step": made.step,
        "value": made.value,
        "metrics": json.dumps(finite),
        "lease": lease,
    }
    if not via(connection, _REPORT, arguments):
        raise _lost(held)


def renew(
    connection: Connection, ids: Sequence[int], *, worker_id: UUID, lease: float
) -> dict[int, int]:
    """Renew the leases of this worker's trials; returns id → attempt of those it still holds."""
    rows = connection.execute(_RENEW, {"ids": list(ids), "worker": worker_id, "lease": lease})
    return {row.id: row.attempt for row in rows}


def finish(
    connection: Connection,
    held: Claimed,
    state: TrialState,
    values: Sequence[float] | None = None,
    *,
    cause: Cause | None = None,
    message: str | None = None,
    log_tail: str | None = None,
    user_attrs: Mapping[str, Any] | None = None,
    via: Via = alone,
) -> None:
    """End a held trial. Doing it twice is no error; LeaseLostError if it is not held any more."""
    arguments = {
        **_fence(held),
        "state": str(state),
        "values": None if values is None else list(values),
        "cause": cause,
        "message": _storable(message),
        "log_tail": _storable(log_tail),
        "attrs": attributes.encode(user_attrs or {}),
    }
    if not via(connection, _FINISH, arguments):
        found = connection.execute(_IS_FINISHED, {**_fence(held), "state": str(state)})
        if found.one_or_none() is None:
            raise _lost(held)


def give_back(
    connection: Connection,
    held: Claimed,
    cause: Cause,
    *,
    message: str | None = None,
    log_tail: str | None = None,
) -> TrialState | None:
    """Put a held trial back to the queue with its number, parameters and reports.

    Returns its new state, FAILED if it was lost too often; None if it was not held any more.
    """
    row = connection.execute(
        _GIVE_BACK,
        {
            **_fence(held),
            "cause": cause,
            "message": _storable(message),
            "log_tail": _storable(log_tail),
        },
    ).one_or_none()
    return None if row is None else TrialState(row.state)


def reap(connection: Connection) -> list[tuple[int, int, TrialState]]:
    """Requeue (or fail) every trial whose lease has ended; returns study id, number, new state."""
    rows = connection.execute(
        _REAP,
        {"cause": Cause.LOST, "message": "its worker stopped renewing the lease", "log_tail": None},
    )
    return [(row.study_id, row.number, TrialState(row.state)) for row in rows]


def enqueue(connection: Connection, study_id: int, params: Mapping[str, Any]) -> int:
    """Add a trial with some parameters given, to be claimed before new ones; returns its number."""
    row = connection.execute(
        _ENQUEUE,
        {"study": study_id, "system_attrs": attributes.encode({"fixed_params": dict(params)})},
    ).one_or_none()
    if row is None:
        raise StudyNotFoundError(f"there is no study with the id {study_id}")
    return int(row.number)


def retry(connection: Connection, study_id: int, number: int | None = None) -> list[int]:
    """Put failed trials (or the one of that number) back to the queue; returns their numbers."""
    return sorted(
        row.number for row in connection.execute(_RETRY, {"study": study_id, "number": number})
    )


def counts(connection: Connection, study_id: int | None = None) -> dict[int, dict[str, int]]:
    """Study id → state → how many trials; states without trials are left out."""
    result: dict[int, dict[str, int]] = {}
    for row in connection.execute(_COUNTS, {"study": study_id}):
        result.setdefault(row.study_id, {})[row.state] = int(row[2])
    return result


def _fence(held: Claimed) -> dict[str, object]:
    return {"id": held.id, "attempt": held.attempt, "worker": held.worker_id}


def _lost(held: Claimed) -> LeaseLostError:
    return LeaseLostError(
        f"trial {held.number}, attempt {held.attempt}: the lease was lost; the result of this "
        "attempt is not recorded"
    )


def _storable(message: str | None) -> str | None:
    """PostgreSQL's text cannot hold NUL, and UTF-8 no lone surrogates."""
    if message is None:
        return None
    return message.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
