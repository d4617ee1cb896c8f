"""Studies: making them, finding them, and the conditional changes of their state.

Functions take a connection and never commit; the caller's `transaction()` or `statement()` does.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import IntegrityError

from tuner.database import attributes
from tuner.errors import StudyExistsError, StudyNotFoundError
from tuner.spec.words import nearest, quoted
from tuner.trials import Direction, Study, StudyState

_CREATE = text("""
    INSERT INTO tuner.studies
        (name, family, spec, fingerprint, directions, metrics, max_trials, deadline, system_attrs)
    VALUES
        (:name, :family, CAST(:spec AS jsonb), :fingerprint, :directions, :metrics, :max_trials,
         clock_timestamp() + CAST(:hours AS double precision) * interval '1 hour',
         CAST(:system_attrs AS jsonb))
    RETURNING id, pg_notify('tuner_work', CAST(id AS text))
""")

_SELECT = """
    SELECT id, name, state, reason, family, spec, fingerprint, directions, metrics, max_trials,
           issued, user_attrs, system_attrs, created_at, finished_at
    FROM tuner.studies
"""
_ALL = text(_SELECT + "ORDER BY id")
_BY_NAME = text(_SELECT + "WHERE name = :name")
_NAMES = text("SELECT name FROM tuner.studies ORDER BY id")
_BY_ID = text(_SELECT + "WHERE id = :id")
_ACTIVE = text(_SELECT + "WHERE state = 'active' AND spec IS NOT NULL ORDER BY id")

_SET_STATE = text("""
    UPDATE tuner.studies
    SET state = CAST(:state AS text), reason = :reason,
        finished_at = CASE WHEN CAST(:state AS text) IN ('finished', 'stopped')
                      THEN clock_timestamp() END
    WHERE id = :id AND state = ANY(:allowed)
    RETURNING id, pg_notify('tuner_work', CAST(id AS text))
""")

# A study whose budget is given out is finished when nothing of it runs or waits any more. Two
# workers that finish its last two trials at once may each still see the other's as running; the
# next claim that gets nothing asks again.
_FINISH_IF_DONE = text("""
    UPDATE tuner.studies s
    SET state = 'finished', finished_at = clock_timestamp(),
        reason = CASE WHEN issued >= max_trials
                 THEN 'all ' || max_trials || ' trials are done' ELSE 'its hours are used up' END
    WHERE id = :id AND state = 'active'
      AND ((issued >= max_trials
            AND NOT EXISTS (SELECT FROM tuner.trials t WHERE t.study_id = s.id
                            AND t.state = 'waiting' AND t.attempt > 0))
           OR clock_timestamp() >= deadline)
      AND NOT EXISTS (SELECT FROM tuner.trials t WHERE t.study_id = s.id AND t.state = 'running')
    RETURNING reason, pg_notify('tuner_work', CAST(id AS text))
""")

_PAUSE_IF_FAILING = text("""
    WITH latest AS (
        SELECT state, cause, message FROM tuner.trials
        WHERE study_id = :id AND finished_at IS NOT NULL
        ORDER BY finished_at DESC LIMIT :limit
    )
    UPDATE tuner.studies
    SET state = 'paused',
        reason = :limit || ' trials in a row failed (' ||
                 (SELECT min(cause) FROM latest) || '), the last: ' ||
                 coalesce((SELECT message FROM latest LIMIT 1), '?')
    WHERE id = :id AND state = 'active'
      AND (SELECT count(*) = :limit AND count(DISTINCT cause) = 1 AND bool_and(state = 'failed')
           FROM latest)
    RETURNING reason, pg_notify('tuner_work', CAST(id AS text))
""")

_SET_BUDGET = text("""
    UPDATE tuner.studies
    SET max_trials = greatest(CAST(:max_trials AS integer), issued),
        deadline = created_at + CAST(:hours AS double precision) * interval '1 hour',
        spec = CAST(:spec AS jsonb)
    WHERE id = :id
    RETURNING max_trials, pg_notify('tuner_work', CAST(id AS text))
""")

_SET_ATTRIBUTE = {
    "user_attrs": text("""
        UPDATE tuner.studies SET user_attrs = user_attrs || CAST(:attr AS jsonb)
        WHERE id = :id RETURNING id
    """),
    "system_attrs": text("""
        UPDATE tuner.studies SET system_attrs = system_attrs || CAST(:attr AS jsonb)
        WHERE id = :id RETURNING id
    """),
}

_DELETE = text("""
    DELETE FROM tuner.studies WHERE id = :id RETURNING pg_notify('tuner_work', CAST(id AS text))
""")


def create(
    connection: Connection,
    name: str,
    directions: Sequence[Direction],
    *,
    metrics: Sequence[str] = (),
    family: str | None = None,
    spec: Mapping[str, Any] | None = None,
    fingerprint: str | None = None,
    max_trials: int | None = None,
    hours: float | None = None,
    system_attrs: Mapping[str, Any] | None = None,
) -> int:
    """Insert a study; returns its id. StudyExistsError if the name is taken."""
    try:
        with connection.begin_nested() if connection.in_transaction() else connection.begin():
            row = connection.execute(
                _CREATE,
                {
                    "name": name,
                    "family": family,
                    "spec": None if spec is None else json.dumps(spec, allow_nan=False),
                    "fingerprint": fingerprint,
                    "directions": list(directions),
                    "metrics": list(metrics),
                    "max_trials": max_trials,
                    "hours": hours,
                    "system_attrs": attributes.encode(system_attrs or {}),
                },
            ).one()
    except IntegrityError as error:
        if "studies_name_key" not in str(error.orig):
            raise
        raise StudyExistsError(f"a study named {quoted(name)} exists already") from None
    return int(row.id)


def every(connection: Connection) -> list[Study]:
    """All studies, the oldest first."""
    return [_study(row) for row in connection.execute(_ALL)]


def active(connection: Connection) -> list[Study]:
    """The studies whose trials workers may claim."""
    return [_study(row) for row in connection.execute(_ACTIVE)]


def by_name(connection: Connection, name: str) -> Study:
    """The study of that name; StudyNotFoundError, with the nearest name, without one."""
    row = None
    if "\0" not in name and not any("\ud800" <= c <= "\udfff" for c in name):  # not to be stored
        row = connection.execute(_BY_NAME, {"name": name}).one_or_none()
    if row is None:
        close = nearest(name, names(connection))
        hint = "`tuner list` shows them" if close is None else f"did you mean {quoted(close)}?"
        raise StudyNotFoundError(f"there is no study named {quoted(name)}; {hint}")
    return _study(row)


def names(connection: Connection) -> list[str]:
    """The names of all studies, the oldest first."""
    return [row.name for row in connection.execute(_NAMES)]


def by_id(connection: Connection, study_id: int) -> Study:
    """The study of that id; StudyNotFoundError without one."""
    row = connection.execute(_BY_ID, {"id": study_id}).one_or_none()
    if row is None:
        raise StudyNotFoundError(f"there is no study with the id {study_id}")
    return _study(row)


def set_state(
    connection: Connection,
    study_id: int,
    state: StudyState,
    *,
    allowed: Sequence[StudyState],
    reason: str | None = None,
) -> bool:
    """Change the state if it is one of `allowed`; False where it was not (somebody was faster)."""
    row = connection.execute(
        _SET_STATE,
        {"id": study_id, "state": state, "reason": reason, "allowed": [str(s) for s in allowed]},
    ).one_or_none()
    return row is not None


def finish_if_done(connection: Connection, study_id: int) -> bool:
    """Finish an active study whose budget or hours are used up and of which nothing runs."""
    return connection.execute(_FINISH_IF_DONE, {"id": study_id}).one_or_none() is not None


def pause_if_failing(connection: Connection, study_id: int, limit: int) -> bool:
    """Pause an active study whose last `limit` trials all failed from the same cause."""
    row = connection.execute(_PAUSE_IF_FAILING, {"id": study_id, "limit": limit}).one_or_none()
    return row is not None


def set_budget(
    connection: Connection,
    study_id: int,
    *,
    max_trials: int | None,
    hours: float | None,
    spec: Mapping[str, Any],
) -> int | None:
    """Change the budget at once; it never falls below what is given out. Returns the new one."""
    row = connection.execute(
        _SET_BUDGET,
        {
            "id": study_id,
            "max_trials": max_trials,
            "hours": hours,
            "spec": json.dumps(spec, allow_nan=False),
        },
    ).one_or_none()
    if row is None:
        raise StudyNotFoundError(f"there is no study with the id {study_id}")
    return None if row.max_trials is None else int(row.max_trials)


def set_attribute(connection: Connection, study_id: int, column: str, key: str, value: Any) -> None:
    """Set one of `user_attrs` or `system_attrs`."""
    row = connection.execute(
        _SET_ATTRIBUTE[column], {"id": study_id, "attr": attributes.encode({key: value})}
    ).one_or_none()
    if row is None:
        raise StudyNotFoundError(f"there is no study with the id {study_id}")


def delete(connection: Connection, study_id: int) -> None:
    """Delete a study with its trials and reports, for good."""
    if connection.execute(_DELETE, {"id": study_id}).one_or_none() is None:
        raise StudyNotFoundError(f"there is no study with the id {study_id}")


def _study(row: Row[Any]) -> Study:
    return Study(
        id=row.id,
        name=row.name,
        state=StudyState(row.state),
        reason=row.reason,
        directions=tuple(row.directions),
        metrics=tuple(row.metrics),
        family=row.family,
        spec=row.spec,
        max_trials=row.max_trials,
        issued=row.issued,
        data_fingerprint=row.fingerprint,
        created_at=row.created_at,
        finished_at=row.finished_at,
        user_attrs=attributes.decode(row.user_attrs),
        system_attrs=attributes.decode(row.system_attrs),
    )
