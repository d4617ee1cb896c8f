"""The first page: all studies."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from tuner import commands
from tuner.dashboard import views
from tuner.dashboard.context import Context

router = APIRouter()


@router.get("/")
def first() -> Response:
    """The page that people mean when they name none."""
    return RedirectResponse("/studies", 307)


@router.get("/studies")
def every(request: Request, board: Context) -> Response:
    """All studies, the newest first."""
    found = commands.overviews(board.database)
    return views.render(request, "studies.html", {"studies": found[::-1]})
