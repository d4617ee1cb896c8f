"""The page Fleet: machines, their devices over the last hour, and what they run."""

import time
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from tuner.dashboard import views
from tuner.dashboard.context import Context
from tuner.database import devices, workers
from tuner.database.devices import DeviceHistory, DeviceRecord
from tuner.database.workers import RecentWorker, RunningTrial

HOUR = 3_600.0
GIB = 2**30

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Gauge:
    """One measure of a device: now, and over the last hour."""

    title: str
    now: str
    points: str  # of a polyline in a box of 100 × 24, from 0 to the device's whole


@dataclass(frozen=True, slots=True)
class Device:
    """A device as the page shows it."""

    name: str
    model: str
    gauges: tuple[Gauge, ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """A worker as the page shows it."""

    worker: RecentWorker
    running: list[RunningTrial]
    devices: list[Device]

    @property
    def state(self) -> str:
        """In one word."""
        if self.worker.stopped_at is not None:
            return "stopped"
        if not self.worker.alive:
            return "gone"
        if self.worker.drain_at is not None:
            return "draining"
        return "busy" if self.running else "idle"


@router.get("/fleet")
def fleet(request: Request, board: Context) -> Response:
    """Workers that are there, or were today."""
    now = time.time()
    with board.database.statement() as connection:
        seen = workers.recent(connection)
        ids = [worker.id for worker in seen]
        latest = devices.latest(connection, ids)
        courses = devices.history(connection, ids, since=now - HOUR, until=now)
        held = workers.running(connection, ids)
    machines = [
        Machine(
            worker,
            held[worker.id],
            [_device(d, courses.get((worker.id, d.name))) for d in latest[worker.id]],
        )
        for worker in seen
    ]
    context = {
        "here": [m for m in machines if m.worker.alive],
        "gone": [m for m in machines if not m.worker.alive],
        "slots": sum(m.worker.slots for m in machines if m.worker.alive),
        "busy": sum(len(m.running) for m in machines if m.worker.alive),
    }
    is_part = request.headers.get("hx-target") == "fleet"
    return views.render(request, "fleet/list.html" if is_part else "fleet/page.html", context)


def _device(device: DeviceRecord, course: DeviceHistory | None) -> Device:
    course = course or DeviceHistory([], [], [])
    sample = device.latest or devices.Sample()
    gauges = []
    if sample.utilization is not None:
        use = f"{sample.utilization:.0%}"
        gauges.append(Gauge("use", use, _scaled(course.utilization, 1.0)))
    if sample.memory_used is not None and device.memory:
        memory = f"{sample.memory_used / GIB:.1f} of {device.memory / GIB:.0f} GiB"
        gauges.append(Gauge("memory", memory, _scaled(course.memory, float(device.memory))))
    if sample.temperature is not None:
        gauges.append(
            Gauge("temperature", f"{sample.temperature:.0f} °C", _scaled(course.temperature, 100.0))
        )
    return Device(device.name, device.model, tuple(gauges))


def _scaled(points: list[tuple[float, float]], whole: float) -> str:
    """Over the hour, from nothing to the whole."""
    if len(points) < 2:
        return ""
    return " ".join(
        f"{100 * x / HOUR:.1f},{23 - 22 * min(max(y / whole, 0.0), 1.0):.1f}" for x, y in points
    )
