"""Leases: renewing them, requeueing trials without a result, reaping those whose worker is gone.

Functions take a connection and never commit. Each is a single statement, which locks trials before
their study, as every statement that needs both does.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from tuner.database.attributes import INFEASIBLE
from tuner.database.claims import Claim, fence
from tuner.database.storable_text import replace_unstorable
from tuner.trials import Cause, TrialState

# If a study counts device seconds, a trial's are reserved as far ahead as its lease reaches. When
# fewer are left than all trials need, these are divided among them.
_RENEW = text("""
    WITH mine AS MATERIALIZED (
        SELECT t.id, t.study_id, c.now,
               greatest(0, :lease - extract(epoch FROM t.paid_until - c.now)) AS needed
        FROM tuner.trials t, (SELECT clock_timestamp() AS now) c
        WHERE t.id = ANY(:ids) AND t.worker_id = :worker AND t.state = 'running'
        ORDER BY t.id FOR UPDATE OF t
    ), due AS (
        SELECT study_id, sum(needed) AS needed FROM mine WHERE needed > 0 GROUP BY study_id
    ), room AS (
        SELECT s.id, CASE WHEN s.max_seconds IS NULL THEN 1
                     ELSE least(1, (s.max_seconds - s.seconds_issued) / d.needed) END AS fraction,
               d.needed
        FROM tuner.studies s JOIN due d ON d.study_id = s.id
        ORDER BY s.id FOR UPDATE OF s
    ), reserved AS (
        UPDATE tuner.studies s
        SET seconds_issued = least(s.max_seconds, s.seconds_issued + r.fraction * r.needed)
        FROM room r WHERE s.id = r.id
    )
    UPDATE tuner.trials t
    SET lease_until = m.now + :lease * interval '1 second',
        paid_until = t.paid_until + m.needed * coalesce(r.fraction, 0) * interval '1 second'
    FROM mine m LEFT JOIN room r ON r.id = m.study_id
    WHERE t.id = m.id
    RETURNING t.id, t.attempt, extract(epoch FROM t.paid_until - m.now) AS paid
""")

# How often an attempt may end in this way before its trial fails; interruptions do not count.
_LIMITS = """
    CASE CAST(:cause AS text)
        WHEN 'lost' THEN coalesce(CAST(s.spec -> 'resources' ->> 'max_attempts' AS integer), 3)
        WHEN 'out_of_memory' THEN 2
        WHEN 'killed' THEN 1
    END
"""
_INTERRUPT = """
    WITH interrupted AS MATERIALIZED (
        SELECT t.id, t.attempt, t.worker_id, t.started_at,
               greatest(t.started_at, least(clock_timestamp(), t.lease_until, t.paid_until))
                   AS ended_at,
               coalesce((
                   SELECT count(*) FROM tuner.attempts a
                   WHERE a.trial_id = t.id AND a.cause = :cause
               ) + 1 < {limit}, TRUE) AS again
        FROM tuner.trials t JOIN tuner.studies s ON s.id = t.study_id
        WHERE t.state = 'running' AND {which}
        ORDER BY t.id FOR UPDATE OF t SKIP LOCKED
    ), archived AS (
        INSERT INTO tuner.attempts (trial_id, attempt, worker_id, cause, message, log_tail,
                                    started_at)
        SELECT id, attempt, worker_id, :cause, :message, :log_tail, started_at
        FROM interrupted WHERE again
        ON CONFLICT DO NOTHING
    ), written AS (
        UPDATE tuner.trials t
        SET state = CASE WHEN i.again THEN 'waiting' ELSE 'failed' END,
            cause = CASE WHEN NOT i.again THEN CAST(:cause AS text) END,
            message = CASE WHEN NOT i.again THEN CAST(:message AS text) END,
            log_tail = CASE WHEN NOT i.again THEN CAST(:log_tail AS text) END,
            finished_at = CASE WHEN NOT i.again THEN clock_timestamp() END,
            worker_id = CASE WHEN NOT i.again THEN t.worker_id END,
            system_attrs = CASE WHEN i.again OR :cause <> 'out_of_memory' THEN t.system_attrs
                           ELSE t.system_attrs || jsonb_build_object('{infeasible}', '1.0') END,
            epochs = CASE WHEN i.again OR t.epochs IS NULL THEN t.epochs ELSE least(t.epochs, (
                SELECT coalesce(max(r.step), 0) FROM tuner.reports r WHERE r.trial_id = t.id
            )) END,
            seconds = t.seconds + extract(epoch FROM i.ended_at - t.started_at),
            lease_until = NULL, changed = pg_current_xact_id()
        FROM interrupted i WHERE t.id = i.id
        RETURNING t.id, t.study_id, t.number, t.state, t.epochs, i.again,
                  greatest(0, extract(epoch FROM t.paid_until - i.ended_at)) AS seconds
    ), rest AS (
        SELECT w.study_id, sum(w.seconds) AS seconds,
               coalesce(sum(s.trial_epochs - w.epochs) FILTER (WHERE NOT w.again), 0) AS epochs
        FROM written w JOIN tuner.studies s ON s.id = w.study_id GROUP BY w.study_id
    ), locked AS (
        SELECT s.id, r.seconds, r.epochs FROM tuner.studies s JOIN rest r ON r.study_id = s.id
        WHERE r.seconds > 0 OR r.epochs > 0
        ORDER BY s.id FOR UPDATE OF s
    ), refunded AS (
        UPDATE tuner.studies s
        SET epochs_issued = s.epochs_issued - l.epochs,
            seconds_issued = greatest(0, s.seconds_issued - l.seconds)
        FROM locked l WHERE s.id = l.id
    )
    SELECT id, study_id, number, state, pg_notify('tuner_work', CAST(study_id AS text))
    FROM written
"""


def _interrupt(which: str) -> str:
    return _INTERRUPT.format(limit=_LIMITS, which=which, infeasible=INFEASIBLE)


_REAP = text(_interrupt("t.lease_until < clock_timestamp()"))
_REQUEUE = text(_interrupt("t.id = :id AND t.attempt = :attempt AND t.worker_id = :worker"))
_KILL = text(_interrupt("t.study_id = :study AND t.number = :number"))
# a trial that was enqueued and never claimed has taken nothing of a budget; a paused one has given
# back all that it did not use
_CANCEL = text("""
    UPDATE tuner.trials
    SET state = 'failed', cause = :cause, message = :message, finished_at = clock_timestamp(),
        changed = pg_current_xact_id()
    WHERE study_id = :study AND number = :number
      AND (state = 'paused' OR (state = 'waiting' AND attempt = 0))
    RETURNING id, pg_notify('tuner_work', CAST(study_id AS text))
""")


def renew(
    connection: Connection, ids: Sequence[int], *, worker_id: UUID, lease: float
) -> dict[int, tuple[int, float | None]]:
    """Renew the leases of this worker's trials.

    Returns those that it still holds: id → attempt, and the seconds that are reserved for it from
    now on (None: its study does not count them). If these are fewer than `lease`, no more are left.
    """
    rows = connection.execute(_RENEW, {"ids": list(ids), "worker": worker_id, "lease": lease})
    return {r.id: (r.attempt, None if r.paid is None else float(r.paid)) for r in rows}


def requeue(
    connection: Connection,
    claim: Claim,
    cause: Cause,
    *,
    message: str | None = None,
    log_tail: str | None = None,
) -> TrialState | None:
    """Put a claimed trial back in the queue with its number, parameters and reports.

    Returns its new state, FAILED if it ended this way too often; None if the worker had lost it.
    """
    row = connection.execute(
        _REQUEUE,
        {
            **fence(claim),
            "cause": cause,
            "message": message and replace_unstorable(message),
            "log_tail": log_tail and replace_unstorable(log_tail),
        },
    ).one_or_none()
    return None if row is None else TrialState(row.state)


def reap(connection: Connection) -> list[tuple[int, int, TrialState]]:
    """Requeue or fail every trial whose lease has ended; returns study id, number, new state."""
    rows = connection.execute(
        _REAP,
        {"cause": Cause.LOST, "message": "its worker stopped renewing the lease", "log_tail": None},
    )
    return [(row.study_id, row.number, TrialState(row.state)) for row in rows]


def kill(connection: Connection, study_id: int, number: int, *, message: str) -> bool:
    """Fail a trial that runs, is paused, or was enqueued and never ran; its worker then leaves it.

    False if it is none of these, or if its worker is writing to it right now.
    """
    arguments = {
        "study": study_id,
        "number": number,
        "cause": Cause.KILLED,
        "message": message,
        "log_tail": None,
    }
    if connection.execute(_KILL, arguments).one_or_none() is not None:
        return True
    return connection.execute(_CANCEL, arguments).one_or_none() is not None
