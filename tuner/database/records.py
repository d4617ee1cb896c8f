"""Single writes of trials without a lease: what Optuna's own API does from a notebook.

Workers never use these: they write with a lease and a fence (`trials.py`). Functions take a
connection and never commit. The usual write is one statement that matches an open trial alone and
says whether it did; what has to read before it writes locks the trial's row.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from tuner.database import attributes, spaces
from tuner.trials import TrialState

Distributions = Sequence[tuple[str, dict[str, Any]]]

_CREATE = text("""
    WITH numbered AS (
        UPDATE tuner.studies SET next_number = next_number + 1 WHERE id = :study
        RETURNING next_number
    )
    INSERT INTO tuner.trials (study_id, number, state, space_id, params, objective_values,
                              user_attrs, system_attrs, started_at, finished_at)
    SELECT :study, next_number - 1, :state, CAST(:space AS bigint),
           CAST(:params AS double precision[]), CAST(:values AS double precision[]),
           CAST(:user_attrs AS jsonb), CAST(:system_attrs AS jsonb),
           CASE WHEN :now THEN clock_timestamp() ELSE CAST(:started_at AS timestamptz) END,
           CAST(:finished_at AS timestamptz)
    FROM numbered
    RETURNING id
""")

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

# Known to the caller: what the trial has so far. It may be another process's trial as well.
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

_SET_STATE = text("""
    UPDATE tuner.trials
    SET state = :state, changed = pg_current_xact_id(),
        objective_values = coalesce(CAST(:values AS double precision[]), objective_values),
        started_at = CASE WHEN :state = 'running' THEN clock_timestamp() ELSE started_at END,
        finished_at = CASE WHEN :finished THEN clock_timestamp() ELSE finished_at END
    WHERE id = :id AND state = ANY(:allowed)
    RETURNING id
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

# The lock waits for whoever ends the trial just now: readers would miss a report that comes later.
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


class Locked(NamedTuple):
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
    """Add a trial as it is given; returns its id, None if there is no such study."""
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


def lock(connection: Connection, trial_id: int) -> Locked | None:
    """Lock a trial's row until the end of the transaction; None if there is none."""
    row = connection.execute(_LOCK, {"id": trial_id}).one_or_none()
    if row is None:
        return None
    return Locked(
        id=row.id,
        study_id=row.study_id,
        state=TrialState(row.state),
        params=row.params,
        distributions=json.loads(row.distributions) if row.distributions else [],
    )


def study_distributions(connection: Connection, study_id: int) -> dict[str, dict[str, Any]]:
    """Every parameter that any trial of the study has had, with one of its distributions."""
    found: dict[str, dict[str, Any]] = {}
    for row in connection.execute(_STUDY_SPACES, {"study": study_id}):
        found.update(json.loads(row.distributions))
    return found


def set_params(
    connection: Connection, locked: Locked, distributions: Distributions, params: Sequence[float]
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
    """Set all parameters of an open trial, if its space and values are `known` so far.

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


def set_state(
    connection: Connection,
    trial_id: int,
    state: TrialState,
    values: Sequence[float] | None,
    *,
    allowed: Sequence[TrialState],
) -> bool:
    """Set state, values and the times that follow, if the state is one of `allowed` so far."""
    arguments = {
        "id": trial_id,
        "state": str(state),
        "values": None if values is None else list(values),
        "finished": state.is_finished,
        "allowed": [str(s) for s in allowed],
    }
    return connection.execute(_SET_STATE, arguments).one_or_none() is not None


def set_attribute(connection: Connection, trial_id: int, column: str, key: str, value: Any) -> bool:
    """Set one of `user_attrs` or `system_attrs` of an open trial; False if it is not open."""
    arguments = {"id": trial_id, "attr": attributes.encode({key: value})}
    return connection.execute(_SET_ATTRIBUTE[column], arguments).one_or_none() is not None


def report(connection: Connection, trial_id: int, step: int, value: float) -> bool:
    """Set the report of a step of an open trial, unflushed; False if it is not open."""
    arguments = {"id": trial_id, "step": step, "value": value}
    return connection.execute(_REPORT, arguments).one_or_none() is not None


def state_of(connection: Connection, trial_id: int) -> TrialState | None:
    """The state of a trial; None if there is none."""
    found = connection.execute(_STATE, {"id": trial_id}).scalar_one_or_none()
    return None if found is None else TrialState(found)
