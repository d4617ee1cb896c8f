"""One study: its header with the controls, and its tabs, each at an address of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from starlette.background import BackgroundTask

from tuner.accounts import Role
from tuner.commands import reading
from tuner.dashboard import views
from tuner.dashboard.context import Board, Context, StudyId
from tuner.dashboard.pages.study import configuration, log, notes
from tuner.dashboard.pages.study.snippets import Snippet, snippets
from tuner.dashboard.plots import figures
from tuner.dashboard.security.access import Who
from tuner.dashboard.summaries import Facts, params_of, spec_of
from tuner.database.readers import feed
from tuner.report import findings
from tuner.trials import Study, StudyState, Trial, TrialState


def _nothing_more(_board: Board, _study: Study) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab: its title and what its template is given beside the study."""

    title: str
    context: Callable[[Board, Study], Mapping[str, Any]] = _nothing_more


def _parameters(board: Board, study: Study) -> Mapping[str, Any]:
    """The names of the parameters that trials have, for choices, and further figures."""
    with board.watched.looking(study.id) as (_, seen):
        return {"names": list(seen.live.params), "unplaced": figures.unplaced()}


TABS: Mapping[str, Tab] = MappingProxyType(
    {
        "overview": Tab("Overview"),
        "analyse": Tab("Analyse", _parameters),
        "trials": Tab("Trials"),
        "timeline": Tab("Timeline"),
        "log": Tab("Log", log.context),
        "configuration": Tab("Configuration", configuration.context),
        "notes": Tab("Notes", notes.context),
    }
)
WATCHING = frozenset({"overview", "analyse", "trials", "timeline"})  # ask for columns at once

router = APIRouter(prefix="/studies/{study_id:int}")


@router.get("")
def first(study_id: StudyId) -> Response:
    """The first tab."""
    return RedirectResponse(f"/studies/{study_id}/overview", 303)


@router.get("/header")
def header(request: Request, board: Context, who: Who, study_id: StudyId) -> Response:
    """The header alone, for a page that is open."""
    context = _context(board, reading.find_by_id(board.database, study_id), who.role)
    return views.render(request, "study/header.html", context)


@router.get("/{tab}")
def tab(request: Request, board: Context, who: Who, study_id: StudyId, tab: str) -> Response:
    """A tab of a study's page."""
    if tab not in TABS:
        raise HTTPException(404, "there is no such page")
    study = reading.find_by_id(board.database, study_id)
    context = {
        **_context(board, study, who.role),
        "tabs": TABS,
        "tab": tab,
        **TABS[tab].context(board, study),
    }
    page = views.render(request, f"study/{tab}.html", context)
    if tab in WATCHING:  # while the browser reads the scripts
        page.background = BackgroundTask(board.watched.expect, study_id)
    return page


def _context(board: Board, study: Study, role: Role) -> dict[str, Any]:
    one = Facts(study, board.progresses.of(study)[study.id])
    found = _best(board, one)
    return {
        "study": study,
        "one": one,
        "best": found,
        "snippets": _snippets(study, found),
        "controls": _controls(one, role),
        "subtitle": _subtitle(study),
        "spec": spec_of(study),
    }


def _best(board: Board, one: Facts) -> Trial | None:
    if one.progress.best_number is None:
        return None
    with board.database.statement() as connection:
        return feed.by_number(connection, one.study.id, one.progress.best_number)


def _snippets(study: Study, found: Trial | None) -> list[Snippet]:
    return [] if found is None else snippets(study.name, params_of(study, found))


def _controls(one: Facts, role: Role) -> frozenset[str]:
    """What this user can do to the study as it is now."""
    if role < Role.OPERATOR:
        return frozenset()
    state, is_ours = one.study.state, one.study.spec is not None
    can = {
        "pause": state is StudyState.ACTIVE,
        "resume": state in (StudyState.PAUSED, StudyState.STOPPED),
        "stop": state in (StudyState.ACTIVE, StudyState.PAUSED),
        "change": True,
        "enqueue": True,
        "clone": is_ours,
        "retry": one.progress.counts[TrialState.FAILED] > 0,
        "delete": role >= Role.ADMIN and (state is not StudyState.ACTIVE or not is_ours),
    }
    return frozenset(name for name, possible in can.items() if possible)


def _subtitle(study: Study) -> str:
    parts = [study.family or "made through Optuna"]
    parts += [f"{d} {m}" for d, m in zip(study.directions, study.metrics, strict=False)]
    source = findings.lookup(study.spec, "data", "source")
    if source:
        parts.append(f"on {source}")
    return " · ".join(parts)
