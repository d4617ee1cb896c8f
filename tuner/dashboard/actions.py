"""Steering studies from a page: the functions of `commands`, and how their outcome is told."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from fastapi import HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from tuner.accounts import Role, User
from tuner.commands import steering
from tuner.dashboard.context import Board
from tuner.dashboard.security.audited import note
from tuner.errors import BadInputError
from tuner.study_file.messages import quoted
from tuner.trials import Study, StudyState

Bulk = Literal["pause", "resume", "stop", "delete"]

BULK: Mapping[Bulk, Callable[[Board, Study], object]] = {
    "pause": lambda board, study: steering.pause(board.database, study.name),
    "resume": lambda board, study: steering.resume(board.database, study.name),
    "stop": lambda board, study: steering.stop(board.database, study.name),
    "delete": lambda board, study: steering.delete(board.database, board.settings, study.name),
}
DONE: Mapping[Bulk, str] = {
    "pause": "paused",
    "resume": "active",
    "stop": "stopped",
    "delete": "deleted",
}


def check_typed(who: User, typed: str, wanted: str) -> None:
    """What cannot be undone needs an admin who has typed what is to go."""
    if who.role < Role.ADMIN:
        raise HTTPException(403, f"{who.name} is {who.role}; deleting needs the role admin")
    check_name(typed, wanted)


def check_name(typed: str, wanted: str) -> None:
    """BadInputError unless what is to go was typed."""
    if typed.strip() != wanted.strip():
        raise BadInputError(f"type {quoted(wanted)} to delete for good; nothing was deleted")


@dataclass(frozen=True, slots=True)
class Undo:
    """What a page asks for to undo what was done."""

    path: str  # to post to
    values: Mapping[str, Any] = field(default_factory=dict)


def undo(action: Bulk, before: StudyState) -> Bulk | None:
    """What sets a study back that was in another state before; None where nothing does."""
    if action == "resume":
        return "pause" if before is StudyState.PAUSED else "stop"
    return "resume" if action != "delete" and before is StudyState.ACTIVE else None


def answer(
    request: Request,
    path: str,
    said: str,
    *,
    is_bad: bool = False,
    undo: Undo | None = None,
) -> Response:
    """What was done: as an event for a page that is open, or by leading to `path`."""
    note(request, said)
    if not request.headers.get("hx-request"):
        return RedirectResponse(path, 303)
    # headers are Latin-1
    event: dict[str, Any] = {"said": quote(said[:2_000]), "bad": is_bad}
    if undo is not None:
        event["undo"] = {"path": undo.path, "values": undo.values}
    return Response(status_code=204, headers={"HX-Trigger": json.dumps({"tuner:done": event})})
