"""Trials: claim, report, finish, retry. The heart of the service, in SQL.

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
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from tuner.database import attributes
from tuner.database.prepared_statements import PreparedStatement
from tuner.errors import LeaseLostError, StudyNotFoundError
from tuner.trials import NO_LABELS, Attempt, Cause, FailuresByCause, Report, TrialState

# System attribute of a trial that no device had the memory for, in Optuna's words: above 0, the
# constraint is violated.
INFEASIBLE = "constraints:memory"
OWN_SEED = "tuner:seed"  # of a trial that was queued with one, for it to be trained with

# Trials that wait come first: those that were interrupted, whose unit is reserved already, then the
# enqueued ones in their order; the first of them is the one that needs the least of the budgets.
# `studies` is locked last and only until the commit: claims of a study take turns there, and each
# decides on the row as the one before has left it. How many trials run is counted before that, so
# the count stands only if nobody has claimed in between; who ends one meanwhile makes room later.
_CLAIM = PreparedStatement("""
    WITH waiting AS (
        SELECT t.id, t.started_at, t.epochs FROM tuner.trials t
        WHERE t.study_id = :study AND t.state = 'waiting'
        ORDER BY t.started_at IS NULL, coalesce(t.epochs, 0) DESC, t.number
        LIMIT 1 FOR UPDATE OF t SKIP LOCKED
    ), wanted AS MATERIALIZED (
        SELECT s.claimed_at, w.id IS NULL AS fresh, coalesce(w.epochs, 0) AS epochs,
               least(:lease, s.max_seconds - s.seconds_issued) AS seconds,
               CASE WHEN w.started_at IS NULL THEN 1 ELSE 0 END AS units,
               CASE WHEN s.max_concurrent IS NOT NULL THEN (
                   SELECT count(*) FROM tuner.trials t
                   WHERE t.study_id = s.id AND t.state = 'running'
               ) END AS running
        FROM tuner.studies s LEFT JOIN waiting w ON TRUE WHERE s.id = :study
    ), reserved AS (
        UPDATE tuner.studies s
        SET claimed_at = clock_timestamp(), issued = s.issued + w.units,
            next_number = s.next_number + CASE WHEN w.fresh THEN 1 ELSE 0 END,
            epochs_issued = s.epochs_issued
                + CASE WHEN s.max_epochs IS NULL THEN 0 ELSE s.trial_epochs - w.epochs END,
            seconds_issued = s.seconds_issued
                + CASE WHEN s.max_seconds IS NULL THEN 0 ELSE w.seconds END
        FROM wanted w
        WHERE s.id = :study AND s.state = 'active' AND (:draws OR NOT w.fresh)
          AND (s.deadline IS NULL OR clock_timestamp() < s.deadline)
          AND (s.max_trials IS NULL OR s.issued + w.units <= s.max_trials)
          AND (s.max_epochs IS NULL
               OR s.epochs_issued + s.trial_epochs - w.epochs <= s.max_epochs)
          AND (s.max_seconds IS NULL
               OR (s.seconds_issued + w.seconds <= s.max_seconds
                   AND w.seconds >= least(:lease, s.max_seconds / 10)))
          AND (s.max_concurrent IS NULL
               OR (w.claimed_at IS NOT DISTINCT FROM s.claimed_at
                   AND w.running < s.max_concurrent))
          AND s.labels <@ CAST(:labels AS jsonb)
        RETURNING s.next_number, s.claimed_at AS now,
                  CASE WHEN s.max_epochs IS NOT NULL THEN s.trial_epochs END AS epochs,
                  CASE WHEN s.max_seconds IS NOT NULL THEN w.seconds END AS paid
    ), resumed AS (
        UPDATE tuner.trials t
        SET state = 'running', attempt = t.attempt + 1, worker_id = :worker, claim_key = :key,
            lease_until = r.now + :lease * interval '1 second', epochs = r.epochs,
            paid_until = r.now + r.paid * interval '1 second',
            started_at = r.now, finished_at = NULL, changed = pg_current_xact_id(),
            cause = NULL, message = NULL, log_tail = NULL
        FROM waiting w, reserved r
        WHERE t.id = w.id
        RETURNING t.id, t.number, t.attempt, t.space_id, t.params, t.system_attrs, r.paid,
                  TRUE AS resumed, EXISTS (
                      SELECT FROM tuner.attempts a
                      WHERE a.trial_id = t.id AND a.cause = 'out_of_memory'
                  ) AS alone
    ), inserted AS (
        INSERT INTO tuner.trials (study_id, number, state, space_id, params, attempt, worker_id,
                                  claim_key, lease_until, started_at, epochs, paid_until)
        SELECT CAST(:study AS bigint), next_number - 1, 'running', CAST(:space AS bigint),
               CAST(:params AS double precision[]), 1, CAST(:worker AS uuid), CAST(:key AS uuid),
               now + :lease * interval '1 second', now, epochs, now + paid * interval '1 second'
        FROM reserved WHERE NOT EXISTS (SELECT FROM waiting)
        RETURNING id, number, attempt, space_id, params, system_attrs,
                  (SELECT paid FROM reserved), FALSE, FALSE
    )
    SELECT * FROM resumed UNION ALL SELECT * FROM inserted
""")

# A new trial has its parameters from its only attempt on; one that was enqueued has none yet.
_CLAIMED = text("""
    SELECT id, number, attempt, space_id, params, system_attrs,
           attempt > 1 OR space_id IS NULL AS resumed,
           extract(epoch FROM paid_until - clock_timestamp()) AS paid,
           EXISTS (
               SELECT FROM tuner.attempts a WHERE a.trial_id = t.id AND a.cause = 'out_of_memory'
           ) AS alone
    FROM tuner.trials t
    WHERE study_id = :study AND state = 'running' AND claim_key = :key AND worker_id = :worker
""")

# Not the study's row: a lock of that would give the transaction an id, and what a transaction with
# one reads does not tell a later poll that its own changes are new.
_TAKE_TURN = text("""
    SELECT pg_advisory_xact_lock(hashtextextended('tuner.claim', CAST(:study AS bigint)))
""")

_SET_PARAMS = PreparedStatement("""
    UPDATE tuner.trials SET space_id = :space, params = :params, changed = pg_current_xact_id()
    WHERE id = :id AND attempt = :attempt AND worker_id = :worker AND state = 'running'
    RETURNING id
""")

# Of a trial that is `held`. A later report of a step replaces the one before.
_STORE_REPORTS = """
    INSERT INTO tuner.reports (trial_id, step, value, metrics)
    SELECT held.id, made.step, made.value, CAST(made.metrics AS jsonb)
    FROM held, unnest(
        CAST(:steps AS bigint[]), CAST(:reported AS double precision[]), CAST(:metrics AS text[])
    ) AS made(step, value, metrics)
    ON CONFLICT (trial_id, step) DO UPDATE SET value = excluded.value, metrics = excluded.metrics
    RETURNING trial_id
"""

# A report need not be flushed at once: the trial's finish, which is, flushes what went before it,
# and a worker that notices a crash of the server repeats what that may have forgotten.
_FLUSHED_REPORT = f"""
    WITH held AS (
        UPDATE tuner.trials t
        SET lease_until = clock_timestamp() + :lease * interval '1 second'
        WHERE id = :id AND attempt = :attempt AND worker_id = :worker AND state = 'running'
        RETURNING t.id
    ), written AS ({_STORE_REPORTS})
"""  # noqa: S608 - constants
_REPORT = _FLUSHED_REPORT.replace(
    "WITH held AS (",
    """WITH asynchronous AS MATERIALIZED (
        SELECT set_config('synchronous_commit', 'off', TRUE)
    ), held AS (""",
).replace("WHERE id", "FROM asynchronous WHERE id", 1)

_STEPS = text("SELECT step FROM tuner.reports WHERE trial_id = :id")

# What an ended attempt did not use goes back to the study, and only where it had reserved something
# is the study's row touched: others wait for its lock. `paid_until` stays, for it tells how much.
_FINISH = """
    WITH written AS (
        UPDATE tuner.trials t
        SET state = :state, objective_values = :values, cause = :cause, message = :message,
            log_tail = :log_tail, user_attrs = user_attrs || CAST(:attrs AS jsonb),
            epochs = CASE WHEN t.epochs IS NOT NULL THEN least(t.epochs, greatest(:last_step, (
                SELECT coalesce(max(r.step), 0) FROM tuner.reports r WHERE r.trial_id = t.id
            ))) END,
            seconds = t.seconds + extract(epoch FROM least(c.now, t.paid_until) - t.started_at),
            finished_at = c.now, lease_until = NULL, changed = pg_current_xact_id()
        FROM (SELECT clock_timestamp() AS now) c
        WHERE id = :id AND attempt = :attempt AND worker_id = :worker AND state = 'running'
        RETURNING t.id, t.study_id, t.epochs, t.paid_until, c.now
    ), refunded AS (
        UPDATE tuner.studies s
        SET epochs_issued = s.epochs_issued - greatest(0, s.trial_epochs - w.epochs),
            seconds_issued = greatest(
                0, s.seconds_issued - greatest(0, extract(epoch FROM w.paid_until - w.now)))
        FROM written w
        WHERE s.id = w.study_id AND (w.epochs < s.trial_epochs OR w.paid_until > w.now)
    )
"""
_FINISH_WITH_REPORTS = f"""
    {_FINISH}, held AS (SELECT id FROM written), reported AS ({_STORE_REPORTS})
"""  # noqa: S608 - constants

_IS_FINISHED = text("""
    SELECT id FROM tuner.trials
    WHERE id = :id AND attempt = :attempt AND worker_id = :worker AND state = :state
""")

_ENQUEUE = text("""
    WITH numbered AS (
        UPDATE tuner.studies SET next_number = next_number + 1 WHERE id = :study
        RETURNING next_number
    )
    INSERT INTO tuner.trials (study_id, number, state, system_attrs)
    SELECT :study, next_number - 1, 'waiting', CAST(:system_attrs AS jsonb) FROM numbered
    RETURNING number, pg_notify('tuner_work', CAST(study_id AS text))
""")

# The attempt that failed is archived, for its trial's row is another one's now.
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

# Enqueued and not begun: each takes a unit of the budget when it is claimed.
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

# Runs one of these statements with its arguments; whether it hit its row.
Via = Callable[[Connection, str, Mapping[str, Any]], bool]


@cache
def _alone(write: str) -> PreparedStatement:
    return PreparedStatement(write + " SELECT FROM written LIMIT 1")


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
    paid: float | None = None  # seconds that are reserved for it; None: the study counts none
    alone: bool = False  # it ran out of memory before: nothing else may run on its device
    seed: int | None = None  # that it was queued with; None: its seed follows from its number


def claim(
    connection: Connection,
    study_id: int,
    *,
    worker_id: UUID,
    key: UUID,
    lease: float,
    space_id: int | None,
    params: Sequence[float] | None,
    labels: Mapping[str, str] = NO_LABELS,
) -> Claimed | None:
    """Reserve of the study's budgets and take a trial: one that waits, or a new one with `params`.

    Returns None when the study is not active or does not want these `labels` of the worker, when
    one of its budgets is given out, or when enough of its trials run; without `params`, also when
    no trial waits. One statement: run it in its own transaction. `lease` is in seconds; of a study
    that counts them, so many are reserved, or what is left.
    """
    row = _CLAIM.run(
        connection,
        {
            "study": study_id,
            "worker": worker_id,
            "key": key,
            "lease": lease,
            "space": space_id,
            "params": list(params or ()),
            "draws": params is not None,
            "labels": json.dumps(dict(labels)),
        },
    ).one_or_none()
    return None if row is None else _claimed(row, study_id, worker_id)


def take_turn(connection: Connection, study_id: int) -> None:
    """Wait until nobody else who takes turns claims of this study, until the transaction's end."""
    connection.execute(_TAKE_TURN, {"study": study_id})


def claimed(connection: Connection, study_id: int, *, worker_id: UUID, key: UUID) -> Claimed | None:
    """What an earlier claim with this key took: its acknowledgement may have been lost."""
    row = connection.execute(
        _CLAIMED, {"study": study_id, "worker": worker_id, "key": key}
    ).one_or_none()
    return None if row is None else _claimed(row, study_id, worker_id)


def _claimed(row: Any, study_id: int, worker_id: UUID) -> Claimed:
    attrs = attributes.decode(row.system_attrs)
    return Claimed(
        id=row.id,
        study_id=study_id,
        number=row.number,
        attempt=row.attempt,
        worker_id=worker_id,
        space_id=row.space_id,
        params=tuple(row.params),
        fixed_params=attrs.get("fixed_params", {}),
        resumed=row.resumed,
        paid=None if row.paid is None else float(row.paid),
        alone=row.alone,
        seed=attrs.get(OWN_SEED),
    )


def set_params(
    connection: Connection, held: Claimed, *, space_id: int, params: Sequence[float]
) -> None:
    """Set all parameters of a held trial; LeaseLostError if it is not held any more."""
    arguments = {**fence(held), "space": space_id, "params": list(params)}
    if _SET_PARAMS.run(connection, arguments).one_or_none() is None:
        raise _lost(held)


def report(
    connection: Connection,
    held: Claimed,
    made: Sequence[Report],
    *,
    lease: float,
    flush: bool = False,
    via: Via = alone,
) -> None:
    """Store reports, one at least, and renew the lease; the last one of a step counts.

    Unless told to `flush`, a crash of the server may forget them. LeaseLostError if the trial is
    not held any more.
    """
    write = _FLUSHED_REPORT if flush else _REPORT
    if not via(connection, write, {**fence(held), **_stored(made), "lease": lease}):
        raise _lost(held)


def _stored(made: Sequence[Report]) -> dict[str, object]:
    """The arguments that store reports."""
    last = {report.step: report for report in made}.values()
    return {
        "steps": [report.step for report in last],
        "reported": [report.value for report in last],
        "metrics": [
            json.dumps({k: v if math.isfinite(v) else None for k, v in report.metrics.items()})
            for report in last
        ],
    }


def report_missing(
    connection: Connection, held: Claimed, made: Sequence[Report], *, lease: float, flush: bool
) -> None:
    """Store those of a trial's reports that are not: earlier attempts made them."""
    stored = set(connection.execute(_STEPS, {"id": held.id}).scalars())
    missing = [one for one in made if one.step not in stored]
    if missing:
        report(connection, held, missing, lease=lease, flush=flush)


def finish(
    connection: Connection,
    held: Claimed,
    state: TrialState,
    values: Sequence[float] | None = None,
    *,
    made: Sequence[Report] = (),
    cause: Cause | None = None,
    message: str | None = None,
    log_tail: str | None = None,
    user_attrs: Mapping[str, Any] | None = None,
    via: Via = alone,
) -> None:
    """End a held trial and store the last reports that it has `made`.

    Doing it twice is no error; LeaseLostError if it is not held any more.
    """
    arguments = {
        **fence(held),
        **(_stored(made) if made else {}),
        "last_step": max((report.step for report in made), default=0),
        "state": str(state),
        "values": None if values is None else list(values),
        "cause": cause,
        "message": storable(message),
        "log_tail": storable(log_tail),
        "attrs": attributes.encode(user_attrs or {}),
    }
    if not via(connection, _FINISH_WITH_REPORTS if made else _FINISH, arguments):
        found = connection.execute(_IS_FINISHED, {**fence(held), "state": str(state)})
        if found.one_or_none() is None:
            raise _lost(held)


def enqueue(
    connection: Connection, study_id: int, params: Mapping[str, Any], *, seed: int | None = None
) -> int:
    """Add a trial with some parameters given, to be claimed before new ones; returns its number.

    It is trained with `seed` instead of the one that follows from its number.
    """
    attrs = {"fixed_params": dict(params), **({} if seed is None else {OWN_SEED: seed})}
    row = connection.execute(
        _ENQUEUE, {"study": study_id, "system_attrs": attributes.encode(attrs)}
    ).one_or_none()
    if row is None:
        raise StudyNotFoundError(f"there is no study with the id {study_id}")
    return int(row.number)


def retry(connection: Connection, study_id: int, number: int | None = None) -> list[int]:
    """Put failed trials (or the one of that number) back to the queue; returns their numbers."""
    return sorted(
        row.number
        for row in connection.execute(
            _RETRY, {"study": study_id, "number": number, "infeasible": INFEASIBLE}
        )
    )


def queued(connection: Connection, study_id: int) -> int:
    """How many trials wait that have not taken their unit of the budget yet."""
    return int(connection.execute(_QUEUED, {"study": study_id}).scalar_one())


def counts(connection: Connection, study_id: int | None = None) -> dict[int, dict[str, int]]:
    """Study id → state → how many trials; states without trials are left out."""
    result: dict[int, dict[str, int]] = {}
    for row in connection.execute(_COUNTS, {"study": study_id}):
        result.setdefault(row.study_id, {})[row.state] = int(row[2])
    return result


def failures(connection: Connection, study_id: int) -> list[FailuresByCause]:
    """What went wrong, an entry a cause, the most frequent first."""
    return [
        FailuresByCause(
            Cause(row.cause), row.failed, row.again, row.number, row.message, row.log_tail
        )
        for row in connection.execute(_FAILURES, {"study": study_id})
    ]


def attempts(connection: Connection, study_id: int) -> list[Attempt]:
    """Every attempt of a study's trials, by trial; those that go on have not ended."""
    return [Attempt(*row) for row in connection.execute(_ATTEMPTS, {"study": study_id})]


def report_times(connection: Connection, study_id: int) -> dict[tuple[int, int], datetime]:
    """When each report of a study came: number of the trial, step → time."""
    rows = connection.execute(_REPORT_TIMES, {"study": study_id})
    return {(number, step): at for number, step, at in rows}


def fence(held: Claimed) -> dict[str, object]:
    """The arguments that make a write conditional on the attempt and its worker."""
    return {"id": held.id, "attempt": held.attempt, "worker": held.worker_id}


def _lost(held: Claimed) -> LeaseLostError:
    return LeaseLostError(
        f"trial {held.number}, attempt {held.attempt}: the lease was lost; the result of this "
        "attempt is not recorded"
    )


def storable(message: str | None) -> str | None:
    """PostgreSQL's text cannot hold NUL, and UTF-8 no lone surrogates."""
    if message is None:
        return None
    return message.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
