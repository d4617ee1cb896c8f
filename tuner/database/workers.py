"""Workers: which there are, when they were last seen, and what they run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from tuner.trials import NO_LABELS

SEEN_WITHIN = 30.0  # seconds; a worker that was not seen for longer counts as gone

_REGISTER = text("""
    INSERT INTO tuner.workers (id, host, pid, slots, devices, version, labels)
    VALUES (:id, :host, :pid, :slots, :devices, :version, CAST(:labels AS jsonb))
    ON CONFLICT (id) DO NOTHING
""")
# Idle workers do this again and again: no disk should wait for it.
_HEARTBEAT = text("""
    WITH asynchronous AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', TRUE))
    UPDATE tuner.workers SET seen_at = clock_timestamp() FROM asynchronous WHERE id = :id
    RETURNING drain_at IS NOT NULL AS drain
""")
_DRAIN = text("""
    UPDATE tuner.workers SET drain_at = coalesce(drain_at, clock_timestamp())
    WHERE id = :id AND stopped_at IS NULL
    RETURNING pg_notify('tuner_work', '0')
""")
_STOP = text("UPDATE tuner.workers SET stopped_at = clock_timestamp() WHERE id = :id")
_ALIVE = text("""
    SELECT id, host, pid, slots, devices, version, labels, started_at, seen_at
    FROM tuner.workers
    WHERE stopped_at IS NULL AND seen_at > clock_timestamp() - :within * interval '1 second'
    ORDER BY started_at
""")

_RECENT = text("""
    SELECT id, host, pid, slots, devices, version, labels, started_at, seen_at, stopped_at,
           drain_at,
           seen_at > clock_timestamp() - :within * interval '1 second' AND stopped_at IS NULL
               AS alive
    FROM tuner.workers
    WHERE coalesce(stopped_at, seen_at) > clock_timestamp() - :hours * interval '1 hour'
    ORDER BY alive DESC, started_at DESC LIMIT :limit
""")
_RUNNING = text("""
    SELECT t.worker_id, t.study_id, s.name, t.number, t.attempt, t.started_at
    FROM tuner.trials t JOIN tuner.studies s ON s.id = t.study_id
    WHERE t.state = 'running' AND t.worker_id = ANY(:workers) ORDER BY t.started_at
""")


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A worker process as stored."""

    id: UUID
    host: str
    pid: int
    slots: int  # trials at once
    devices: tuple[str, ...]
    version: str
    labels: Mapping[str, str]
    started_at: datetime
    seen_at: datetime


def register(
    connection: Connection,
    worker_id: UUID,
    *,
    host: str,
    pid: int,
    slots: int,
    devices: Sequence[str],
    version: str,
    labels: Mapping[str, str] = NO_LABELS,
) -> None:
    """Register a worker."""
    connection.execute(
        _REGISTER,
        {
            "id": worker_id,
            "host": host,
            "pid": pid,
            "slots": slots,
            "devices": list(devices),
            "version": version,
            "labels": json.dumps(dict(labels)),
        },
    )


def record_heartbeat(connection: Connection, worker_id: UUID) -> bool:
    """Record that a worker is alive; returns whether somebody has asked it to stop."""
    return bool(connection.execute(_HEARTBEAT, {"id": worker_id}).scalar_one_or_none())


def drain(connection: Connection, worker_id: UUID) -> bool:
    """Ask a worker to stop, as a signal does; False if there is none, or it has stopped."""
    return connection.execute(_DRAIN, {"id": worker_id}).one_or_none() is not None


def record_stop(connection: Connection, worker_id: UUID) -> None:
    """Record that a worker has stopped by itself."""
    connection.execute(_STOP, {"id": worker_id})


def alive(connection: Connection, *, within: float = SEEN_WITHIN) -> list[WorkerRecord]:
    """List the workers that were seen in the last `within` seconds."""
    rows = connection.execute(_ALIVE, {"within": within})
    return [WorkerRecord(**_columns(row)) for row in rows]


def _columns(row: Row[Any]) -> dict[str, Any]:
    return {**row._mapping, "devices": tuple(row.devices)}


@dataclass(frozen=True, slots=True)
class RecentWorker(WorkerRecord):
    """A worker that is alive, or was recently."""

    stopped_at: datetime | None  # it stopped by itself
    drain_at: datetime | None  # somebody has asked it to stop
    alive: bool


@dataclass(frozen=True, slots=True)
class RunningTrial:
    """A trial that runs on a worker."""

    study_id: int
    study: str
    number: int
    attempt: int
    started_at: datetime | None


def recent(
    connection: Connection, *, within: float = SEEN_WITHIN, hours: float = 24, limit: int = 500
) -> list[RecentWorker]:
    """List the workers of the last hours, living ones first."""
    rows = connection.execute(_RECENT, {"within": within, "hours": hours, "limit": limit})
    return [RecentWorker(**_columns(row)) for row in rows]


def running(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, list[RunningTrial]]:
    """List the trials that run on these workers, the oldest first."""
    by_worker: dict[UUID, list[RunningTrial]] = {id_: [] for id_ in ids}
    for row in connection.execute(_RUNNING, {"workers": list(ids)}):
        by_worker[row.worker_id].append(
            RunningTrial(row.study_id, row.name, row.number, row.attempt, row.started_at)
        )
    return by_worker
