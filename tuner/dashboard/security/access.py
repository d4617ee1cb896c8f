"""Who asks, and what they may do.

Every router is included with one of `viewer`, `operator`, `admin`, and a route that changes
something declares `operator` or `admin` itself. Without accounts (a server that only this machine
reaches) everybody is its local admin.
"""

from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, HTTPException, Request, params

from tuner import accounts
from tuner.accounts import Role, User
from tuner.dashboard.context import Context

LOCAL = User("local", Role.ADMIN)
COOKIE = "tuner_session"
SECURE_COOKIE = "__Host-tuner_session"  # browsers take it from HTTPS alone, and for this host alone


def cookie_name(board: Context) -> str:
    """What the session's cookie is called."""
    return SECURE_COOKIE if board.access.tls else COOKIE


def known(request: Request, board: Context) -> User | None:
    """Who has sent this request; None where nobody has said."""
    found = _known(request, board) if board.access.login else LOCAL
    request.state.user = found
    return found


def _known(request: Request, board: Context) -> User | None:
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    wanted = "api"
    if kind.lower() != "bearer":
        secret, wanted = request.cookies.get(cookie_name(board), ""), "session"
    found = accounts.user_of(board.database, secret) if secret else None
    return found[0] if found is not None and found[1] == wanted else None


def _requires(role: Role) -> params.Depends:
    def check(request: Request, who: Annotated[User | None, Depends(known)]) -> User:
        if who is None:
            if request.url.path.startswith("/api/"):
                raise HTTPException(
                    401, "log in, or send a token", headers={"WWW-Authenticate": "Bearer"}
                )
            if request.headers.get("hx-request"):  # a part of a page would get the login's
                raise HTTPException(401, "log in again", headers={"HX-Redirect": "/login"})
            raise HTTPException(303, "log in", headers={"Location": _login(request)})
        if who.role < role:
            raise HTTPException(403, f"{who.name} is {who.role}; this needs the role {role}")
        return who

    found: params.Depends = Depends(check)
    return found


def _login(request: Request) -> str:
    if request.method != "GET":
        return "/login"
    query = f"?{request.url.query}" if request.url.query else ""
    return f"/login?next={quote(request.url.path + query, safe='')}"


viewer = _requires(Role.VIEWER)
operator = _requires(Role.OPERATOR)
admin = _requires(Role.ADMIN)


def _user(request: Request) -> User:
    found: User = request.state.user
    return found


Who = Annotated[User, Depends(_user)]  # after `viewer` and the others, which routers declare
