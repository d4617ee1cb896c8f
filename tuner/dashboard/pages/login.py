"""Logging in and out. The only pages that anybody may see."""

import math
from functools import partial
from typing import Annotated

import anyio
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from tuner import accounts
from tuner.dashboard import views
from tuner.dashboard.context import Context
from tuner.dashboard.security import limits
from tuner.dashboard.security.access import cookie_name, let_in, port, viewer
from tuner.dashboard.security.audited import note
from tuner.errors import AccountError

DEVICE_COOKIE = "tuner_device"
DEVICE_SECONDS = 400 * 86_400  # the longest that browsers keep a cookie
MOST_WAITING = 20  # logins whose passwords wait to be hashed

router = APIRouter()


def new_hashing() -> anyio.CapacityLimiter:
    """Threads of their own for hashing, so that whoever is logged in is served meanwhile."""
    return anyio.CapacityLimiter(1)  # a hash takes 64 MiB, and a core while it lasts


@router.get("/login")
def form(request: Request, next: str = "/studies") -> Response:
    """The form."""
    return views.render(request, "login.html", {"next": _own(next), "said": "", "name": ""})


@router.post("/login")
async def log_in(
    request: Request,
    board: Context,
    name: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form(max_length=accounts.MAX_PASSWORD)] = "",
    token: Annotated[str, Form(max_length=1000)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/studies",
) -> Response:
    """Begin a session."""
    if not board.access.login:
        return _enter(request, board, token, next)
    note(request, f"as {name}")
    attempts: limits.LoginAttempts = request.app.state.attempts
    hashing: anyio.CapacityLimiter = request.app.state.hashing
    if hashing.statistics().tasks_waiting >= MOST_WAITING:
        return _again(request, name, next, "too many logins at once; try again in a minute", 503)
    device_cookie = f"{DEVICE_COOKIE}_{port(request, board)}"
    cookie = request.cookies.get(device_cookie, "")
    device = limits.known_device(board.access.secret, name, cookie)
    attempt = attempts.begin(name, request.client.host if request.client else "", device)
    if isinstance(attempt, float):
        wait = f"too many wrong passwords; try again in {math.ceil(attempt)} s"
        return _again(request, name, next, wait, 429)
    check = partial(accounts.log_in, board.database, name, password)
    try:
        secret = await anyio.to_thread.run_sync(check, limiter=hashing)
    except AccountError as error:
        return _again(request, name, next, str(error), 401)
    attempts.succeeded(attempt)
    answer = RedirectResponse(_own(next), 303)
    for cookie_, value, seconds in (
        (cookie_name(request, board), secret, int(accounts.SESSION_SECONDS)),
        (device_cookie, limits.device_cookie(board.access.secret, name), DEVICE_SECONDS),
    ):
        answer.set_cookie(
            cookie_,
            value,
            max_age=seconds,
            secure=board.access.tls,
            httponly=True,
            samesite="strict",
        )
    return answer


@router.post("/logout", dependencies=[viewer])
def log_out(request: Request, board: Context) -> Response:
    """End the session."""
    if request.state.user.secret is not None:
        accounts.log_out(board.database, request.state.user.secret)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(cookie_name(request, board), secure=board.access.tls, httponly=True)
    return answer


def _enter(request: Request, board: Context, token: str, where: str) -> Response:
    """Let in who has the secret of a dashboard without accounts; nobody can guess it."""
    if not board.access.secret.opens(token.strip()):
        return _again(request, "", where, "that is not this dashboard's token", 401)
    answer = RedirectResponse(_own(where), 303)
    let_in(request, board, answer)
    return answer


def _again(request: Request, name: str, where: str, said: str, status: int) -> Response:
    context = {"next": _own(where), "said": said, "name": name}
    return views.render(request, "login.html", context, status=status)


def _own(path: str) -> str:
    """A page of ours, or the first: a link to the login must not lead elsewhere."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_own else "/studies"
