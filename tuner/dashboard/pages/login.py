"""Logging in and out. The only pages that anybody may see."""

import math
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from tuner import accounts
from tuner.dashboard import views
from tuner.dashboard.context import Context
from tuner.dashboard.security.access import cookie_name, viewer
from tuner.dashboard.security.audited import note
from tuner.errors import AccountError

router = APIRouter()


@router.get("/login")
def form(request: Request, next: str = "/studies") -> Response:
    """The form."""
    return views.render(request, "login.html", {"next": _own(next), "said": "", "name": ""})


@router.post("/login")
def log_in(
    request: Request,
    board: Context,
    name: Annotated[str, Form(max_length=200)],
    password: Annotated[str, Form(max_length=accounts.MAX_PASSWORD)],
    next: Annotated[str, Form(max_length=2000)] = "/studies",
) -> Response:
    """Begin a session."""
    note(request, f"as {name}")
    address = request.client.host if request.client else ""
    attempts = request.app.state.attempts
    keys = f"name {name.casefold()}", f"address {address}"
    wait = attempts.wait(*keys)
    if wait > 0:
        said = f"too many wrong passwords; try again in {math.ceil(wait)} s"
        return _again(request, name, next, said, 429)
    try:
        secret = accounts.log_in(board.database, name, password)
    except AccountError as error:
        attempts.failed(*keys)
        return _again(request, name, next, str(error), 401)
    answer = RedirectResponse(_own(next), 303)
    answer.set_cookie(
        cookie_name(board),
        secret,
        max_age=int(accounts.SESSION_SECONDS),
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
    answer.delete_cookie(cookie_name(board), secure=board.access.tls, httponly=True)
    return answer


def _again(request: Request, name: str, where: str, said: str, status: int) -> Response:
    context = {"next": _own(where), "said": said, "name": name}
    return views.render(request, "login.html", context, status=status)


def _own(path: str) -> str:
    """A page of ours, or the first: a link to the login must not lead elsewhere."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_own else "/studies"
