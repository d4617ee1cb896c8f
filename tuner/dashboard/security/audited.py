"""Every request that could change something is written down: by whom, when, and what came of it.

Written before the answer leaves, so that nobody is told of a change that is in no log.
"""

import logging

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuner.dashboard.context import Board
from tuner.dashboard.security.guards import SAFE_METHODS
from tuner.database import audit
from tuner.errors import TunerError

_log = logging.getLogger(__name__)


def note(request: Request, detail: str) -> None:
    """What the audit log shall say of this request beside its address."""
    request.state.detail = detail


class Audited:
    """A layer inside of the guards: what these refuse has no effect and is not written down."""

    def __init__(self, app: ASGIApp, *, board: Board) -> None:
        self._app = app
        self._board = board

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
        try:
            with self._board.database.statement() as connection:
                audit.write(
                    connection,
                    actor="nobody" if user is None else user.name,
                    action=f"{scope['method']} {scope['path']}",
                    status=status,
                    detail=scope["state"].get("detail", ""),
                )
        except TunerError as error:  # the change itself, if there was one, has been made
            _log.warning("not in the audit log: %s %s: %s", scope["method"], scope["path"], error)
