"""The first page: all studies, to search, sort and steer together."""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from tuner.commands import reading
from tuner.dashboard import actions
from tuner.dashboard.board import Board
from tuner.dashboard.dependencies import MAX_ID, BoardDep
from tuner.dashboard.rendering import templates
from tuner.dashboard.security.access import CurrentUser, operator
from tuner.dashboard.summaries import StudySummary
from tuner.errors import TunerError
from tuner.trials import StudyState

PAGE = 25  # studies

Sort = Literal["newest", "name", "state", "progress", "running", "left"]
SORTS: dict[Sort, str] = {
    "newest": "newest first",
    "name": "name",
    "state": "state",
    "progress": "progress",
    "running": "running trials",
    "left": "time left",
}
_ORDER = [StudyState.ACTIVE, StudyState.PAUSED, StudyState.STOPPED, StudyState.FINISHED]
_KEYS: dict[Sort, Callable[[StudySummary], Any]] = {
    "newest": lambda summary: -summary.study.id,
    "name": lambda summary: summary.study.name.casefold(),
    "state": lambda summary: (_ORDER.index(summary.study.state), -summary.study.id),
    "progress": lambda summary: -summary.progress.finished / max(summary.study.max_trials or 0, 1),
    "running": lambda summary: -summary.running,
    "left": lambda summary: math.inf if summary.seconds_left is None else summary.seconds_left,
}

UNDO: dict[actions.Action, actions.Action] = {
    "pause": "resume",
    "stop": "resume",
    "resume": "pause",
}

router = APIRouter()


class StudyQuery(BaseModel):
    """Which studies the address asks for."""

    q: str = Field("", max_length=200)
    state: StudyState | Literal[""] = ""
    family: str = Field("", max_length=100)
    sort: Sort = "newest"
    page: int = Field(1, ge=1, le=10**6)


@router.get("/")
def index() -> Response:
    """Redirect to the first page."""
    return RedirectResponse("/studies", 303)


@router.get("/studies")
def page(request: Request, board: BoardDep, query: Annotated[StudyQuery, Query()]) -> Response:
    """The studies that match; for an open page, only the list."""
    is_part = request.headers.get("hx-target") == "studies"
    template = "studies/list.html" if is_part else "studies/page.html"
    return templates.render(request, template, _context(board, query))


def _context(board: Board, query: StudyQuery) -> dict[str, Any]:
    studies = reading.list_studies(board.database)
    progress = board.progress.of(*studies)
    summaries = [StudySummary(study, progress[study.id]) for study in studies]
    matches = sorted((s for s in summaries if _matches(s, query)), key=_KEYS[query.sort])
    pages = max(math.ceil(len(matches) / PAGE), 1)
    number = min(query.page, pages)
    return {
        "query": query,
        "summaries": matches[(number - 1) * PAGE : number * PAGE],
        "matching": len(matches),
        "total": len(summaries),
        "page": number,
        "pages": pages,
        "sorts": SORTS,
        "states": list(_ORDER),
        "families": sorted({study.family for study in studies if study.family}),
    }


def _matches(summary: StudySummary, query: StudyQuery) -> bool:
    return (
        (not query.state or summary.study.state is query.state)
        and (not query.family or summary.study.family == query.family)
        and all(word in summary.search for word in query.q.casefold().split())
    )


@router.post("/studies/bulk", dependencies=[operator])
def bulk(
    request: Request,
    board: BoardDep,
    user: CurrentUser,
    action: Annotated[actions.Action, Form()],
    ids: Annotated[
        list[Annotated[int, Form(ge=1, le=MAX_ID)]], Form(min_length=1, max_length=PAGE)
    ],
    typed: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Apply an action to several studies; one that fails does not stop the others."""
    names, errors, undoable = [], [], list[int]()
    if action == "delete":
        actions.check_may_delete(user, typed, f"delete {len(ids)}")
    for study_id in ids:
        try:
            study = reading.find_by_id(board.database, study_id)
            actions.ACTIONS[action](board, study)
            names.append(study.name)
            inverse = actions.inverse_of(action, study.state)
            if inverse is not None and inverse == UNDO[action]:  # the same for all of them
                undoable.append(study.id)
        except TunerError as error:
            errors.append(str(error))
    undo = None
    if undoable:
        undo = actions.Undo("/studies/bulk", {"action": UNDO[action], "ids": undoable})
    message = _message(action, names, errors)
    return actions.respond(request, "/studies", message, is_error=bool(errors), undo=undo)


def _message(action: actions.Action, names: Sequence[str], errors: Sequence[str]) -> str:
    outcome = f"{actions.PARTICIPLES[action]}: {', '.join(names)}" if names else ""
    return "\n".join(filter(None, (outcome, *errors)))
