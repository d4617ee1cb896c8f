"""The page Fleet: workers, their devices over the last hour, and the trials they run."""

import time
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from tuner.dashboard.dependencies import BoardDep
from tuner.dashboard.rendering import templates
from tuner.database import devices, workers
from tuner.database.devices import DeviceHistory, DeviceRecord
from tuner.database.workers import RecentWorker, RunningTrial

HOUR = 3_600.0
GIB = 2**30

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Gauge:
    """One measurement of a device: now, and over the last hour."""

    title: str
    now: str
    points: str  # of a polyline in a box of 100 × 24, from 0 to the device's maximum


@dataclass(frozen=True, slots=True)
class Device:
    """A device as the page shows it."""

    name: str
    model: str
    gauges: tuple[Gauge, ...]


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as the page shows it."""

    record: RecentWorker
    running: list[RunningTrial]
    devices: list[Device]

    @property
    def state(self) -> str:
        """The state in one word."""
        if self.record.stopped_at is not None:
            return "stopped"
        if not self.record.alive:
            return "gone"
        if self.record.drain_at is not None:
            return "draining"
        return "busy" if self.running else "idle"


@router.get("/fleet")
def fleet(request: Request, board: BoardDep) -> Response:
    """Workers that are alive or were today."""
    now = time.time()
    with board.database.statement() as connection:
        recent = workers.recent(connection)
        ids = [record.id for record in recent]
        latest = devices.latest(connection, ids)
        histories = devices.history(connection, ids, since=now - HOUR, until=now)
        running = workers.running(connection, ids)
    rows = [
        Worker(
            record,
            running[record.id],
            [_device(d, histories.get((record.id, d.name))) for d in latest[record.id]],
        )
        for record in recent
    ]
    alive = [worker for worker in rows if worker.record.alive]
    context = {
        "alive": alive,
        "gone": [worker for worker in rows if not worker.record.alive],
        "slots": sum(worker.record.slots for worker in alive),
        "busy": sum(len(worker.running) for worker in alive),
    }
    is_part = request.headers.get("hx-target") == "fleet"
    return templates.render(request, "fleet/list.html" if is_part else "fleet/page.html", context)


def _device(record: DeviceRecord, history: DeviceHistory | None) -> Device:
    history = history or DeviceHistory([], [], [])
    sample = record.latest or devices.DeviceSample()
    gauges = []
    if sample.utilization is not None:
        utilization = f"{sample.utilization:.0%}"
        gauges.append(Gauge("utilization", utilization, _polyline(history.utilization, 1.0)))
    if sample.memory_used is not None and record.memory:
        memory = f"{sample.memory_used / GIB:.1f} of {record.memory / GIB:.0f} GiB"
        gauges.append(Gauge("memory", memory, _polyline(history.memory, float(record.memory))))
    if sample.temperature is not None:
        temperature = f"{sample.temperature:.0f} °C"
        gauges.append(Gauge("temperature", temperature, _polyline(history.temperature, 100.0)))
    return Device(record.name, record.model, tuple(gauges))


def _polyline(points: list[tuple[float, float]], maximum: float) -> str:
    """The last hour from left to right, 0 to `maximum` from bottom to top."""
    if len(points) < 2:
        return ""
    return " ".join(
        f"{100 * x / HOUR:.1f},{23 - 22 * min(max(y / maximum, 0.0), 1.0):.1f}" for x, y in points
    )
