"""Studies: making them, finding them, and the conditional changes of their state.

Functions take a connection and never commit; the caller's `transaction()` or `statement()` does.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import IntegrityError, OperationalError

from tuner.database import attributes
from tuner.database.failures import sqlstate
from tuner.errors import StudyExistsError, StudyNotFoundError
from tuner.study_file.code import OWN
from tuner.study_file.messages import listed, nearest, quoted
from tuner.study_file.study import Budget
from tuner.trials import NO_LABELS, Direction, Limits, Study, StudyState

UNLIMITED = Limits()
FIRST_FAILURES = 2  # alike, with which a study of own code begins, are enough to pause it
LOCK_PAUSE = 0.01  # seconds before what somebody else has locked is tried again
_LOCK_NOT_AVAILABLE = "55P03"

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
_ACTIVE = text("""
    SELECT id, name, family, revision FROM tuner.studies
    WHERE state = 'active' AND spec IS NOT NULL AND labels <@ CAST(:labels AS jsonb) ORDER BY id
""")

# A claim reserves a lease's seconds, or what is left if that is this much: a tenth of the budget
# where that is shorter than a lease. Less would be spent on beginning and stopping.
_SECONDS_LEFT = """
    (s.max_seconds IS NULL
     OR s.max_seconds - s.seconds_issued >= least(:lease, s.max_seconds / 10))
"""
# Begun trials that wait have their unit of the budget; it is epochs that they may lack.
_MAY_GO_ON = """
    EXISTS (
        SELECT FROM tuner.trials t
        WHERE t.study_id = s.id AND t.state = 'waiting' AND t.started_at IS NOT NULL
          AND (s.max_epochs IS NULL
               OR s.trial_epochs - coalesce(t.epochs, 0) <= s.max_epochs - s.epochs_issued)
    )
"""

# Who is served next: the higher priority; then who has the fewest trials running, which is how
# devices are shared; then who has waited longest, for where there is one device alone.
_IN_TURN = text(f"""
    SELECT s.id FROM tuner.studies s, LATERAL (
        SELECT count(*) AS running FROM tuner.trials t
        WHERE t.study_id = s.id AND t.state = 'running'
    ) t
    WHERE s.id = ANY(:ids) AND s.state = 'active' AND s.labels <@ CAST(:labels AS jsonb)
      AND (s.deadline IS NULL OR clock_timestamp() < s.deadline)
      AND (s.max_concurrent IS NULL OR t.running < s.max_concurrent)
      AND {_SECONDS_LEFT}
      AND (((s.max_trials IS NULL OR s.issued < s.max_trials)
            AND (s.max_epochs IS NULL OR s.epochs_issued + s.trial_epochs <= s.max_epochs))
           OR {_MAY_GO_ON})
    ORDER BY s.priority DESC, t.running, s.claimed_at NULLS FIRST, s.id
""")  # noqa: S608 - constants

_SET_STATE = text("""
    UPDATE tuner.studies
    SET state = CAST(:state AS text), reason = :reason,
        finished_at = CASE WHEN CAST(:state AS text) IN ('finished', 'stopped')
                      THEN clock_timestamp() END
    WHERE id = :id AND state = ANY(:allowed)
    RETURNING id, pg_notify('tuner_work', CAST(id AS text))
""")

# Which budget gives no trial any more, not even one that was interrupted: as a study file names it.
_USED_UP = f"""
    CASE WHEN (s.issued >= s.max_trials OR s.epochs_issued > s.max_epochs - s.trial_epochs)
              AND NOT {_MAY_GO_ON}
         THEN CASE WHEN s.issued >= s.max_trials AND NOT EXISTS (
             SELECT FROM tuner.trials t
             WHERE t.study_id = s.id AND t.state = 'waiting' AND t.started_at IS NOT NULL
         ) THEN 'trials' ELSE 'total_epochs' END
         WHEN NOT {_SECONDS_LEFT} THEN 'gpu_seconds'
         WHEN clock_timestamp() >= s.deadline THEN 'hours'
    END
"""
_WHICH_IS_USED_UP = text(
    f"SELECT {_USED_UP} FROM tuner.studies s WHERE s.id = :id"  # noqa: S608 - constants
)

# A study is finished when a budget is used up and nothing of it runs. Two workers that finish its
# last two trials at once may each still see the other's as running; the next claim that gets
# nothing asks again.
_FINISH_IF_DONE = text(f"""
    UPDATE tuner.studies s
    SET state = 'finished', finished_at = clock_timestamp(), reason = CASE {_USED_UP}
        WHEN 'trials' THEN CASE WHEN max_trials = 1 THEN 'its only trial is done'
            ELSE 'all ' || max_trials || ' trials are done' END
        WHEN 'total_epochs' THEN
            'its ' || max_epochs || CASE WHEN max_epochs = 1 THEN ' epoch is' ELSE ' epochs are' END
            || ' used up' || CASE
                WHEN epochs_issued = max_epochs THEN ''
                ELSE ' but for ' || max_epochs - epochs_issued || ', too few for another trial' END
        WHEN 'gpu_seconds' THEN
            'its ' || max_seconds || CASE WHEN max_seconds = 1 THEN ' GPU second is'
                ELSE ' GPU seconds are' END || ' used up' || CASE
                WHEN max_seconds - seconds_issued < 0.05 THEN ''
                ELSE ' but for '
                    || trim_scale(round(CAST(max_seconds - seconds_issued AS numeric), 1))
                    || ', too few for another trial' END
        ELSE 'its hours are used up' END
    WHERE id = ANY(:ids) AND state = 'active' AND {_USED_UP} IS NOT NULL
      AND NOT EXISTS (SELECT FROM tuner.trials t WHERE t.study_id = s.id AND t.state = 'running')
    RETURNING id, pg_notify('tuner_work', CAST(id AS text))
""")  # noqa: S608 - constants

# The same where there is nothing left to try: what waits is tried first.
_FINISH_IF_IDLE = text("""
    UPDATE tuner.studies s
    SET state = 'finished', finished_at = clock_timestamp(), reason = :reason
    WHERE id = :id AND state = 'active'
      AND NOT EXISTS (SELECT FROM tuner.trials t
                      WHERE t.study_id = s.id AND t.state IN ('waiting', 'running'))
    RETURNING id, pg_notify('tuner_work', CAST(id AS text))
""")

# Messages are alike where only numbers and addresses differ. Fewer than `most` are all there are:
# own code whose first trials fail alike is wrong, whatever the parameters are.
_PAUSE_IF_FAILING = text("""
    UPDATE tuner.studies s
    SET state = 'paused', reason = CASE
            WHEN l.trials = 1 THEN '1 trial failed ('
            WHEN l.trials < m.most THEN 'its first ' || l.trials || ' trials failed alike ('
            ELSE l.trials || ' trials in a row failed (' END
        || l.cause || '), the last: ' || coalesce(l.message, '?')
    FROM unnest(CAST(:ids AS bigint[])) AS failing(id)
    JOIN tuner.studies f ON f.id = failing.id,
    LATERAL (SELECT coalesce(CAST(f.spec -> 'budget' ->> 'max_failures' AS integer), 5) AS most) m,
    LATERAL (
        SELECT count(*) AS trials, count(DISTINCT cause) AS causes, min(cause) AS cause,
               bool_and(state = 'failed') AS failed,
               count(DISTINCT regexp_replace(
                   coalesce(message, ''),
                   '0x[0-9a-fA-F]+|-?[0-9][0-9.]*(e[-+]?[0-9]+)?', '#', 'g'
               )) AS messages,
               (array_agg(message ORDER BY finished_at DESC))[1] AS message
        FROM (
            SELECT state, cause, message, finished_at FROM tuner.trials t
            WHERE t.study_id = f.id AND t.finished_at IS NOT NULL
            ORDER BY finished_at DESC LIMIT m.most
        ) latest
    ) l
    WHERE s.id = f.id AND s.state = 'active'
      AND l.causes = 1 AND l.failed AND l.cause <> 'killed'
      AND (l.trials = m.most
           OR (f.family = ANY(:own) AND m.most <= :default AND l.trials >= :alike
               AND l.messages = 1))
    RETURNING s.id, pg_notify('tuner_work', CAST(s.id AS text))
""")

# A change of the limits needs the study, so that nobody claims, and all its open trials. Whoever
# ends a trial locks that first and the study then; so does this, but trials that are claimed before
# it has the study it may only try to lock: their workers may be waiting for it.
_LOCK_OPEN = """
    SELECT FROM tuner.trials WHERE study_id = :id AND state IN ('waiting', 'running')
    ORDER BY id FOR UPDATE
"""
_LOCKS = [
    text(_LOCK_OPEN),
    text("SELECT FROM tuner.studies WHERE id = :id FOR UPDATE"),
    text(_LOCK_OPEN + " NOWAIT"),
]
# Where epochs or seconds were not counted before, what each trial has had of them is found now; a
# running one pays what it has used of its lease with the next renewal.
_COUNT = text("""
    UPDATE tuner.trials t
    SET epochs = CASE
            WHEN CAST(:max_epochs AS bigint) IS NULL THEN NULL
            WHEN t.epochs IS NOT NULL THEN t.epochs
            WHEN t.state = 'running' OR (t.state = 'waiting' AND t.attempt > 0)
                THEN CAST(:trial_epochs AS integer)
            ELSE least(:trial_epochs, (
                SELECT coalesce(max(r.step), 0) FROM tuner.reports r WHERE r.trial_id = t.id
            )) END,
        paid_until = CASE WHEN CAST(:max_seconds AS double precision) IS NOT NULL
            AND t.state = 'running' THEN coalesce(t.paid_until, clock_timestamp()) END
    WHERE study_id = :id
      AND ((t.epochs IS NULL) <> (CAST(:max_epochs AS bigint) IS NULL)
           OR (t.state = 'running' AND (t.paid_until IS NULL)
               <> (CAST(:max_seconds AS double precision) IS NULL)))
""")
# What is given out already cannot be taken back, so no specification says less.
_SET_LIMITS = text("""
    UPDATE tuner.studies s
    SET issued = greatest(issued, used.trials),
        max_trials = CASE WHEN CAST(:max_trials AS integer) IS NOT NULL
            THEN greatest(:max_trials, issued, used.trials) END,
        deadline = created_at + CAST(:hours AS double precision) * interval '1 hour',
        epochs_issued = used.epochs, seconds_issued = used.seconds,
        max_epochs = CASE WHEN CAST(:max_epochs AS bigint) IS NOT NULL
            THEN greatest(:max_epochs, used.epochs) END,
        max_seconds = CASE WHEN CAST(:max_seconds AS double precision) IS NOT NULL
            THEN greatest(:max_seconds, used.seconds) END,
        priority = :priority, max_concurrent = CAST(:max_concurrent AS integer),
        labels = CAST(:labels AS jsonb), revision = revision + 1,
        spec = CAST(:spec AS jsonb) || CASE
            WHEN CAST(:spec AS jsonb) ? 'budget' THEN jsonb_build_object(
                'budget', CAST(:spec AS jsonb) -> 'budget' || (
                    SELECT coalesce(jsonb_object_agg(name, issued), '{}')
                    FROM (VALUES
                        ('trials', CAST(:max_trials AS double precision),
                         CAST(greatest(s.issued, used.trials) AS double precision)),
                        ('total_epochs', :max_epochs, used.epochs),
                        ('gpu_seconds', :max_seconds, used.seconds)
                    ) AS budget(name, given, issued) WHERE given < issued
                )) ELSE '{}' END
    FROM (
        SELECT count(*) FILTER (WHERE started_at IS NOT NULL OR state IN ('complete', 'pruned'))
                   AS trials,
               coalesce(sum(epochs), 0) AS epochs,
               coalesce(sum(seconds + CASE WHEN state = 'running' THEN
                   coalesce(extract(epoch FROM paid_until - started_at), 0) ELSE 0 END), 0)
               AS seconds
        FROM tuner.trials WHERE study_id = :id
    ) used
    WHERE id = :id
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
                    **_arguments(limits),
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


def of_experiment(connection: Connection, experiment: str) -> list[Study]:
    """The studies of an experiment, the oldest first; none where there is no such experiment."""
    if not _storable(experiment):
        return []
    return [_study(row) for row in connection.execute(_OF_EXPERIMENT, {"experiment": experiment})]


class Active(NamedTuple):
    """What a worker asks again and again of a study that it may serve."""

    id: int
    name: str
    family: str
    revision: int  # grows when specification or limits change


def active(connection: Connection, *, labels: Mapping[str, str] = NO_LABELS) -> list[Active]:
    """The studies that workers with these labels serve, the oldest first."""
    rows = connection.execute(_ACTIVE, {"labels": json.dumps(dict(labels))})
    return [Active._make(row) for row in rows]


def in_turn(
    connection: Connection, ids: Sequence[int], *, labels: Mapping[str, str], lease: float
) -> list[int]:
    """Those of these studies that may have a trial to give, whose turn it is first.

    `lease`: the seconds that a claim would reserve.
    """
    arguments = {"ids": list(ids), "labels": json.dumps(dict(labels)), "lease": lease}
    return list(connection.execute(_IN_TURN, arguments).scalars())


def by_name(connection: Connection, name: str) -> Study:
    """The study of that name; StudyNotFoundError, with the nearest name, without one."""
    row = None
    if _storable(name):
        row = connection.execute(_BY_NAME, {"name": name}).one_or_none()
    if row is None:
        close = nearest(name, names(connection))
        hint = "`tuner list` shows them" if close is None else f"did you mean {quoted(close)}?"
        if parts := of_experiment(connection, name):
            hint = f"it is an experiment: name one of {listed([part.name for part in parts])}"
        raise StudyNotFoundError(f"there is no study named {quoted(name)}; {hint}")
    return _study(row)


def _storable(name: str) -> bool:
    """Whether PostgreSQL can hold the name at all."""
    return "\0" not in name and not any("\ud800" <= c <= "\udfff" for c in name)


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


def finish_if_done(connection: Connection, ids: Sequence[int], *, lease: float) -> list[int]:
    """Finish those of the studies of which nothing runs and whose budgets give no trial any more.

    Returns their ids. `lease`: the seconds that a claim would reserve.
    """
    arguments = {"ids": list(ids), "lease": lease}
    return list(connection.execute(_FINISH_IF_DONE, arguments).scalars())


def finish_if_idle(connection: Connection, study_id: int, reason: str) -> bool:
    """Finish a study in which there is nothing left to try, unless a trial of it waits or runs."""
    arguments = {"id": study_id, "reason": reason}
    return connection.execute(_FINISH_IF_IDLE, arguments).one_or_none() is not None


def used_up(connection: Connection, study_id: int, *, lease: float) -> str | None:
    """The budget that gives no trial any more, as `budget.…` names it; None if all of them do.

    `lease`: the seconds that a claim would reserve.
    """
    row = connection.execute(_WHICH_IS_USED_UP, {"id": study_id, "lease": lease}).one_or_none()
    return None if row is None else row[0]


def pause_if_failing(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Pause those active studies whose last trials all failed from the same cause.

    How many that takes, `budget.max_failures` says; unless that is raised, of own code it takes
    the first `FIRST_FAILURES` with the same message. Returns the ids.
    """
    arguments = {
        "ids": list(ids),
        "own": list(OWN),
        "default": Budget().max_failures,
        "alike": FIRST_FAILURES,
    }
    return list(connection.execute(_PAUSE_IF_FAILING, arguments).scalars())


def set_limits(
    connection: Connection, study_id: int, limits: Limits, spec: Mapping[str, Any] | None
) -> None:
    """Change the limits, from the next claim on; a budget never falls below what is given out.

    The stored specification says what the budgets are then. Needs a transaction.
    StudyNotFoundError without such a study.
    """
    arguments = {
        "id": study_id,
        "spec": None if spec is None else json.dumps(spec, allow_nan=False),
        **_arguments(limits),
    }
    while not _locked(connection, study_id):
        time.sleep(LOCK_PAUSE)
    connection.execute(_COUNT, arguments)
    if connection.execute(_SET_LIMITS, arguments).one_or_none() is None:
        raise StudyNotFoundError(f"there is no study with the id {study_id}")


def _locked(connection: Connection, study_id: int) -> bool:
    """Lock a study and its open trials; False, with nothing locked, if somebody was faster."""
    try:
        with connection.begin_nested():
            for lock in _LOCKS:
                connection.execute(lock, {"id": study_id})
    except OperationalError as error:
        if sqlstate(error) != _LOCK_NOT_AVAILABLE:
            raise
        return False
    return True


def _arguments(limits: Limits) -> dict[str, Any]:
    return {
        "max_trials": limits.max_trials,
        "hours": limits.hours,
        "max_epochs": limits.max_epochs,
        "max_seconds": limits.max_seconds,
        "trial_epochs": limits.trial_epochs,
        "priority": limits.priority,
        "max_concurrent": limits.max_concurrent,
        "labels": json.dumps(dict(limits.labels)),
    }


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
