"""Workers: who is there, and asking one to stop; the audit log."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from tuner import study_json
from tuner.commands import steering
from tuner.dashboard.context import ID, Context
from tuner.dashboard.security.access import admin, operator
from tuner.database import audit, devices, workers

router = APIRouter(tags=["fleet"])


@router.get("/workers")
def every(board: Context) -> dict[str, Any]:
    """Workers that are there or were today, their devices and the trials that they hold."""
    with board.database.statement() as connection:
        seen = workers.recent(connection)
        ids = [worker.id for worker in seen]
        latest = devices.latest(connection, ids)
        held = workers.running(connection, ids)
    return {
        "workers": study_json.plain(
            [
                {**study_json.shallow(w), "devices": latest[w.id], "running": held[w.id]}
                for w in seen
            ]
        )
    }


@router.post("/workers/{worker_id}/drain", dependencies=[operator])
def drain(board: Context, worker_id: UUID) -> dict[str, Any]:
    """Ask a worker to stop: its trials finish or go back to the queue."""
    steering.drain(board.database, worker_id)
    return {"draining": str(worker_id)}


@router.get("/audit", dependencies=[admin])
def log(
    board: Context,
    before: Annotated[int | None, Query(ge=1, le=ID)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> dict[str, Any]:
    """Who has asked for which change, the latest first; `before` is the id to go on from."""
    with board.database.statement() as connection:
        found = audit.page(connection, before=before, limit=limit)
    return {"entries": study_json.plain(found)}
