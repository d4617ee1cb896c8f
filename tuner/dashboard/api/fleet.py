"""Workers: list them, ask one to stop; the audit log."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query

from tuner import study_json
from tuner.commands import steering
from tuner.dashboard.api.models import CONFLICT, NOT_FOUND
from tuner.dashboard.api.models.fleet import AuditLog, DrainingWorker, Workers
from tuner.dashboard.dependencies import MAX_ID, BoardDep
from tuner.dashboard.security.access import admin, operator
from tuner.database import audit, devices, workers

router = APIRouter(tags=["fleet"])


@router.get("/workers")
def list_workers(board: BoardDep) -> Workers:
    """List workers that are alive or were today, with their devices and running trials."""
    with board.database.statement() as connection:
        recent = workers.recent(connection)
        ids = [worker.id for worker in recent]
        latest = devices.latest(connection, ids)
        running = workers.running(connection, ids)
    return Workers.of(
        {
            "workers": [
                {**study_json.shallow(w), "devices": latest[w.id], "running": running[w.id]}
                for w in recent
            ]
        }
    )


@router.post(
    "/workers/{worker_id}/drain", dependencies=[operator], responses={**NOT_FOUND, **CONFLICT}
)
def drain(
    board: BoardDep, worker_id: Annotated[UUID, Path(description="The worker's UUID.")]
) -> DrainingWorker:
    """Ask a worker to stop: its trials finish or go back to the queue."""
    steering.drain(board.database, worker_id)
    return DrainingWorker(draining=str(worker_id))


@router.get("/audit", dependencies=[admin])
def list_audit_log(
    board: BoardDep,
    before: Annotated[
        int | None, Query(ge=1, le=MAX_ID, description="Only entries with a smaller id.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="The number of entries.")] = 100,
) -> AuditLog:
    """List requests that could have changed something, the latest first."""
    with board.database.statement() as connection:
        entries = audit.page(connection, before=before, limit=limit)
    return AuditLog.of({"entries": entries})
