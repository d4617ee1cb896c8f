"""The page Activity: who has asked for which change, for admins."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from tuner.dashboard import views
from tuner.dashboard.context import ID, Context
from tuner.dashboard.security.access import admin
from tuner.database import audit

PAGE = 100  # entries

router = APIRouter(dependencies=[admin])


@router.get("/audit")
def page(
    request: Request,
    board: Context,
    before: Annotated[int | None, Query(ge=1, le=ID)] = None,
) -> Response:
    """The audit log, the latest first; `before` is the entry to go on from."""
    with board.database.statement() as connection:
        found = audit.page(connection, before=before, limit=PAGE)
    older = found[-1].id if len(found) == PAGE else None
    return views.render(request, "activity.html", {"entries": found, "older": older})
