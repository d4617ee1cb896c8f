"""Steering studies from a page: the functions of `commands`, and how their outcome is reported."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from fastapi import HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from tuner.accounts import Role, User
from tuner.commands import steering
from tuner.dashboard.board import Board
from tuner.dashboard.security.audit import note
from tuner.errors import BadInputError
from tuner.study_file.messages import quoted
from tuner.trials import Study, StudyState

Action = Literal["pause", "resume", "stop", "delete"]

ACTIONS: Mapping[Action, Callable[[Board, Study], object]] = {
    "pause": lambda board, study: steering.pause(board.database, study.name),
    "resume": lambda board, study: steering.resume(board.database, study.name),
    "stop": lambda board, study: steering.stop(board.database, study.name),
    "delete": lambda board, study: steering.delete(board.database, board.settings, study.name),
}
PARTICIPLES: Mapping[Action, str] = {
    "pause": "paused",
    "resume": "resumed",
    "stop": "stopped",
    "delete": "deleted",
}


def check_may_delete(user: User, typed: str, expected: str) -> None:
    """HTTPException unless an admin has typed what is to be deleted: it cannot be undone."""
    if user.role < Role.ADMIN:
        message = f"{user.name} has the role {user.role}; deleting needs the role admin"
        raise HTTPException(403, message)
    check_typed(typed, expected)


def check_typed(typed: str, expected: str) -> None:
    """BadInputError unless what is to be deleted was typed."""
    if typed.strip() != expected.strip():
        raise BadInputError(f"type {quoted(expected)} to confirm; nothing was deleted")


@dataclass(frozen=True, slots=True)
class Undo:
    """The request that undoes an action."""

    path: str  # to post to
    values: Mapping[str, Any] = field(default_factory=dict)


def inverse_of(action: Action, before: StudyState) -> Action | None:
    """The action that restores a study's state from before; None if there is none."""
    if action == "resume":
        return "pause" if before is StudyState.PAUSED else "stop"
    return "resume" if action != "delete" and before is StudyState.ACTIVE else None


def respond(
    request: Request,
    path: str,
    message: str,
    *,
    is_error: bool = False,
    undo: Undo | None = None,
) -> Response:
    """Report what was done: as an event to an open page, else by a redirect to `path`."""
    note(request, message)
    if not request.headers.get("hx-request"):
        return RedirectResponse(path, 303)
    # headers are Latin-1
    event: dict[str, Any] = {"message": quote(message[:2_000]), "error": is_error}
    if undo is not None:
        event["undo"] = {"path": undo.path, "values": undo.values}
    return Response(status_code=204, headers={"HX-Trigger": json.dumps({"tuner:done": event})})
