"""Studies as JSON."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from tuner import commands, records
from tuner.dashboard.context import Context, StudyId

MAX_PAGE = 200  # entries

router = APIRouter(prefix="/studies", tags=["studies"])


@router.get("")
def every(
    board: Context,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> dict[str, Any]:
    """All studies, the newest first."""
    found = commands.overviews(board.database)[::-1]
    page = found[offset : offset + limit]
    return {"total": len(found), "studies": [_overview(one) for one in page]}


@router.get("/{study_id:int}")
def one(board: Context, study_id: StudyId) -> dict[str, Any]:
    """One study."""
    return _overview(commands.overview_of(board.database, study_id))


def _overview(one: commands.Overview) -> dict[str, Any]:
    plain: dict[str, Any] = records.plain({**records.of_study(one.study), "counts": one.counts})
    return plain
