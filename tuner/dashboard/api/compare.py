"""Several studies beside each other."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from tuner import study_json
from tuner.commands import reading
from tuner.dashboard import comparing
from tuner.dashboard.comparing import COSTS, MOST, Compared
from tuner.dashboard.context import ID, Context

router = APIRouter(tags=["studies"])


@router.get("/compare")
def compare(
    board: Context,
    studies: Annotated[
        list[Annotated[int, Query(ge=1, le=ID)]],
        Query(min_length=1, max_length=MOST, description="Ids of studies."),
    ],
) -> dict[str, Any]:
    """How fast each study improves, what its values cost, and which pays best.

    `paid` has, by what was measured, the best value for a cost: no cheaper trial has reached it.
    """
    chosen = [reading.find_by_id(board.database, id_) for id_ in dict.fromkeys(studies)]
    found = [_record(one) for one in comparing.compared(board, chosen)]
    return dict(
        study_json.plain({"studies": found, "costs": COSTS, "warning": comparing.unlike(chosen)})
    )


def _record(one: Compared) -> dict[str, Any]:
    study, progress = one.one.study, one.one.progress
    return {
        "id": study.id,
        "name": study.name,
        "family": study.family,
        "metric": study.metric,
        "direction": study.direction,
        "best": progress.best_value,
        "best_trial": progress.best_number,
        "best_quarter": one.quarter,
        "median": one.median,
        "trials": progress.finished,
        "pruned": one.pruned,
        "seconds": progress.seconds,
        "seconds_a_trial": one.each,
        "seconds_to_99_percent": one.near,
        "improving": [asdict(i) for i in one.improving],
        "paid": {name: [asdict(p) for p in found] for name, found in one.paid.items()},
    }
