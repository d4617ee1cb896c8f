"""Workers' devices: which there are, how they are doing, and what memory trials have taken.

Samples are for people to look at: they are coarse, and removed after a day.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

KEPT_HOURS = 24  # of samples
RECENT = 1_000  # of a study's finished trials, whose peaks are read

_REGISTER = text("""
    INSERT INTO tuner.devices (worker_id, name, model, memory)
    SELECT :worker, name, model, memory
    FROM unnest(CAST(:names AS text[]), CAST(:models AS text[]), CAST(:memories AS bigint[]))
         AS device (name, model, memory)
    ON CONFLICT (worker_id, name) DO NOTHING
""")

_SAMPLE = text("""
    INSERT INTO tuner.device_samples (worker_id, device, utilization, memory_used, temperature,
                                      power)
    SELECT :worker, device, utilization, memory_used, temperature, power
    FROM unnest(CAST(:devices AS text[]), CAST(:utilizations AS real[]), CAST(:used AS bigint[]),
                CAST(:temperatures AS real[]), CAST(:powers AS real[]))
         AS sample (device, utilization, memory_used, temperature, power)
""")

_FORGET = text("""
    DELETE FROM tuner.device_samples WHERE at < clock_timestamp() - :hours * interval '1 hour'
""")

_LATEST = text("""
    SELECT d.worker_id, d.name, d.model, d.memory, s.at, s.utilization, s.memory_used,
           s.temperature, s.power
    FROM tuner.devices d LEFT JOIN LATERAL (
        SELECT * FROM tuner.device_samples s
        WHERE s.worker_id = d.worker_id AND s.device = d.name ORDER BY s.at DESC LIMIT 1
    ) s ON TRUE
    WHERE d.worker_id = ANY(:workers) ORDER BY d.worker_id, d.name
""")

# One point per bucket, so that an hour and a day cost a page the same.
_HISTORY = text("""
    SELECT worker_id, device,
           CAST(extract(epoch FROM at) AS double precision) - CAST(:since AS double precision) AS x,
           utilization, memory_used, temperature
    FROM (
        SELECT worker_id, device, min(at) AS at, avg(utilization) AS utilization,
               avg(memory_used) AS memory_used, avg(temperature) AS temperature
        FROM tuner.device_samples
        WHERE worker_id = ANY(:workers)
          AND at BETWEEN to_timestamp(:since) AND to_timestamp(:until)
        GROUP BY worker_id, device,
                 floor((extract(epoch FROM at) - :since) / ((:until - :since) / :points))
    ) buckets
    ORDER BY worker_id, device, at
""")

_PEAKS = text("""
    SELECT number, user_attrs ->> 'device' AS device,
           CAST(user_attrs ->> 'peak_bytes' AS bigint) AS peak
    FROM tuner.trials
    WHERE study_id = :study AND state IN ('complete', 'pruned', 'paused')
      AND user_attrs ->> 'peak_bytes' ~ '^[0-9]{1,18}$'
    ORDER BY number DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class DeviceSample:
    """How a device is doing at one moment; None where that is unknown."""

    utilization: float | None = None  # 0 to 1
    memory_used: int | None = None  # bytes
    temperature: float | None = None  # °C
    power: float | None = None  # W
    at: datetime | None = None  # the database's clock; None until it is stored


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A worker's device as stored."""

    name: str  # cpu, cuda:3
    model: str
    memory: int  # bytes, in total
    latest: DeviceSample | None = None


def register(connection: Connection, worker_id: UUID, devices: Sequence[DeviceRecord]) -> None:
    """Register a worker's devices."""
    connection.execute(
        _REGISTER,
        {
            "worker": worker_id,
            "names": [device.name for device in devices],
            "models": [device.model for device in devices],
            "memories": [device.memory for device in devices],
        },
    )


def store(
    connection: Connection, worker_id: UUID, samples: Iterable[tuple[str, DeviceSample]]
) -> None:
    """Store samples of the worker's devices, one per device, with their names."""
    named = list(samples)
    connection.execute(
        _SAMPLE,
        {
            "worker": worker_id,
            "devices": [name for name, _ in named],
            "utilizations": [sample.utilization for _, sample in named],
            "used": [sample.memory_used for _, sample in named],
            "temperatures": [sample.temperature for _, sample in named],
            "powers": [sample.power for _, sample in named],
        },
    )


def forget(connection: Connection) -> int:
    """Remove samples of all workers that are too old; returns how many."""
    return connection.execute(_FORGET, {"hours": KEPT_HOURS}).rowcount


def latest(connection: Connection, workers: Sequence[UUID]) -> dict[UUID, list[DeviceRecord]]:
    """List the devices of these workers, each with its latest sample."""
    by_worker: dict[UUID, list[DeviceRecord]] = {worker: [] for worker in workers}
    for row in connection.execute(_LATEST, {"workers": list(workers)}):
        sample = DeviceSample(row.utilization, row.memory_used, row.temperature, row.power, row.at)
        by_worker[row.worker_id].append(
            DeviceRecord(row.name, row.model, row.memory, sample if row.at else None)
        )
    return by_worker


@dataclass(frozen=True, slots=True)
class DeviceHistory:
    """How a device was doing over some time: points of (seconds since the start, value)."""

    utilization: list[tuple[float, float]]  # 0 to 1
    memory: list[tuple[float, float]]  # bytes
    temperature: list[tuple[float, float]]  # °C


def history(
    connection: Connection,
    workers: Sequence[UUID],
    *,
    since: float,
    until: float,
    points: int = 60,
) -> dict[tuple[UUID, str], DeviceHistory]:
    """Return how devices were doing: (worker, device) → few points between two times.

    `since` and `until` are in seconds since 1970.
    """
    histories: dict[tuple[UUID, str], DeviceHistory] = {}
    arguments = {"workers": list(workers), "since": since, "until": until, "points": points}
    for row in connection.execute(_HISTORY, arguments):
        device_history = histories.setdefault(
            (row.worker_id, row.device), DeviceHistory([], [], [])
        )
        for points_, value in (
            (device_history.utilization, row.utilization),
            (device_history.memory, row.memory_used),
            (device_history.temperature, row.temperature),
        ):
            if value is not None:
                points_.append((row.x, float(value)))
    return histories


def peaks(connection: Connection, study_id: int) -> dict[int, tuple[str, int]]:
    """Return the peak memory of recent trials: number → device, bytes."""
    rows = connection.execute(_PEAKS, {"study": study_id, "limit": RECENT})
    # attributes are stored as JSON texts
    return {row.number: ((row.device or "").strip('"'), row.peak) for row in rows}
