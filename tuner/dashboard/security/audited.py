"""Every request that could change something is written down: by whom, when, and what came of it.

Written before the answer leaves, so that nobody is told of a change that is in no log. What is
refused to somebody unknown changes nothing, and anybody may send it as often as they like: of these
requests a sample is written, with how many were left out.
"""

import logging
import threading
import time
from collections.abc import Callable

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuner.dashboard.context import Board
from tuner.dashboard.security.guards import SAFE_METHODS
from tuner.database import audit
from tuner.errors import TunerError

KEPT_DAYS = 365
BURST = 20  # entries of refused strangers in a row, and then
EVERY = 60.0  # seconds for each

_log = logging.getLogger(__name__)


def note(request: Request, detail: str) -> None:
    """What the audit log shall say of this request beside its address."""
    request.state.detail = detail


class Sample:
    """Which refused requests of strangers are written down; for many threads at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._free = float(BURST)
        self._at = clock()
        self._left_out = 0

    def take(self) -> int | None:
        """How many were left out before this one; None where it is left out itself."""
        with self._lock:
            now = self._clock()
            self._free = min(float(BURST), self._free + (now - self._at) / EVERY)
            self._at = now
            if self._free < 1:
                self._left_out += 1
                return None
            self._free -= 1
            left_out, self._left_out = self._left_out, 0
            return left_out


class Audited:
    """A layer inside of the guards: what these refuse has no effect and is not written down."""

    def __init__(self, app: ASGIApp, *, board: Board) -> None:
        self._app = app
        self._board = board
        self._sample = Sample()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})

        async def written(message: Message) -> None:
            if message["type"] == "http.response.start":
                await run_in_threadpool(self._write, scope, message["status"])
            await send(message)

        await self._app(scope, receive, written)

    def _write(self, scope: Scope, status: int) -> None:
        user = scope["state"].get("user")
        detail = scope["state"].get("detail", "")
        # a login that succeeds is nobody's request as well
        if user is None and not (scope["path"] == "/login" and status < 400):
            left_out = self._sample.take()
            if left_out is None:
                return
            if left_out:
                detail = f"{detail} ({left_out:,} like it before were left out)".strip()
        try:
            with self._board.database.statement() as connection:
                audit.write(
                    connection,
                    actor="nobody" if user is None else user.name,
                    action=f"{scope['method']} {scope['path']}",
                    status=status,
                    detail=detail,
                )
        except TunerError as error:  # the change itself, if there was one, has been made
            _log.warning("not in the audit log: %s %s: %s", scope["method"], scope["path"], error)
