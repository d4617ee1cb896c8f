"""One study: its header with the controls, and its tabs, each at its own address."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from starlette.background import BackgroundTask

from tuner.accounts import Role
from tuner.commands import reading
from tuner.dashboard.board import Board
from tuner.dashboard.dependencies import BoardDep, StudyId
from tuner.dashboard.pages.study import configuration, log, notes
from tuner.dashboard.pages.study.snippets import snippets
from tuner.dashboard.plots import figures
from tuner.dashboard.rendering import templates
from tuner.dashboard.security.access import CurrentUser
from tuner.dashboard.summaries import StudySummary, params_of, spec_of
from tuner.database.readers import feed
from tuner.report import findings
from tuner.trials import Study, StudyState, Trial, TrialState


def _no_variables(_board: Board, _study: Study) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab: its title and the variables of its template, besides the study's."""

    title: str
    variables: Callable[[Board, Study], Mapping[str, Any]] = _no_variables


def _parameters(board: Board, study: Study) -> Mapping[str, Any]:
    """The names of the trials' parameters, to choose from, and further figures."""
    with board.live_studies.locked(study.id) as (_, live_study):
        return {"names": list(live_study.trials.params), "unplaced": figures.unplaced()}


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
WITH_FIGURES = frozenset({"overview", "analyse", "trials", "timeline"})

router = APIRouter(prefix="/studies/{study_id:int}")


@router.get("")
def first(study_id: StudyId) -> Response:
    """Redirect to the first tab."""
    return RedirectResponse(f"/studies/{study_id}/overview", 303)


@router.get("/header")
def header(request: Request, board: BoardDep, user: CurrentUser, study_id: StudyId) -> Response:
    """Only the header, for an open page."""
    context = _context(board, reading.find_by_id(board.database, study_id), user.role)
    return templates.render(request, "study/header.html", context)


@router.get("/{tab}")
def tab(
    request: Request, board: BoardDep, user: CurrentUser, study_id: StudyId, tab: str
) -> Response:
    """A tab of a study's page."""
    if tab not in TABS:
        raise HTTPException(404, "there is no such page")
    study = reading.find_by_id(board.database, study_id)
    context = {
        **_context(board, study, user.role),
        "tabs": TABS,
        "tab": tab,
        **TABS[tab].variables(board, study),
    }
    page = templates.render(request, f"study/{tab}.html", context)
    if tab in WITH_FIGURES:  # meanwhile the browser loads the scripts
        page.background = BackgroundTask(board.live_studies.prefetch, study_id)
    return page


def _context(board: Board, study: Study, role: Role) -> dict[str, Any]:
    summary = StudySummary(study, board.progress.of(study)[study.id])
    best = _best(board, summary)
    return {
        "study": study,
        "summary": summary,
        "best": best,
        "infeasible": None if best else reading.describe_infeasible(board.database, study),
        "snippets": [] if best is None else snippets(study.name, params_of(study, best)),
        "controls": _controls(summary, role),
        "subtitle": _subtitle(study),
        "spec": spec_of(study),
    }


def _best(board: Board, summary: StudySummary) -> Trial | None:
    if summary.progress.best_number is None:
        return None
    with board.database.statement() as connection:
        return feed.by_number(connection, summary.study.id, summary.progress.best_number)


def _controls(summary: StudySummary, role: Role) -> frozenset[str]:
    """The controls that this user has in the study's present state."""
    if role < Role.OPERATOR:
        return frozenset()
    state, has_spec = summary.study.state, summary.study.spec is not None
    available = {
        "pause": state is StudyState.ACTIVE,
        "resume": state in (StudyState.PAUSED, StudyState.STOPPED),
        "stop": state in (StudyState.ACTIVE, StudyState.PAUSED),
        "change": True,
        "enqueue": True,
        "clone": has_spec,
        "retry": summary.progress.counts[TrialState.FAILED] > 0,
        "delete": role >= Role.ADMIN and (state is not StudyState.ACTIVE or not has_spec),
    }
    return frozenset(name for name, is_available in available.items() if is_available)


def _subtitle(study: Study) -> str:
    parts = [study.family or "made through Optuna"]
    parts += [f"{d} {m}" for d, m in zip(study.directions, study.metrics, strict=False)]
    source = findings.lookup(study.spec, "data", "source")
    if source:
        parts.append(f"on {source}")
    return " · ".join(parts)
