"""The checks of every request before a route sees it, and the headers of every response.

Plain ASGI, because streams must pass through unbuffered. A page of another site cannot read our
responses (no CORS), cannot reach us under a name of its own (Host, against DNS rebinding) and
cannot make us change anything (Origin); what slips through our escaping cannot run
(Content-Security-Policy).
"""

import logging
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger(__name__)

MAX_BODY = 1_000_000  # bytes
TOO_LARGE = f"a request may have at most {MAX_BODY:,} bytes"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

# Plotly sets the attribute `style` of what it draws, and adds its rules one by one to a style
# element that is empty in the page: the digest is that of nothing. Everything else is in our files.
_EMPTY = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        f"style-src 'self' {_EMPTY}",
        "style-src-attr 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
HSTS = {"Strict-Transport-Security": "max-age=31536000"}


class Guards:
    """The outermost layer of the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str],
        tls: bool = False,
        is_proxied: bool = False,
    ) -> None:
        """Guard `app`.

        `hosts`: the names this server answers to, without ports. `tls`: browsers reach it by HTTPS,
        and must not try without it again. `is_proxied`: a proxy passes on the client's address,
        which the login limits need.
        """
        self._is_proxied = is_proxied
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._scheme = "https" if tls else "http"
        self._headers = {**HEADERS, **(HSTS if tls else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refuse(scope)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
            return
        await self._app(scope, _limit_body(receive), send_with_headers)

    def _refuse(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if self._is_proxied and (mistake := _proxy_mistake(scope, headers)):
            _log.warning("%s", mistake)
            return PlainTextResponse(f"{mistake}.\n", 400)
        host = headers.get("host", "")
        if _name(host) not in self._hosts:
            return PlainTextResponse(
                "This server does not answer to that host name; `--host-name` allows it.\n", 421
            )
        if scope["method"] not in SAFE_METHODS and not _is_own(headers, self._scheme, host):
            return PlainTextResponse("Requests from another site's pages are refused.\n", 403)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return PlainTextResponse(f"{TOO_LARGE}.\n", 413)
        return None


def _proxy_mistake(scope: Scope, headers: Headers) -> str | None:
    """What the proxy in front fails to pass on; None if it passes on everything.

    If uvicorn trusts the proxy, it has already set the client's address from these headers.
    """
    if scope["path"] == "/healthz":  # requested by the proxy itself, or by a process supervisor
        return None
    forwarded = headers.get("x-forwarded-for")
    if forwarded is None:
        return "the proxy in front must pass on X-Forwarded-For, the client's address"
    client = scope["client"][0] if scope.get("client") else ""
    if client not in forwarded:
        return f"the proxy at {client} is not trusted; start the dashboard with `--proxy {client}`"
    if scope["scheme"] != "https":
        return "the proxy in front must pass on `X-Forwarded-Proto: https`, and browsers use HTTPS"
    return None


def _is_own(headers: Headers, scheme: str, host: str) -> bool:
    """Whether one of our pages, or no page at all, sent this request."""
    origin = headers.get("origin")
    if origin is not None:  # compared as a whole: with nothing to parse, nothing is malformed
        return origin.lower() == f"{scheme}://{host}".lower()
    # a program sends neither; every current browser sends this one
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _name(host: str) -> str:
    """The Host header without its port, as of `localhost:8080` and `[::1]:8080`."""
    host = host.lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


def _limit_body(receive: Receive) -> Receive:
    size = 0

    async def receive_limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY:
            raise HTTPException(413, TOO_LARGE)
        return message

    return receive_limited
