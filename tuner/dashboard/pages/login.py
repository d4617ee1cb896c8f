"""Logging in and out: the only pages without a login."""

import math
from functools import partial
from typing import Annotated

import anyio
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from tuner import accounts
from tuner.dashboard.board import Board
from tuner.dashboard.dependencies import BoardDep
from tuner.dashboard.rendering import templates
from tuner.dashboard.security import limits
from tuner.dashboard.security.access import cookie_name, port, set_local_cookie, viewer
from tuner.dashboard.security.audit import note
from tuner.errors import AccountError

DEVICE_COOKIE = "tuner_device"
DEVICE_SECONDS = 400 * 86_400  # the longest that browsers keep a cookie
MAX_WAITING = 20  # logins whose passwords wait to be hashed

router = APIRouter()


def new_hashing() -> anyio.CapacityLimiter:
    """Threads only for hashing, so that users who are logged in are served meanwhile."""
    return anyio.CapacityLimiter(1)  # a hash takes 64 MiB, and a core while it is computed


@router.get("/login")
def form(request: Request, next: str = "/studies") -> Response:
    """The login form."""
    return _form(request, next)


@router.post("/login")
async def log_in(
    request: Request,
    board: BoardDep,
    name: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form(max_length=accounts.MAX_PASSWORD)] = "",
    token: Annotated[str, Form(max_length=1000)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/studies",
) -> Response:
    """Start a session."""
    if not board.access.login:
        return _log_in_with_token(request, board, token, next)
    note(request, f"as {name}")
    attempts: limits.LoginAttempts = request.app.state.attempts
    hashing: anyio.CapacityLimiter = request.app.state.hashing
    if hashing.statistics().tasks_waiting >= MAX_WAITING:
        error = "too many logins at once; try again in a minute"
        return _form(request, next, name, error, status=503)
    device_cookie = f"{DEVICE_COOKIE}_{port(request, board)}"
    device = limits.known_device(board.access.secret, name, request.cookies.get(device_cookie, ""))
    attempt = attempts.begin(name, request.client.host if request.client else "", device)
    if isinstance(attempt, float):
        error = f"too many failed attempts; try again in {math.ceil(attempt)} s"
        return _form(request, next, name, error, status=429)
    check = partial(accounts.log_in, board.database, name, password)
    try:
        session = await anyio.to_thread.run_sync(check, limiter=hashing)
    except AccountError as failure:
        return _form(request, next, name, str(failure), status=401)
    attempts.succeeded(attempt)
    response = RedirectResponse(_own_path(next), 303)
    for cookie, value, seconds in (
        (cookie_name(request, board), session, int(accounts.SESSION_SECONDS)),
        (device_cookie, limits.device_cookie(board.access.secret, name), DEVICE_SECONDS),
    ):
        response.set_cookie(
            cookie,
            value,
            max_age=seconds,
            secure=board.access.tls,
            httponly=True,
            samesite="strict",
        )
    return response


@router.post("/logout", dependencies=[viewer])
def log_out(request: Request, board: BoardDep) -> Response:
    """End the session."""
    if request.state.user.secret is not None:
        accounts.log_out(board.database, request.state.user.secret)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(cookie_name(request, board), secure=board.access.tls, httponly=True)
    return response


def _log_in_with_token(request: Request, board: Board, token: str, next_path: str) -> Response:
    """Log in with the secret of a dashboard without accounts, which cannot be guessed."""
    if not board.access.secret.opens(token.strip()):
        return _form(request, next_path, "", "that is not this dashboard's token", status=401)
    response = RedirectResponse(_own_path(next_path), 303)
    set_local_cookie(request, board, response)
    return response


def _form(
    request: Request, next_path: str, name: str = "", error: str = "", *, status: int = 200
) -> Response:
    context = {"next": _own_path(next_path), "error": error, "name": name}
    return templates.render(request, "login.html", context, status=status)


def _own_path(path: str) -> str:
    """The path if it is a page of ours, else the first page: a login must not lead elsewhere."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_own else "/studies"
