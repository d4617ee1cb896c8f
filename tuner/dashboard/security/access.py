"""Authentication and roles.

Every router is included with one of `viewer`, `operator`, `admin`, and a route that changes
something declares `operator` or `admin` itself. Without accounts (a server that only this machine
reaches) the secret in the address that `tuner dashboard` prints makes its bearer the local admin.
"""

from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import Depends, HTTPException, Request, Response, params

from tuner import accounts
from tuner.accounts import Role, User
from tuner.dashboard.board import Board
from tuner.dashboard.dependencies import BoardDep
from tuner.dashboard.local_secret import QUERY

LOCAL = User("local", Role.ADMIN)
COOKIE = "tuner_session"
SECURE_COOKIE = "__Host-tuner_session"  # browsers accept it only by HTTPS, and only for this host


def cookie_name(request: Request, board: Board) -> str:
    """The name of the session's cookie.

    Browsers send a cookie to all ports of a host, such as the ends of two tunnels: the name holds
    the port, so that two dashboards do not log each other out.
    """
    return f"{SECURE_COOKIE if board.access.tls else COOKIE}_{port(request, board)}"


def port(request: Request, board: Board) -> int:
    """The port that the browser connects to."""
    return request.url.port or (443 if board.access.tls else 80)


def authenticate(request: Request, board: BoardDep) -> User | None:
    """The user who sent this request; None for a stranger."""
    user = identify(request, board)
    request.state.user = user
    return user


def identify(request: Request, board: Board) -> User | None:
    """The user whom a request's token or cookie stands for now; None if it is not valid."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    is_bearer = scheme.lower() == "bearer"
    secret = bearer if is_bearer else request.cookies.get(cookie_name(request, board), "")
    if not secret:
        return None
    if not board.access.login:
        local = board.access.secret
        if local.opens(secret) if is_bearer else local.opens_as_cookie(secret):
            return LOCAL
        if not is_bearer:  # accounts have no sessions here
            return None
    holder = accounts.find_user(board.database, secret)
    kind = "api" if is_bearer else "session"
    return holder[0] if holder is not None and holder[1] == kind else None


def set_local_cookie(request: Request, board: Board, response: Response) -> None:
    """Give the browser the cookie of a dashboard without accounts."""
    response.set_cookie(
        cookie_name(request, board),
        board.access.secret.cookie,
        secure=False,
        httponly=True,
        # a strict cookie is not sent after a click in another program's page, such as a notebook
        samesite="lax",
    )


def _requires(role: Role) -> params.Depends:
    def check(
        request: Request, board: BoardDep, user: Annotated[User | None, Depends(authenticate)]
    ) -> User:
        if _carries_secret(request, board):
            raise HTTPException(303, "logged in", headers=_redirect(request, board))
        if user is None:
            if request.url.path.startswith("/api/") or request.url.path == "/metrics":
                raise HTTPException(
                    401, "log in, or send a token", headers={"WWW-Authenticate": "Bearer"}
                )
            if request.headers.get("hx-request"):  # else the login would replace a part of a page
                raise HTTPException(401, "log in again", headers={"HX-Redirect": "/login"})
            raise HTTPException(303, "log in", headers={"Location": _login(request)})
        if user.role < role:
            message = f"{user.name} has the role {user.role}; this needs the role {role}"
            raise HTTPException(403, message)
        return user

    dependency: params.Depends = Depends(check)
    return dependency


def _carries_secret(request: Request, board: Board) -> bool:
    """Whether this is a visit to the printed address."""
    secret = request.query_params.get(QUERY)
    return (
        secret is not None
        and request.method == "GET"
        and not board.access.login
        and board.access.secret.opens(secret)
    )


def _redirect(request: Request, board: Board) -> dict[str, str]:
    """Headers that lead to the same page, with a cookie instead of the secret in its address."""
    response = Response()
    set_local_cookie(request, board, response)
    rest = [(name, value) for name, value in request.query_params.multi_items() if name != QUERY]
    query = f"?{urlencode(rest)}" if rest else ""
    path = "/" + quote(request.url.path.lstrip("/"))  # `//host` would lead elsewhere
    return {"Location": path + query, "Set-Cookie": response.headers["set-cookie"]}


def _login(request: Request) -> str:
    if request.method != "GET":
        return "/login"
    query = f"?{request.url.query}" if request.url.query else ""
    return f"/login?next={quote(request.url.path + query, safe='')}"


viewer = _requires(Role.VIEWER)
operator = _requires(Role.OPERATOR)
admin = _requires(Role.ADMIN)


def _current_user(request: Request) -> User:
    user: User = request.state.user
    return user


# after `viewer` and the others, which routers declare
CurrentUser = Annotated[User, Depends(_current_user)]
