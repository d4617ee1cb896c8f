"""Who asks, and what they may do.

Every router is included with one of `viewer`, `operator`, `admin`, and a route that changes
something declares `operator` or `admin` itself. Without accounts (a server that only this machine
reaches) the secret in the address that `tuner dashboard` prints makes its bearer the local admin.
"""

from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import Depends, HTTPException, Request, Response, params

from tuner import accounts
from tuner.accounts import Role, User
from tuner.dashboard.context import Board, Context
from tuner.dashboard.entrance import QUERY

LOCAL = User("local", Role.ADMIN)
COOKIE = "tuner_session"
SECURE_COOKIE = "__Host-tuner_session"  # browsers take it from HTTPS alone, and for this host alone


def cookie_name(request: Request, board: Board) -> str:
    """What the session's cookie is called.

    Browsers send a cookie to all ports of a host, as the ends of two tunnels: it is named after the
    port, so that two dashboards do not log each other out.
    """
    return f"{SECURE_COOKIE if board.access.tls else COOKIE}_{port(request, board)}"


def port(request: Request, board: Board) -> int:
    """The port that the browser has asked."""
    return request.url.port or (443 if board.access.tls else 80)


def known(request: Request, board: Context) -> User | None:
    """Who has sent this request; None where nobody has said."""
    user = identify(request, board)
    request.state.user = user
    return user


def identify(request: Request, board: Board) -> User | None:
    """Whom the token or the cookie of a request stands for now; None for nobody."""
    kind, _, bearer = request.headers.get("authorization", "").partition(" ")
    is_bearer = kind.lower() == "bearer"
    secret = bearer if is_bearer else request.cookies.get(cookie_name(request, board), "")
    if not secret:
        return None
    if not board.access.login:
        local = board.access.secret
        if local.opens(secret) if is_bearer else local.opens_as_cookie(secret):
            return LOCAL
        if not is_bearer:  # there are no sessions of accounts
            return None
    holder = accounts.user_of(board.database, secret)
    wanted = "api" if is_bearer else "session"
    return holder[0] if holder is not None and holder[1] == wanted else None


def let_in(request: Request, board: Board, answer: Response) -> None:
    """Give the browser the cookie of a dashboard without accounts."""
    answer.set_cookie(
        cookie_name(request, board),
        board.access.secret.cookie,
        secure=False,
        httponly=True,
        # strict ones are not sent after a link in another program's page, such as a notebook
        samesite="lax",
    )


def _requires(role: Role) -> params.Depends:
    def check(
        request: Request, board: Context, who: Annotated[User | None, Depends(known)]
    ) -> User:
        if _carries_secret(request, board):
            raise HTTPException(303, "come in", headers=_entrance(request, board))
        if who is None:
            if request.url.path.startswith("/api/") or request.url.path == "/metrics":
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


def _carries_secret(request: Request, board: Board) -> bool:
    """Whether this is a visit by the address that was printed."""
    given = request.query_params.get(QUERY)
    return (
        given is not None
        and request.method == "GET"
        and not board.access.login
        and board.access.secret.opens(given)
    )


def _entrance(request: Request, board: Board) -> dict[str, str]:
    """The way to the same page without the secret in its address, with a cookie in its place."""
    answer = Response()
    let_in(request, board, answer)
    rest = [(name, value) for name, value in request.query_params.multi_items() if name != QUERY]
    query = f"?{urlencode(rest)}" if rest else ""
    path = "/" + quote(request.url.path.lstrip("/"))  # `//host` would lead elsewhere
    return {"Location": path + query, "Set-Cookie": answer.headers["set-cookie"]}


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
