"""The application: routers, guards and the handling of errors."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tuner import __version__
from tuner.dashboard import api, health
from tuner.dashboard.api.models import COMMON_ERRORS
from tuner.dashboard.board import Board
from tuner.dashboard.launch import uploads
from tuner.dashboard.pages import activity, compare, fleet, launch, login, studies
from tuner.dashboard.pages.study import controls, exporting, notes, page, trial
from tuner.dashboard.rendering import assets, templates
from tuner.dashboard.security.access import viewer
from tuner.dashboard.security.audit import RETENTION_DAYS, AuditMiddleware
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

CLEAN_UP_PERIOD = 86_400.0  # seconds

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
    """JSON that escapes all but ASCII: users' attributes may contain lone surrogates."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def create_app(
    board: Board, *, hosts: Collection[str] = LOOPBACK, is_proxied: bool = False
) -> FastAPI:
    """The dashboard over an open database.

    `hosts`: the host names it answers to. `is_proxied`: all requests come through a proxy that
    passes on the client's address.
    """
    app = FastAPI(
        title="tuner",
        version=__version__,
        summary="Launch studies, watch and steer them, export the best.",
        docs_url=None,  # it would load scripts from another site
        redoc_url=None,
        default_response_class=AsciiResponse,
        lifespan=_lifespan,
        openapi_url=None,  # served by api/schema.py, which requires a login
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
        controls.router,
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
        app.include_router(resource, prefix=API, dependencies=[viewer], responses=COMMON_ERRORS)
    app.add_exception_handler(TunerError, _explain)
    app.add_exception_handler(HTTPException, _explain)
    app.add_exception_handler(RequestValidationError, _explain)
    app.add_exception_handler(Exception, _explain_bug)
    app.add_middleware(AuditMiddleware, board=board)
    app.add_middleware(Guards, hosts=hosts, tls=board.access.tls, is_proxied=is_proxied)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Listen for changes while the application serves."""
    stream = app.state.board.stream
    stream.start()
    # requests wait for this: alongside a first page it would take longer
    await asyncio.to_thread(_warm)
    cleaning = asyncio.create_task(_clean_up(app.state.board))
    yield
    cleaning.cancel()
    await asyncio.to_thread(stream.close)


async def _clean_up(board: Board) -> None:
    """Remove what has expired, once per period."""
    while True:
        try:
            await asyncio.to_thread(remove_old, board)
        except TunerError as error:
            _log.warning("%s", error)
        await asyncio.sleep(CLEAN_UP_PERIOD)


def remove_old(board: Board) -> None:
    """Remove old entries of the audit log, and old uploads that no study uses."""
    with board.database.statement() as connection:
        audit.remove_old(connection, days=RETENTION_DAYS)
    uploads.remove_unused(board.database, board.settings)


def _warm() -> None:
    """Import and load what the first page needs."""
    assets.version()
    templates.warm()
    api.figures.warm()


def _explain(request: Request, error: Exception) -> Response:
    """The error as one sentence: as JSON, as text for an open page, or as a page."""
    status, message = _status(error), _message(error)
    if status >= 500 and getattr(request.state, "user", None) is None:
        # strangers must not learn the database's address and user
        _log.warning("%s: %s", request.url.path, visible(message))
        message = "the dashboard cannot answer now; its log says why"
    headers = dict(getattr(error, "headers", None) or {})
    if status == 303:
        return Response(status_code=303, headers=headers)
    if request.url.path.startswith("/api/"):
        return AsciiResponse({"error": message}, status, headers)
    if request.headers.get("hx-request"):
        return Response(message.encode("utf-8", "replace"), status, headers, "text/plain")
    context = {"status": status, "message": message}
    return templates.render(request, "error.html", context, status=status)


def _explain_bug(request: Request, error: Exception) -> Response:
    """Our own bug: the log gets its traceback. This response passes no guards."""
    internal_error = HTTPException(500, "internal error; see the dashboard's log")
    response = _explain(request, internal_error)
    response.headers.update({**HEADERS, "Cache-Control": "no-store"})
    return response


def _status(error: Exception) -> int:
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, RequestValidationError):
        return 422
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def _message(error: Exception) -> str:
    if isinstance(error, HTTPException):
        is_unrouted = error.status_code == 404 and error.detail == HTTPStatus.NOT_FOUND.phrase
        return "there is nothing at this address" if is_unrouted else str(error.detail)
    if isinstance(error, RequestValidationError):
        return "\n".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
    return str(error)
