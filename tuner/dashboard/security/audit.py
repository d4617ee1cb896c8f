"""The audit log: every request that could change something, with who, when and the outcome.

An entry is written before the response leaves, so that no client learns of a change that is not in
the log. Requests that are refused to strangers change nothing, and anybody can send any number of
them: the log holds a sample of these, with how many were left out.
"""

import logging
import threading
import time
from collections.abc import Callable

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuner.dashboard.board import Board
from tuner.dashboard.security.guards import SAFE_METHODS
from tuner.database import audit
from tuner.errors import TunerError

RETENTION_DAYS = 365
BURST = 20  # entries for strangers' requests in a row
PERIOD = 60.0  # seconds between further ones

_log = logging.getLogger(__name__)


def note(request: Request, detail: str) -> None:
    """Add a detail to this request's entry in the audit log."""
    request.state.detail = detail


class RefusalSampler:
    """Chooses which of strangers' refused requests are logged; thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = float(BURST)
        self._refilled_at = clock()
        self._left_out = 0

    def take(self) -> int | None:
        """Take a token: how many requests were left out since the last; None without a token."""
        with self._lock:
            now = self._clock()
            self._tokens = min(float(BURST), self._tokens + (now - self._refilled_at) / PERIOD)
            self._refilled_at = now
            if self._tokens < 1:
                self._left_out += 1
                return None
            self._tokens -= 1
            left_out, self._left_out = self._left_out, 0
            return left_out


class AuditMiddleware:
    """A layer inside the guards: what these refuse has no effect and is not logged."""

    def __init__(self, app: ASGIApp, *, board: Board) -> None:
        self._app = app
        self._board = board
        self._sampler = RefusalSampler()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})

        async def send_logged(message: Message) -> None:
            if message["type"] == "http.response.start":
                await run_in_threadpool(self._write, scope, message["status"])
            await send(message)

        await self._app(scope, receive, send_logged)

    def _write(self, scope: Scope, status: int) -> None:
        user = scope["state"].get("user")
        detail = scope["state"].get("detail", "")
        # a successful login is a stranger's request too
        if user is None and not (scope["path"] == "/login" and status < 400):
            left_out = self._sampler.take()
            if left_out is None:
                return
            if left_out:
                detail = f"{detail} ({left_out:,} similar requests before it left out)".strip()
        try:
            with self._board.database.statement() as connection:
                audit.write(
                    connection,
                    actor="nobody" if user is None else user.name,
                    action=f"{scope['method']} {scope['path']}",
                    status=status,
                    detail=detail,
                )
        except TunerError as error:  # a change, if there was one, is already made
            _log.warning("not in the audit log: %s %s: %s", scope["method"], scope["path"], error)
