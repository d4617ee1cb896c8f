"""The page Compare: several studies side by side."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from tuner.commands import reading
from tuner.dashboard import comparison
from tuner.dashboard.comparison import MAX_STUDIES, ComparedStudy
from tuner.dashboard.dependencies import MAX_ID, BoardDep
from tuner.dashboard.rendering import templates
from tuner.dashboard.rendering.charts import Chart, Point, draw_chart
from tuner.trials import LATENCY, PARAMETERS, TRAINING_SECONDS, Study

router = APIRouter()
Ids = Annotated[list[Annotated[int, Query(ge=1, le=MAX_ID)]] | None, Query(max_length=MAX_STUDIES)]


@router.get("/compare")
def page(request: Request, board: BoardDep, studies: Ids = None) -> Response:
    """The studies whose ids are in the address, and a list to choose from."""
    all_studies = reading.list_studies(board.database)
    by_id = {study.id: study for study in all_studies}
    chosen = [by_id[id_] for id_ in dict.fromkeys(studies or ()) if id_ in by_id]
    rows = comparison.compare(board, chosen)
    context = {
        "chosen": chosen,
        "groups": _groups(all_studies),
        "max_studies": MAX_STUDIES,
        "warning": comparison.comparability_warning(chosen),
        "rows": rows,
        "charts": _charts(rows),
    }
    return templates.render(request, "compare.html", context)


def _groups(studies: Sequence[Study]) -> list[tuple[str, list[Study]]]:
    """Studies with the same data, metric and direction together, each group with a title."""
    by_goal: dict[tuple[Any, ...], list[Study]] = {}
    for study in reversed(studies):
        goal = (study.data_fingerprint, study.metric, study.direction)
        by_goal.setdefault(goal, []).append(study)
    groups = []
    for group in sorted(by_goal.values(), key=len, reverse=True):
        first = group[0]
        data = (first.spec or {}).get("data") or {}
        on_data = f" on {data['source']}" if data.get("source") else ""
        groups.append((f"{first.direction} {first.metric}{on_data}", group))
    return groups


def _charts(rows: Sequence[ComparedStudy]) -> list[Chart]:
    """The charts that have something to show."""
    improvements = {row.summary.study.name: row.improvements for row in rows}
    charts = [
        draw_chart(
            "Best so far by trials",
            {name: [(i.ended, i.best) for i in course] for name, course in improvements.items()},
            x_title="finished trials",
            log_x=True,
            steps=True,
        ),
        draw_chart(
            "Best so far by training time",
            {name: [(i.trained, i.best) for i in course] for name, course in improvements.items()},
            x_title="training time, summed over all executors",
            log_x=True,
            steps=True,
            time=True,
        ),
        draw_chart(
            "Best so far by elapsed time",
            {name: [(i.passed, i.best) for i in course] for name, course in improvements.items()},
            x_title="time since the first trial started",
            log_x=True,
            steps=True,
            time=True,
        ),
        _cost_chart("Best by training time per trial", TRAINING_SECONDS, rows, time=True),
        _cost_chart("Best by size", PARAMETERS, rows),
        _cost_chart("Best by latency", LATENCY, rows),
        draw_chart(
            "Distribution",
            {row.summary.study.name: _distribution(row) for row in rows},
            x_title="value; share of the complete trials at or below it",
            share=True,
            real_x=True,
        ),
    ]
    return [chart for chart in charts if chart is not None]


_COST_TITLES = {
    TRAINING_SECONDS: "training time of the trial, at most",
    PARAMETERS: "parameters of the model, at most",
    LATENCY: "milliseconds per prediction, at most",
}


def _cost_chart(
    title: str, cost: str, rows: Sequence[ComparedStudy], *, time: bool = False
) -> Chart | None:
    """The best value for each cost; every line extends to the greatest cost of all."""
    fronts = {
        row.summary.study.name: row.cost_fronts[cost] for row in rows if cost in row.cost_fronts
    }
    greatest = max((front[-1].cost for front in fronts.values()), default=0.0)
    return draw_chart(
        title,
        {
            study: [*((point.cost, point.best) for point in front), (greatest, front[-1].best)]
            for study, front in fronts.items()
        },
        x_title=_COST_TITLES[cost],
        log_x=True,
        real_x=True,
        steps=True,
        time=time,
    )


def _distribution(row: ComparedStudy) -> list[Point]:
    return [(float(v), (i + 1) / len(row.values)) for i, v in enumerate(row.values)]
