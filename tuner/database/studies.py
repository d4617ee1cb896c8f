"""Studies: making, finding and deleting them, and the conditional change of their state.

Functions take a connection and never commit; the caller's `transaction()` or `statement()` does.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import IntegrityError

from tuner.database import attributes
from tuner.database.storable_text import is_storable
from tuner.database.study_limits import limit_arguments
from tuner.errors import StudyExistsError, StudyNotFoundError
from tuner.study_file.messages import listed, nearest, quoted
from tuner.trials import Direction, Limits, Study, StudyState

UNLIMITED = Limits()

_CREATE = text("""
    INSERT INTO tuner.studies
        (name, family, spec, fingerprint, directions, metrics, max_trials, deadline, max_epochs,
         max_seconds, trial_epochs, priority, max_concurrent, labels, system_attrs, launched_by,
         experiment)
    VALUES
        (:name, :family, CAST(:spec AS jsonb), :fingerprint, :directions, :metrics, :max_trials,
         clock_timestamp() + CAST(:hours AS double precision) * interval '1 hour', :max_epochs,
         :max_seconds, :trial_epochs, :priority, :max_concurrent, CAST(:labels AS jsonb),
         CAST(:system_attrs AS jsonb), :launched_by, :experiment)
    RETURNING id, pg_notify('tuner_work', CAST(id AS text))
""")

_SELECT = """
    SELECT id, name, state, reason, family, spec, fingerprint, directions, metrics, max_trials,
           issued, max_epochs, epochs_issued, max_seconds, seconds_issued, priority, max_concurrent,
           labels, revision, user_attrs, system_attrs, created_at, finished_at, launched_by,
           experiment
    FROM tuner.studies
"""
_ALL = text(_SELECT + "ORDER BY id")
_BY_NAME = text(_SELECT + "WHERE name = :name")
_OF_EXPERIMENT = text(_SELECT + "WHERE experiment = :experiment ORDER BY id")
_NAMES = text("SELECT name FROM tuner.studies ORDER BY id")
_BY_ID = text(_SELECT + "WHERE id = :id")

_SET_STATE = text("""
    UPDATE tuner.studies
    SET state = CAST(:state AS text), reason = :reason,
        finished_at = CASE WHEN CAST(:state AS text) IN ('finished', 'stopped')
                      THEN clock_timestamp() END
    WHERE id = :id AND state = ANY(:allowed)
    RETURNING id, pg_notify('tuner_work', CAST(id AS text))
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
    limits: Limits = UNLIMITED,
    system_attrs: Mapping[str, Any] | None = None,
    launched_by: str | None = None,
    experiment: str | None = None,
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
                    "system_attrs": attributes.encode(system_attrs or {}),
                    "launched_by": launched_by,
                    "experiment": experiment,
                    **limit_arguments(limits),
                },
            ).one()
    except IntegrityError as error:
        if "studies_name_key" not in str(error.orig):
            raise
        raise StudyExistsError(f"a study named {quoted(name)} exists already") from None
    return int(row.id)


def list_all(connection: Connection) -> list[Study]:
    """List all studies, the oldest first."""
    return [_study(row) for row in connection.execute(_ALL)]


def of_experiment(connection: Connection, experiment: str) -> list[Study]:
    """List the studies of an experiment, the oldest first; none if there is no such one."""
    if not is_storable(experiment):
        return []
    return [_study(row) for row in connection.execute(_OF_EXPERIMENT, {"experiment": experiment})]


def by_name(connection: Connection, name: str) -> Study:
    """Find the study of that name; StudyNotFoundError, with the nearest name, if there is none."""
    row = None
    if is_storable(name):
        row = connection.execute(_BY_NAME, {"name": name}).one_or_none()
    if row is None:
        close = nearest(name, names(connection))
        hint = "`tuner list` shows them" if close is None else f"did you mean {quoted(close)}?"
        if parts := of_experiment(connection, name):
            hint = f"it is an experiment: name one of {listed([part.name for part in parts])}"
        raise StudyNotFoundError(f"there is no study named {quoted(name)}; {hint}")
    return _study(row)


def names(connection: Connection) -> list[str]:
    """List the names of all studies, the oldest first."""
    return [row.name for row in connection.execute(_NAMES)]


def by_id(connection: Connection, study_id: int) -> Study:
    """Find the study of that id; StudyNotFoundError if there is none."""
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
    """Change the state if it is one of `allowed`; False if it was not: another one was faster."""
    row = connection.execute(
        _SET_STATE,
        {"id": study_id, "state": state, "reason": reason, "allowed": [str(s) for s in allowed]},
    ).one_or_none()
    return row is not None


def set_attribute(connection: Connection, study_id: int, column: str, key: str, value: Any) -> None:
    """Set one of `user_attrs` or `system_attrs`."""
    row = connection.execute(
        _SET_ATTRIBUTE[column], {"id": study_id, "attr": attributes.encode({key: value})}
    ).one_or_none()
    if row is None:
        raise StudyNotFoundError(f"there is no study with the id {study_id}")


def delete(connection: Connection, study_id: int) -> None:
    """Delete a study with its trials and reports, forever."""
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
        max_epochs=row.max_epochs,
        epochs_issued=row.epochs_issued,
        max_seconds=row.max_seconds,
        seconds_issued=row.seconds_issued,
        priority=row.priority,
        max_concurrent=row.max_concurrent,
        labels=row.labels,
        revision=row.revision,
        data_fingerprint=row.fingerprint,
        created_at=row.created_at,
        finished_at=row.finished_at,
        launched_by=row.launched_by,
        experiment=row.experiment,
        user_attrs=attributes.decode(row.user_attrs),
        system_attrs=attributes.decode(row.system_attrs),
    )
