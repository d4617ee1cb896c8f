"""Single writes of trials without a lease: what Optuna's own API does from a notebook.

Workers never use these: they write with a lease and a fence (`claims.py`). Functions take a
connection and never commit. Most writes are one statement that matches only an open trial and says
whether it did; what has to read before it writes locks the trial's row.

A trial that starts here reserves from its study's budgets in the same statement, as a claim does.
Device seconds are the exception: they are reserved with a lease, which these trials lack, so theirs
are counted when they end.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from tuner.database import attributes, spaces
from tuner.database.spaces import Distributions
from tuner.trials import TrialState

# What a trial that starts here needs from its study.
_HAS_ROOM = """
    s.state = 'active'
    AND (s.deadline IS NULL OR clock_timestamp() < s.deadline)
    AND (s.max_epochs IS NULL OR s.epochs_issued + s.trial_epochs - {epochs} <= s.max_epochs)
    AND (s.max_seconds IS NULL OR s.seconds_issued < s.max_seconds)
"""

# A waiting trial takes its unit when it starts. One that was measured elsewhere runs nowhere, so it
# only takes its unit, whatever the study's state is.
_CREATE = text(f"""
    WITH numbered AS (
        UPDATE tuner.studies s
        SET next_number = s.next_number + 1, issued = s.issued + :units,
            epochs_issued = s.epochs_issued
                + CASE WHEN :starts AND s.max_epochs IS NOT NULL THEN s.trial_epochs ELSE 0 END,
            claimed_at = CASE WHEN :starts THEN clock_timestamp() ELSE s.claimed_at END
        WHERE s.id = :study
          AND (s.max_trials IS NULL OR :units = 0 OR s.issued + :units <= s.max_trials)
          AND (NOT :starts OR ({_HAS_ROOM.format(epochs=0)}))
        RETURNING s.next_number, CASE WHEN s.max_epochs IS NOT NULL THEN s.trial_epochs END
            AS epochs
    )
    INSERT INTO tuner.trials (study_id, number, state, space_id, params, objective_values,
                              user_attrs, system_attrs, started_at, finished_at, epochs)
    SELECT :study, next_number - 1, :state, CAST(:space AS bigint),
           CAST(:params AS double precision[]), CAST(:values AS double precision[]),
           CAST(:user_attrs AS jsonb), CAST(:system_attrs AS jsonb),
           CASE WHEN :now THEN clock_timestamp() ELSE CAST(:started_at AS timestamptz) END,
           CAST(:finished_at AS timestamptz), CASE WHEN :starts THEN epochs END
    FROM numbered
    RETURNING id
""")  # noqa: S608 - constants

_REPORTS = text("""
    INSERT INTO tuner.reports (trial_id, step, value)
    SELECT :id, step, value
    FROM unnest(CAST(:steps AS bigint[]), CAST(:values AS double precision[])) AS r(step, value)
""")

_LOCK = text("""
    SELECT t.id, t.study_id, t.state, t.params, s.distributions
    FROM tuner.trials t LEFT JOIN tuner.spaces s ON s.id = t.space_id
    WHERE t.id = :id FOR UPDATE OF t
""")

_STUDY_SPACES = text("SELECT distributions FROM tuner.spaces WHERE study_id = :study")

_SET_PARAMS = text("""
    UPDATE tuner.trials
    SET space_id = :space, params = CAST(:params AS double precision[]),
        changed = pg_current_xact_id()
    WHERE id = :id
""")

# The caller knows what the trial has so far. It may be another process's trial, too.
_ADD_PARAM = text("""
    WITH asynchronous AS MATERIALIZED (
        SELECT set_config('synchronous_commit', 'off', TRUE)
    )
    UPDATE tuner.trials
    SET space_id = :space, params = CAST(:params AS double precision[]),
        changed = pg_current_xact_id()
    FROM asynchronous
    WHERE id = :id AND state IN ('waiting', 'running')
      AND space_id IS NOT DISTINCT FROM CAST(:known_space AS bigint)
      AND params = CAST(:known_params AS double precision[])
    RETURNING id
""")

# Locks the trial before its study, as every statement that needs both does.
_START = text(f"""
    WITH waiting AS (
        SELECT id, study_id, coalesce(epochs, 0) AS epochs,
               CASE WHEN started_at IS NULL THEN 1 ELSE 0 END AS units
        FROM tuner.trials WHERE id = :id AND state = 'waiting' FOR UPDATE
    ), reserved AS (
        UPDATE tuner.studies s
        SET issued = s.issued + w.units, claimed_at = clock_timestamp(),
            epochs_issued = s.epochs_issued
                + CASE WHEN s.max_epochs IS NULL THEN 0 ELSE s.trial_epochs - w.epochs END
        FROM waiting w
        WHERE s.id = w.study_id AND {_HAS_ROOM.format(epochs="w.epochs")}
          AND (s.max_trials IS NULL OR s.issued + w.units <= s.max_trials)
        RETURNING CASE WHEN s.max_epochs IS NOT NULL THEN s.trial_epochs END AS epochs
    )
    UPDATE tuner.trials t
    SET state = 'running', started_at = clock_timestamp(), epochs = r.epochs,
        attempt = CASE WHEN t.attempt > 0 THEN t.attempt + 1 ELSE 0 END,
        worker_id = NULL, lease_until = NULL, claim_key = NULL, paid_until = NULL,
        changed = pg_current_xact_id()
    FROM waiting w, reserved r WHERE t.id = w.id
    RETURNING t.id
""")  # noqa: S608 - constants

_REQUEUE = text("""
    UPDATE tuner.trials SET state = 'waiting', changed = pg_current_xact_id()
    WHERE id = :id AND state IN ('waiting', 'running')
    RETURNING id
""")

# Some count steps from 0, others from 1. A worker's trial has paid ahead. Parameters and reports
# were not flushed when they came, so a crash of the server may have lost the last ones: those that
# the caller knows of are stored with the end.
_END = text("""
    WITH open AS (
        SELECT id, state, coalesce(paid_until, started_at) AS paid_until FROM tuner.trials
        WHERE id = :id AND state IN ('waiting', 'running') FOR UPDATE
    ), ended AS (
        UPDATE tuner.trials t
        SET state = :state, changed = pg_current_xact_id(), finished_at = c.now,
            lease_until = NULL,
            space_id = CASE WHEN cardinality(t.params) < cardinality(k.params)
                       THEN k.space_id ELSE t.space_id END,
            params = CASE WHEN cardinality(t.params) < cardinality(k.params)
                     THEN k.params ELSE t.params END,
            objective_values = coalesce(CAST(:values AS double precision[]), objective_values),
            epochs = CASE WHEN t.epochs IS NOT NULL THEN least(t.epochs, (
                SELECT greatest(coalesce(max(r.step), 0), count(*), :reached)
                FROM tuner.reports r WHERE r.trial_id = t.id
            )) END,
            seconds = t.seconds + CASE WHEN o.state = 'running'
                THEN coalesce(extract(epoch FROM c.now - t.started_at), 0) ELSE 0 END
        FROM open o, (SELECT clock_timestamp() AS now) c,
             (SELECT CAST(:space AS bigint) AS space_id,
                     CAST(:params AS double precision[]) AS params) k
        WHERE t.id = o.id
        RETURNING t.id, t.study_id, t.epochs, CASE WHEN o.state = 'running'
            THEN coalesce(extract(epoch FROM c.now - o.paid_until), 0) ELSE 0 END AS due
    ), reported AS (
        INSERT INTO tuner.reports (trial_id, step, value)
        SELECT e.id, incoming.step, incoming.value
        FROM ended e, unnest(
            CAST(:steps AS bigint[]), CAST(:reported AS double precision[])
        ) AS incoming(step, value)
        WHERE NOT EXISTS (
            SELECT FROM tuner.reports r
            WHERE r.trial_id = e.id AND r.step = incoming.step AND r.value = incoming.value
        )
        ON CONFLICT (trial_id, step) DO UPDATE SET value = excluded.value
    ), settled AS (
        UPDATE tuner.studies s
        SET epochs_issued = s.epochs_issued
                - CASE WHEN s.max_epochs IS NULL THEN 0
                  ELSE greatest(0, s.trial_epochs - e.epochs) END,
            seconds_issued = CASE WHEN s.max_seconds IS NULL THEN s.seconds_issued
                ELSE greatest(0, least(s.max_seconds, s.seconds_issued + e.due)) END
        FROM ended e
        WHERE s.id = e.study_id AND (s.max_epochs IS NOT NULL OR s.max_seconds IS NOT NULL)
    )
    SELECT e.study_id, s.state = 'active' AND (
        s.issued >= s.max_trials OR num_nonnulls(s.max_epochs, s.max_seconds, s.deadline,
            s.spec -> 'budget' ->> 'target', s.spec -> 'budget' ->> 'patience') > 0
    ) AS may_be_done
    FROM ended e JOIN tuner.studies s ON s.id = e.study_id
""")

_SET_ATTRIBUTE = {
    "user_attrs": text("""
        UPDATE tuner.trials
        SET user_attrs = user_attrs || CAST(:attr AS jsonb), changed = pg_current_xact_id()
        WHERE id = :id AND state IN ('waiting', 'running')
        RETURNING id
    """),
    "system_attrs": text("""
        UPDATE tuner.trials
        SET system_attrs = system_attrs || CAST(:attr AS jsonb), changed = pg_current_xact_id()
        WHERE id = :id AND state IN ('waiting', 'running')
        RETURNING id
    """),
}

# The lock waits for a transaction that ends the trial: readers would miss a report after that.
_REPORT = text("""
    WITH asynchronous AS MATERIALIZED (
        SELECT set_config('synchronous_commit', 'off', TRUE)
    ), locked AS (
        SELECT t.id FROM tuner.trials t, asynchronous
        WHERE t.id = :id AND t.state IN ('waiting', 'running')
        FOR NO KEY UPDATE OF t
    )
    INSERT INTO tuner.reports (trial_id, step, value) SELECT id, :step, :value FROM locked
    ON CONFLICT (trial_id, step) DO UPDATE SET value = excluded.value
    RETURNING trial_id
""")

_STATE = text("SELECT state FROM tuner.trials WHERE id = :id")


NO_REPORTS: Mapping[int, float] = MappingProxyType({})


class LockedTrial(NamedTuple):
    """A trial whose row this transaction has locked."""

    id: int
    study_id: int
    state: TrialState
    params: list[float]
    distributions: Distributions


def create(
    connection: Connection,
    study_id: int,
    state: TrialState,
    *,
    params: Sequence[float] = (),
    distributions: Distributions = (),
    values: Sequence[float] | None = None,
    reports: Mapping[int, float] | None = None,
    user_attrs: Mapping[str, Any] | None = None,
    system_attrs: Mapping[str, Any] | None = None,
    started_at: datetime | None = None,
    finished_at: datetime | None = None,
    starts_now: bool = False,
) -> int | None:
    """Add a trial as it is; returns its id.

    None if there is no such study or it gives no trial: every trial but a waiting one takes a unit
    of the budget, and a running one only starts if a claim would get something.
    """
    row = connection.execute(
        _CREATE,
        {
            "study": study_id,
            "state": str(state),
            "space": spaces.ensure(connection, study_id, distributions) if distributions else None,
            "params": list(params),
            "values": None if values is None else list(values),
            "user_attrs": attributes.encode(user_attrs or {}),
            "system_attrs": attributes.encode(system_attrs or {}),
            "started_at": started_at,
            "finished_at": finished_at,
            "now": starts_now,
            "units": int(state is not TrialState.WAITING),
            "starts": state is TrialState.RUNNING,
        },
    ).one_or_none()
    if row is None:
        return None
    if reports:
        connection.execute(
            _REPORTS,
            {"id": row.id, "steps": list(reports), "values": list(reports.values())},
        )
    return int(row.id)


def lock(connection: Connection, trial_id: int) -> LockedTrial | None:
    """Lock a trial's row until the end of the transaction; None if there is none."""
    row = connection.execute(_LOCK, {"id": trial_id}).one_or_none()
    if row is None:
        return None
    return LockedTrial(
        id=row.id,
        study_id=row.study_id,
        state=TrialState(row.state),
        params=row.params,
        distributions=json.loads(row.distributions) if row.distributions else [],
    )


def study_distributions(connection: Connection, study_id: int) -> dict[str, dict[str, Any]]:
    """Read every parameter that any trial of the study had, with one of its distributions."""
    by_name: dict[str, dict[str, Any]] = {}
    for row in connection.execute(_STUDY_SPACES, {"study": study_id}):
        by_name.update(json.loads(row.distributions))
    return by_name


def set_params(
    connection: Connection,
    locked: LockedTrial,
    distributions: Distributions,
    params: Sequence[float],
) -> int:
    """Replace the parameters of a locked trial; returns the id of their space."""
    space = spaces.ensure(connection, locked.study_id, distributions)
    connection.execute(_SET_PARAMS, {"id": locked.id, "space": space, "params": list(params)})
    return space


def add_param(
    connection: Connection,
    trial_id: int,
    *,
    known: tuple[int | None, Sequence[float]],
    space: int,
    params: Sequence[float],
) -> bool:
    """Set all parameters of an open trial, if its space and values are still the `known` ones.

    Not flushed: the trial's end flushes it.
    """
    arguments = {
        "id": trial_id,
        "known_space": known[0],
        "known_params": list(known[1]),
        "space": space,
        "params": list(params),
    }
    return connection.execute(_ADD_PARAM, arguments).one_or_none() is not None


def start(connection: Connection, trial_id: int) -> bool:
    """Start a waiting trial; False if it does not wait, or if its study gives none now."""
    return connection.execute(_START, {"id": trial_id}).one_or_none() is not None


def requeue(connection: Connection, trial_id: int) -> bool:
    """Put an open trial back in the queue; False if it is not open."""
    return connection.execute(_REQUEUE, {"id": trial_id}).one_or_none() is not None


class EndedTrial(NamedTuple):
    """A trial that has ended, and whether its study may have no more to give."""

    study_id: int
    may_be_done: bool


def end(
    connection: Connection,
    trial_id: int,
    state: TrialState,
    values: Sequence[float] | None,
    *,
    space: int | None = None,
    params: Sequence[float] = (),
    reports: Mapping[int, float] = NO_REPORTS,
) -> EndedTrial | None:
    """End an open trial and give back what it did not use; None if it is not open.

    `space`, `params` and `reports` are what the caller knows the trial to have.
    """
    arguments = {
        "id": trial_id,
        "state": str(state),
        "values": None if values is None else list(values),
        "space": space,
        "params": list(params),
        "steps": list(reports),
        "reported": list(reports.values()),
        "reached": max((len(reports), *reports)),
    }
    row = connection.execute(_END, arguments).one_or_none()
    return None if row is None else EndedTrial(row.study_id, bool(row.may_be_done))


def set_attribute(connection: Connection, trial_id: int, column: str, key: str, value: Any) -> bool:
    """Set one of `user_attrs` or `system_attrs` of an open trial; False if it is not open."""
    arguments = {"id": trial_id, "attr": attributes.encode({key: value})}
    return connection.execute(_SET_ATTRIBUTE[column], arguments).one_or_none() is not None


def report(connection: Connection, trial_id: int, step: int, value: float) -> bool:
    """Set the report of a step of an open trial, unflushed; False if it is not open."""
    arguments = {"id": trial_id, "step": step, "value": value}
    return connection.execute(_REPORT, arguments).one_or_none() is not None


def state_of(connection: Connection, trial_id: int) -> TrialState | None:
    """Read the state of a trial; None if there is no such trial."""
    state = connection.execute(_STATE, {"id": trial_id}).scalar_one_or_none()
    return None if state is None else TrialState(state)
