"""One study: its header and its tabs, each at an address of its own."""

from collections.abc import Mapping
from types import MappingProxyType

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from tuner import commands
from tuner.dashboard import views
from tuner.dashboard.context import Context, StudyId

TABS: Mapping[str, str] = MappingProxyType(
    {
        "overview": "Overview",
        "analyse": "Analyse",
        "trials": "Trials",
        "timeline": "Timeline",
    }
)

router = APIRouter(prefix="/studies/{study_id:int}")


@router.get("")
def first(study_id: StudyId) -> Response:
    """The first tab."""
    return RedirectResponse(f"/studies/{study_id}/overview", 307)


@router.get("/{tab}")
def tab(request: Request, board: Context, study_id: StudyId, tab: str) -> Response:
    """A tab of a study's page."""
    if tab not in TABS:
        raise HTTPException(404, "there is no such page")
    one = commands.overview_of(board.database, study_id)
    context = {"one": one, "study": one.study, "tabs": TABS, "tab": tab}
    return views.render(request, f"study/{tab}.html", context)
