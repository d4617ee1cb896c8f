"""The page Compare: several studies side by side, for the same goal."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from tuner.commands import reading
from tuner.dashboard import comparing, views
from tuner.dashboard.charts import Chart, Point, chart
from tuner.dashboard.comparing import MOST, Compared
from tuner.dashboard.context import ID, Context
from tuner.trials import LATENCY, PARAMETERS, TRAINING_SECONDS, Study

router = APIRouter()
Ids = Annotated[list[Annotated[int, Query(ge=1, le=ID)]] | None, Query(max_length=MOST)]


@router.get("/compare")
def compare(request: Request, board: Context, studies: Ids = None) -> Response:
    """The studies whose ids the address names, and a list to choose from."""
    every = reading.list_studies(board.database)
    by_id = {study.id: study for study in every}
    chosen = [by_id[id_] for id_ in dict.fromkeys(studies or ()) if id_ in by_id]
    rows = comparing.compared(board, chosen)
    context = {
        "chosen": chosen,
        "groups": _groups(every),
        "most": MOST,
        "unlike": comparing.unlike(chosen),
        "rows": rows,
        "charts": _charts(rows),
    }
    return views.render(request, "compare.html", context)


def _groups(every: Sequence[Study]) -> list[tuple[str, list[Study]]]:
    """Studies that can be compared, together: the same data, metric and direction."""
    found: dict[tuple[Any, ...], list[Study]] = {}
    for study in reversed(every):
        found.setdefault(_goal(study), []).append(study)
    titled = []
    for studies in sorted(found.values(), key=lambda group: -len(group)):
        first = studies[0]
        data = (first.spec or {}).get("data") or {}
        where = f" on {data['source']}" if data.get("source") else ""
        titled.append((f"{first.direction} {first.metric}{where}", studies))
    return titled


def _goal(study: Study) -> tuple[Any, ...]:
    return study.data_fingerprint, study.metric, study.direction


def _charts(rows: Sequence[Compared]) -> list[Chart]:
    """Those that have anything to show."""
    improving = {row.one.study.name: row.improving for row in rows}
    made = [
        chart(
            "Best so far by trials",
            {name: [(i.ended, i.best) for i in found] for name, found in improving.items()},
            x_title="trials that have ended",
            log_x=True,
            steps=True,
        ),
        chart(
            "Best so far by training time",
            {name: [(i.trained, i.best) for i in found] for name, found in improving.items()},
            x_title="of all executors together",
            log_x=True,
            steps=True,
            time=True,
        ),
        chart(
            "Best so far by the clock",
            {name: [(i.passed, i.best) for i in found] for name, found in improving.items()},
            x_title="since the first trial began",
            log_x=True,
            steps=True,
            time=True,
        ),
        _cost_chart("Best by seconds of a trial", TRAINING_SECONDS, rows, time=True),
        _cost_chart("Best by size", PARAMETERS, rows),
        _cost_chart("Best by latency", LATENCY, rows),
        chart(
            "Distribution",
            {row.one.study.name: _distribution(row) for row in rows},
            x_title="value; how many of the complete trials are below",
            share=True,
            real_x=True,
        ),
    ]
    return [one for one in made if one is not None]


def _cost_chart(
    title: str, name: str, rows: Sequence[Compared], *, time: bool = False
) -> Chart | None:
    """The best value that a cost buys; each line goes on to the greatest cost of all."""
    paid = {row.one.study.name: row.paid[name] for row in rows if name in row.paid}
    most = max((one[-1].cost for one in paid.values()), default=0.0)
    return chart(
        title,
        {
            study: [*((p.cost, p.best) for p in found), (most, found[-1].best)]
            for study, found in paid.items()
        },
        x_title=f"{comparing.COSTS[name]}, at most",
        log_x=True,
        real_x=True,
        steps=True,
        time=time,
    )


def _distribution(row: Compared) -> list[Point]:
    return [(float(v), (i + 1) / len(row.values)) for i, v in enumerate(row.values)]
