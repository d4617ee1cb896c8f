"""The page Activity: the audit log, for admins."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from tuner.dashboard.dependencies import MAX_ID, BoardDep
from tuner.dashboard.rendering import templates
from tuner.dashboard.security.access import admin
from tuner.database import audit

PAGE = 100  # entries

router = APIRouter(dependencies=[admin])


@router.get("/audit")
def page(
    request: Request,
    board: BoardDep,
    before: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
) -> Response:
    """The audit log, the latest entry first; `before`: only entries with a smaller id."""
    with board.database.statement() as connection:
        entries = audit.page(connection, before=before, limit=PAGE)
    older = entries[-1].id if len(entries) == PAGE else None
    return templates.render(request, "activity.html", {"entries": entries, "older": older})
