"""The first page: all studies, to search, sort and steer together."""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from tuner.commands import reading
from tuner.dashboard import actions, views
from tuner.dashboard.context import ID, Board, Context
from tuner.dashboard.security.access import Who, operator
from tuner.dashboard.summaries import Facts
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
_KEYS: dict[Sort, Callable[[Facts], Any]] = {
    "newest": lambda one: -one.study.id,
    "name": lambda one: one.study.name.casefold(),
    "state": lambda one: (_ORDER.index(one.study.state), -one.study.id),
    "progress": lambda one: -one.progress.finished / max(one.study.max_trials or 0, 1),
    "running": lambda one: -one.running,
    "left": lambda one: math.inf if one.seconds_left is None else one.seconds_left,
}

UNDO: dict[actions.Bulk, actions.Bulk] = {"pause": "resume", "stop": "resume", "resume": "pause"}

router = APIRouter()


class Chosen(BaseModel):
    """What the address says of which studies are shown."""

    q: str = Field("", max_length=200)
    state: StudyState | Literal[""] = ""
    family: str = Field("", max_length=100)
    sort: Sort = "newest"
    page: int = Field(1, ge=1, le=10**6)


@router.get("/")
def first() -> Response:
    """The page that people mean when they name none."""
    return RedirectResponse("/studies", 303)


@router.get("/studies")
def every(request: Request, board: Context, chosen: Annotated[Chosen, Query()]) -> Response:
    """All studies that fit; for a page that is open, the list alone."""
    is_part = request.headers.get("hx-target") == "studies"
    return views.render(
        request, "studies/list.html" if is_part else "studies/page.html", _context(board, chosen)
    )


def _context(board: Board, chosen: Chosen) -> dict[str, Any]:
    every = reading.list_studies(board.database)
    progresses = board.progresses.of(*every)
    facts = [Facts(study, progresses[study.id]) for study in every]
    fitting = sorted((one for one in facts if _fits(one, chosen)), key=_KEYS[chosen.sort])
    pages = max(math.ceil(len(fitting) / PAGE), 1)
    page = min(chosen.page, pages)
    return {
        "chosen": chosen,
        "studies": fitting[(page - 1) * PAGE : page * PAGE],
        "fitting": len(fitting),
        "total": len(facts),
        "page": page,
        "pages": pages,
        "sorts": SORTS,
        "states": list(_ORDER),
        "families": sorted({study.family for study in every if study.family}),
    }


def _fits(one: Facts, chosen: Chosen) -> bool:
    return (
        (not chosen.state or one.study.state is chosen.state)
        and (not chosen.family or one.study.family == chosen.family)
        and all(word in one.search for word in chosen.q.casefold().split())
    )


@router.post("/studies/bulk", dependencies=[operator])
def bulk(
    request: Request,
    board: Context,
    who: Who,
    action: Annotated[actions.Bulk, Form()],
    ids: Annotated[list[Annotated[int, Form(ge=1, le=ID)]], Form(min_length=1, max_length=PAGE)],
    typed: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Do the same to several studies; what cannot be done to one is said and does not stop it."""
    done, wrong, back = [], [], list[int]()
    if action == "delete":
        actions.check_typed(who, typed, f"delete {len(ids)}")
    for study_id in ids:
        try:
            study = reading.find_by_id(board.database, study_id)
            actions.BULK[action](board, study)
            done.append(study.name)
            undone = actions.undo(action, study.state)
            if undone is not None and undone == UNDO[action]:  # the same for all of them
                back.append(study.id)
        except TunerError as error:
            wrong.append(str(error))
    undo = actions.Undo("/studies/bulk", {"action": UNDO[action], "ids": back}) if back else None
    said = _sentence(action, done, wrong)
    return actions.answer(request, "/studies", said, is_bad=bool(wrong), undo=undo)


def _sentence(action: actions.Bulk, done: Sequence[str], wrong: Sequence[str]) -> str:
    said = f"{actions.DONE[action]}: {', '.join(done)}" if done else ""
    return "\n".join(filter(None, (said, *wrong)))
