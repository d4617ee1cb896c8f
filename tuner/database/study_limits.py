"""Changing a study's limits while its trials run: a transaction during which nobody claims."""

import json
import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from tuner.database.driver_errors import sqlstate
from tuner.errors import StudyNotFoundError
from tuner.trials import Limits

LOCK_PAUSE = 0.01  # seconds before a lock that another transaction has is tried again
_LOCK_NOT_AVAILABLE = "55P03"

# A change of the limits locks the study, so that nobody claims, and all its open and paused trials.
# Statements
# that end a trial lock the trial first and then the study. So does this; but trials that were
# claimed before it had the study it may only try to lock: their workers may be waiting for it.
_LOCK_OPEN = """
    SELECT FROM tuner.trials WHERE study_id = :id AND state IN ('waiting', 'running', 'paused')
    ORDER BY id FOR UPDATE
"""
_LOCKS = [
    text(_LOCK_OPEN),
    text("SELECT FROM tuner.studies WHERE id = :id FOR UPDATE"),
    text(_LOCK_OPEN + " NOWAIT"),
]
# If epochs or seconds were not counted before, what each trial has used of them is counted now; a
# running one pays for what it has used of its lease with the next renewal.
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
# What is given out cannot be taken back, so no specification says less than that.
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


def set_limits(
    connection: Connection, study_id: int, limits: Limits, spec: Mapping[str, Any] | None
) -> None:
    """Change the limits from the next claim on; a budget never falls below what is given out.

    The stored specification then holds these budgets. Needs a transaction. StudyNotFoundError if
    there is no such study.
    """
    arguments = {
        "id": study_id,
        "spec": None if spec is None else json.dumps(spec, allow_nan=False),
        **limit_arguments(limits),
    }
    while not _lock(connection, study_id):
        time.sleep(LOCK_PAUSE)
    connection.execute(_COUNT, arguments)
    if connection.execute(_SET_LIMITS, arguments).one_or_none() is None:
        raise StudyNotFoundError(f"there is no study with the id {study_id}")


def _lock(connection: Connection, study_id: int) -> bool:
    """Lock a study and its open trials; False, with nothing locked, if another one was faster."""
    try:
        with connection.begin_nested():
            for lock in _LOCKS:
                connection.execute(lock, {"id": study_id})
    except OperationalError as error:
        if sqlstate(error) != _LOCK_NOT_AVAILABLE:
            raise
        return False
    return True


def limit_arguments(limits: Limits) -> dict[str, Any]:
    """Return the limits as arguments of the statements that store them."""
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
