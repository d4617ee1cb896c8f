"""Claims: reserving from a study's budgets and taking one of its trials, in one statement.

The promise: a trial may execute more than once; its outcome, its reports and its budget unit are
recorded exactly once. What keeps it:

* a claim reserves the budget unit and inserts the trial RUNNING in one statement;
* every later write names the attempt and the worker (`fence`): once the lease is lost and the
  trial has gone to another worker, or back to the queue, the write matches no row and is refused;
* leases are counted on the database's clock alone.

Functions take a connection and never commit.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from tuner.database import attributes
from tuner.database.prepared_statements import PreparedStatement
from tuner.errors import LeaseLostError
from tuner.origin import Origin
from tuner.trials import NO_LABELS

# Waiting trials come first: the interrupted ones, whose unit is reserved already, then the paused
# ones that the caller promotes, whose unit is reserved as well, then the enqueued ones in their
# order. The first of them needs the least of the budgets. A trial that another claim is taking is
# skipped, so no two workers promote the same one; one that has since paused again, at another rung,
# has another attempt.
# `studies` is locked last and only until the commit: claims of a study take turns there, and each
# sees the row as the claim before left it. Running trials are counted before that lock, so the
# count is valid only if no claim came in between; a trial that ends meanwhile makes room later.
_CLAIM = PreparedStatement("""
    WITH queued AS (
        SELECT t.id, t.started_at, t.epochs, FALSE AS promoted, t.started_at IS NULL AS later
        FROM tuner.trials t
        WHERE t.study_id = :study AND t.state = 'waiting'
        ORDER BY t.started_at IS NULL, coalesce(t.epochs, 0) DESC, t.number
        LIMIT 1 FOR UPDATE OF t SKIP LOCKED
    ), promoted AS (
        SELECT t.id, t.started_at, t.epochs, TRUE, FALSE
        FROM unnest(CAST(:promotable AS integer[]), CAST(:paused_in AS integer[]))
            WITH ORDINALITY AS p(number, attempt, place)
        JOIN tuner.trials t ON t.study_id = :study AND t.number = p.number
        WHERE t.state = 'paused' AND t.attempt = p.attempt
        ORDER BY p.place LIMIT 1 FOR UPDATE OF t SKIP LOCKED
    ), waiting AS MATERIALIZED (
        SELECT * FROM (SELECT * FROM queued UNION ALL SELECT * FROM promoted) w
        ORDER BY later, promoted LIMIT 1
    ), needed AS MATERIALIZED (
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
        FROM needed w
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
    ), archived AS (
        INSERT INTO tuner.attempts (trial_id, attempt, worker_id, cause, started_at, ended_at)
        SELECT t.id, t.attempt, t.worker_id, 'paused', t.started_at, t.finished_at
        FROM tuner.trials t, waiting w, reserved r WHERE t.id = w.id AND w.promoted
        ON CONFLICT DO NOTHING
    ), resumed AS (
        UPDATE tuner.trials t
        SET state = 'running', attempt = t.attempt + 1, worker_id = :worker, claim_key = :key,
            lease_until = r.now + :lease * interval '1 second', epochs = r.epochs,
            paid_until = r.now + r.paid * interval '1 second',
            started_at = r.now, finished_at = NULL, objective_values = NULL,
            changed = pg_current_xact_id(), cause = NULL, message = NULL, log_tail = NULL
        FROM waiting w, reserved r
        WHERE t.id = w.id
        RETURNING t.id, t.number, t.attempt, t.space_id, t.params, t.system_attrs, t.origin,
                  r.paid, TRUE AS resumed, EXISTS (
                      SELECT FROM tuner.attempts a
                      WHERE a.trial_id = t.id AND a.cause = 'out_of_memory'
                  ) AS exclusive, w.promoted
    ), inserted AS (
        INSERT INTO tuner.trials (study_id, number, state, space_id, params, origin, attempt,
                                  worker_id, claim_key, lease_until, started_at, epochs, paid_until)
        SELECT CAST(:study AS bigint), next_number - 1, 'running', CAST(:space AS bigint),
               CAST(:params AS double precision[]), CAST(:origin AS jsonb), 1,
               CAST(:worker AS uuid), CAST(:key AS uuid),
               now + :lease * interval '1 second', now, epochs, now + paid * interval '1 second'
        FROM reserved WHERE NOT EXISTS (SELECT FROM waiting)
        RETURNING id, number, attempt, space_id, params, system_attrs, origin,
                  (SELECT paid FROM reserved), FALSE, FALSE, FALSE
    )
    SELECT * FROM resumed UNION ALL SELECT * FROM inserted
""")

# A new trial has parameters from its first attempt on; an enqueued one has none until then.
_CLAIMED = text("""
    SELECT id, number, attempt, space_id, params, system_attrs, origin,
           attempt > 1 OR space_id IS NULL AS resumed,
           extract(epoch FROM paid_until - clock_timestamp()) AS paid,
           EXISTS (
               SELECT FROM tuner.attempts a WHERE a.trial_id = t.id AND a.cause = 'out_of_memory'
           ) AS exclusive,
           EXISTS (
               SELECT FROM tuner.attempts a
               WHERE a.trial_id = t.id AND a.attempt = t.attempt - 1 AND a.cause = 'paused'
           ) AS promoted
    FROM tuner.trials t
    WHERE study_id = :study AND state = 'running' AND claim_key = :key AND worker_id = :worker
""")

# Not the study's row: locking it would give the transaction an id, and from a read within such a
# transaction a later poll cannot tell that its own changes are new.
_TAKE_TURN = text("""
    SELECT pg_advisory_xact_lock(hashtextextended('tuner.claim', CAST(:study AS bigint)))
""")

_SET_PARAMS = PreparedStatement("""
    UPDATE tuner.trials
    SET space_id = :space, params = :params, origin = :origin, changed = pg_current_xact_id()
    WHERE id = :id AND attempt = :attempt AND worker_id = :worker AND state = 'running'
    RETURNING id
""")


NONE_PROMOTABLE: Mapping[int, int] = MappingProxyType({})  # number → attempt


@dataclass(frozen=True, slots=True)
class Claim:
    """A trial that a worker has claimed: which attempt, by whom, and what is reserved for it."""

    id: int
    study_id: int
    number: int
    attempt: int
    worker_id: UUID
    space_id: int | None
    params: tuple[float, ...]  # Optuna's internal representation, in the space's order
    fixed_params: Mapping[str, Any]  # as it was enqueued: only the others are drawn
    origin: Origin | None  # how it was proposed, as far as that is known before it is drawn
    # it was there before: interrupted or paused (it has parameters), or enqueued
    resumed: bool
    paid: float | None = None  # seconds reserved for it; None: the study does not count them
    exclusive: bool = False  # it ran out of memory before: nothing else may run on its device
    seed: int | None = None  # it was queued with this one; None: its seed follows from its number
    promoted: bool = False  # it was paused at a rung


def claim(
    connection: Connection,
    study_id: int,
    *,
    worker_id: UUID,
    key: UUID,
    lease: float,
    space_id: int | None,
    params: Sequence[float] | None,
    origin: Origin | None = None,
    labels: Mapping[str, str] = NO_LABELS,
    promotable: Mapping[int, int] = NONE_PROMOTABLE,
) -> Claim | None:
    """Reserve from the study's budgets and take a trial: a waiting one, or a new one with `params`.

    `promotable` are the paused trials that may go on, the first choice first, each with the attempt
    in which it paused; one of them comes before a new trial. Returns None if the study is not
    active or asks for labels that are not among the worker's `labels`, if one of its budgets is
    given out, or if enough of its trials run; without `params`, also if no trial waits. One
    statement: run it in its own transaction. `lease` is in seconds; a study that counts device
    seconds reserves that many, or what is left.
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
            "origin": _encode(origin),
            "labels": json.dumps(dict(labels)),
            "promotable": list(promotable),
            "paused_in": list(promotable.values()),
        },
    ).one_or_none()
    return None if row is None else _claim(row, study_id, worker_id)


def take_turn(connection: Connection, study_id: int) -> None:
    """Wait for this transaction's turn to claim from the study; the turn ends with it."""
    connection.execute(_TAKE_TURN, {"study": study_id})


def find_claim(
    connection: Connection, study_id: int, *, worker_id: UUID, key: UUID
) -> Claim | None:
    """Return what an earlier claim with this key took: its answer may have been lost."""
    row = connection.execute(
        _CLAIMED, {"study": study_id, "worker": worker_id, "key": key}
    ).one_or_none()
    return None if row is None else _claim(row, study_id, worker_id)


def _claim(row: Any, study_id: int, worker_id: UUID) -> Claim:
    attrs = attributes.decode(row.system_attrs)
    return Claim(
        id=row.id,
        study_id=study_id,
        number=row.number,
        attempt=row.attempt,
        worker_id=worker_id,
        space_id=row.space_id,
        params=tuple(row.params),
        origin=Origin.from_json(row.origin),
        fixed_params=attrs.get("fixed_params", {}),
        resumed=row.resumed,
        paid=None if row.paid is None else float(row.paid),
        exclusive=row.exclusive,
        seed=attrs.get(attributes.QUEUED_SEED),
        promoted=row.promoted,
    )


def set_params(
    connection: Connection,
    claim: Claim,
    *,
    space_id: int,
    params: Sequence[float],
    origin: Origin | None = None,
) -> None:
    """Set all parameters of a claimed trial, and how they were proposed.

    LeaseLostError if the worker no longer holds it.
    """
    arguments = {
        **fence(claim),
        "space": space_id,
        "params": list(params),
        "origin": _encode(origin),
    }
    if _SET_PARAMS.run(connection, arguments).one_or_none() is None:
        raise lost(claim)


def _encode(origin: Origin | None) -> str | None:
    return None if origin is None else json.dumps(origin.as_json())


def fence(claim: Claim) -> dict[str, object]:
    """Return the arguments that make a write conditional on the attempt and its worker."""
    return {"id": claim.id, "attempt": claim.attempt, "worker": claim.worker_id}


def lost(claim: Claim) -> LeaseLostError:
    """Return the error that a refused write raises."""
    return LeaseLostError(
        f"trial {claim.number}, attempt {claim.attempt}: the lease was lost; the result of this "
        "attempt is not recorded"
    )
