"""Several studies side by side."""

from typing import Annotated

from fastapi import APIRouter, Query

from tuner.commands import reading
from tuner.dashboard import comparison
from tuner.dashboard.api.models import NOT_FOUND
from tuner.dashboard.api.models.comparison import ComparedStudyRecord, ComparisonRecord
from tuner.dashboard.comparison import COSTS, MAX_STUDIES, ComparedStudy
from tuner.dashboard.dependencies import MAX_ID, BoardDep

router = APIRouter(tags=["studies"])


@router.get("/compare", responses=NOT_FOUND)
def compare(
    board: BoardDep,
    studies: Annotated[
        list[Annotated[int, Query(ge=1, le=MAX_ID)]],
        Query(min_length=1, max_length=MAX_STUDIES, description="The studies' ids."),
    ],
) -> ComparisonRecord:
    """Compare studies: how fast each improves, and what its values cost."""
    chosen = [reading.find_by_id(board.database, id_) for id_ in dict.fromkeys(studies)]
    return ComparisonRecord(
        studies=[_record(compared) for compared in comparison.compare(board, chosen)],
        costs=dict(COSTS),
        warning=comparison.comparability_warning(chosen),
    )


def _record(compared: ComparedStudy) -> ComparedStudyRecord:
    study, progress = compared.summary.study, compared.summary.progress
    return ComparedStudyRecord.of(
        {
            "id": study.id,
            "name": study.name,
            "family": study.family,
            "metric": study.metric,
            "direction": study.direction,
            "best": progress.best_value,
            "best_trial": progress.best_number,
            "best_quarter": compared.best_quarter,
            "median": compared.median,
            "trials": progress.finished,
            "pruned": compared.pruned,
            "seconds": progress.seconds,
            "seconds_a_trial": compared.seconds_per_trial,
            "seconds_to_99_percent": compared.seconds_to_99_percent,
            "improving": compared.improvements,
            "paid": compared.cost_fronts,
        }
    )
