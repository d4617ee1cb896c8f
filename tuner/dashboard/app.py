"""The application: routers, guards, and what becomes of errors."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tuner import __version__
from tuner.dashboard import api, assets, health, uploads, views
from tuner.dashboard.context import Board
from tuner.dashboard.pages import activity, compare, fleet, launch, login, studies
from tuner.dashboard.pages.study import exporting, notes, page, steer, trial
from tuner.dashboard.security.access import viewer
from tuner.dashboard.security.audited import KEPT_DAYS, Audited
from tuner.dashboard.security.guards import HEADERS, Guards
from tuner.dashboard.security.limits import LoginAttempts
from tuner.database import audit
from tuner.errors import (
    BadInputError,
    DatabaseUnreachableError,
    NothingToExportError,
    StudyExistsError,
    StudyNotFoundError,
    StudyStateError,
    TrialNotFoundError,
    TunerError,
    WorkerNotFoundError,
    visible,
)

TIDY = 86_400.0  # seconds between two looks at what is too old

_log = logging.getLogger(__name__)

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
API = "/api/v1"

_STATUS: tuple[tuple[type[TunerError], int], ...] = (
    (StudyNotFoundError, 404),
    (TrialNotFoundError, 404),
    (WorkerNotFoundError, 404),
    (StudyExistsError, 409),
    (StudyStateError, 409),
    (NothingToExportError, 409),
    (BadInputError, 422),
    (DatabaseUnreachableError, 503),
)


class AsciiResponse(JSONResponse):
    """JSON with escapes for all but ASCII: users' attributes may hold lone surrogates."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def create_app(
    board: Board, *, hosts: Collection[str] = LOOPBACK, is_proxied: bool = False
) -> FastAPI:
    """The dashboard over an open database; `hosts` are the names it may be asked under.

    `is_proxied`: all requests come through a proxy that says who has sent them.
    """
    app = FastAPI(
        title="tuner",
        version=__version__,
        summary="Launch studies, watch and steer them, export the best.",
        docs_url=None,  # it would load its scripts from elsewhere
        redoc_url=None,
        default_response_class=AsciiResponse,
        lifespan=_lifespan,
        openapi_url=None,  # served by a route of ours, which asks who wants it
    )
    app.state.board = board
    app.state.figures = api.figures.Cache()
    app.state.attempts = LoginAttempts()
    app.state.hashing = login.new_hashing()
    for public in (assets.router, health.router, login.router):
        app.include_router(public, include_in_schema=False)
    for pages in (
        studies.router,
        activity.router,
        compare.router,
        exporting.router,
        fleet.router,
        launch.router,
        steer.router,
        notes.router,
        trial.router,
        page.router,
    ):
        app.include_router(pages, dependencies=[viewer], include_in_schema=False)
    for resource in (
        api.schema.router,
        api.studies.router,
        api.compare.router,
        api.trials.router,
        api.fleet.router,
        api.figures.router,
    ):
        app.include_router(resource, prefix=API, dependencies=[viewer])
    app.add_exception_handler(TunerError, _explain)
    app.add_exception_handler(HTTPException, _explain)
    app.add_exception_handler(RequestValidationError, _explain)
    app.add_exception_handler(Exception, _apologize)
    app.add_middleware(Audited, board=board)
    app.add_middleware(Guards, hosts=hosts, tls=board.access.tls, is_proxied=is_proxied)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Listen to what changes for as long as the application serves."""
    stream = app.state.board.stream
    stream.start()
    # whoever asks meanwhile waits a moment: beside a first page it would take longer
    await asyncio.to_thread(_warm)
    tidying = asyncio.create_task(_tidy(app.state.board))
    yield
    tidying.cancel()
    await asyncio.to_thread(stream.close)


async def _tidy(board: Board) -> None:
    """Remove what is kept for some time only."""
    while True:
        try:
            await asyncio.to_thread(remove_old, board)
        except TunerError as error:
            _log.warning("%s", error)
        await asyncio.sleep(TIDY)


def remove_old(board: Board) -> None:
    """Remove old entries of the audit log and uploads that nobody uses."""
    with board.database.statement() as connection:
        audit.remove_old(connection, days=KEPT_DAYS)
    uploads.remove_unused(board.database, board.settings)


def _warm() -> None:
    """Import and read what the first page needs."""
    assets.version()
    views.warm()
    api.figures.warm()


def _explain(request: Request, error: Exception) -> Response:
    """What went wrong in one sentence: as JSON, as a line for a running page, or as a page."""
    status, said = _status(error), _sentence(error)
    if status >= 500 and getattr(request.state, "user", None) is None:
        # where the database is, and as whom it is asked, is nothing for strangers
        _log.warning("%s: %s", request.url.path, visible(said))
        said = "the dashboard cannot answer now; its log says why"
    headers = dict(getattr(error, "headers", None) or {})
    if status == 303:
        return Response(status_code=303, headers=headers)
    if request.url.path.startswith("/api/"):
        return AsciiResponse({"error": said}, status, headers)
    if request.headers.get("hx-request"):
        return Response(said.encode("utf-8", "replace"), status, headers, "text/plain")
    return views.render(request, "error.html", {"status": status, "said": said}, status=status)


def _apologize(request: Request, error: Exception) -> Response:
    """For a fault of ours; the log gets its traceback. This answer passes no guards."""
    sorry = HTTPException(500, "something went wrong here; the dashboard's log says what")
    answer = _explain(request, sorry)
    answer.headers.update({**HEADERS, "Cache-Control": "no-store"})
    return answer


def _status(error: Exception) -> int:
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, RequestValidationError):
        return 422
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def _sentence(error: Exception) -> str:
    if isinstance(error, HTTPException):
        return str(error.detail)
    if isinstance(error, RequestValidationError):
        return "\n".join(
            f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()
        )
    return str(error)
