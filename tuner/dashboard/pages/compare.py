"""The page Compare: several studies side by side, for the same goal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from numpy.typing import NDArray

from tuner import commands
from tuner.dashboard import views
from tuner.dashboard.charts import Chart, Point, chart
from tuner.dashboard.context import ID, Board, Context
from tuner.dashboard.facts import Facts
from tuner.database.progress import Series
from tuner.trials import Study, TrialState

MOST = 8  # studies at once: more lines nobody can tell apart

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Row:
    """A study in the table."""

    one: Facts
    median: float | None
    quarter: float | None  # of the complete trials, the best quarter reaches it
    pruned: float | None  # share of the trials that ended
    each: float | None  # seconds of a trial
    near: float | None  # seconds of training until 99 % of the way to the best of all


@router.get("/compare")
def compare(
    request: Request,
    board: Context,
    studies: Annotated[
        list[Annotated[int, Query(ge=1, le=ID)]] | None, Query(max_length=MOST)
    ] = None,
) -> Response:
    """The studies whose ids the address names, and a list to choose from."""
    every = commands.studies_of(board.database)
    by_id = {study.id: study for study in every}
    chosen = [by_id[id_] for id_ in dict.fromkeys(studies or ()) if id_ in by_id]
    context = {
        "chosen": chosen,
        "groups": _groups(every),
        "most": MOST,
        "unlike": _unlike(chosen),
        **_compared(board, chosen),
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


def _unlike(chosen: Sequence[Study]) -> str:
    """Why comparing these may mislead."""
    if len({(s.metric, s.direction) for s in chosen}) > 1:
        return "These studies have different objectives: their values cannot be compared."
    if len({s.data_fingerprint for s in chosen}) > 1:
        return "These studies saw different data: a better value need not be a better model."
    return ""


def _compared(board: Board, chosen: Sequence[Study]) -> Mapping[str, Any]:
    progresses = board.progresses.of(*chosen)
    series = {study.name: board.progresses.series(study) for study in chosen}
    improving = {study.name: _improving(study, series[study.name]) for study in chosen}
    goal = _goal_value(chosen, improving)
    made: list[Chart | None] = [
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
        chart(
            "Distribution",
            {name: _distribution(found) for name, found in series.items()},
            x_title="value; how many of the complete trials are below",
            share=True,
            real_x=True,
        ),
    ]
    rows = [
        _row(Facts(study, progresses[study.id]), series[study.name], improving[study.name], goal)
        for study in chosen
    ]
    return {"charts": [one for one in made if one is not None], "rows": rows}


@dataclass(frozen=True, slots=True)
class _Improved:
    """The best value after some trials have ended."""

    ended: int  # trials
    trained: float  # seconds of all trials until then
    passed: float  # seconds since the first began
    best: float


def _improving(study: Study, series: Series) -> list[_Improved]:
    """Where the best so far changes, and where it ends."""
    over = np.flatnonzero(np.isfinite(series.finished))
    over = over[np.argsort(series.finished[over], kind="stable")]
    if not len(over):
        return []
    sign = 1.0 if study.direction == "maximize" else -1.0
    scores = np.where(series.complete[over], sign * series.values[over], -np.inf)
    best: NDArray[np.float64] = np.maximum.accumulate(scores)
    trained = np.cumsum(np.nan_to_num(series.finished[over] - series.started[over]))
    begun = series.started[np.isfinite(series.started)]
    passed = series.finished[over] - (begun.min() if len(begun) else series.finished[over[0]])
    steps = np.flatnonzero(best > np.concatenate([[-np.inf], best[:-1]]))
    return [
        _Improved(int(i) + 1, float(trained[i]), float(passed[i]), float(sign * best[i]))
        for i in (*steps, len(over) - 1)
        if np.isfinite(best[i])
    ]


def _goal_value(chosen: Sequence[Study], improving: Mapping[str, list[_Improved]]) -> float | None:
    """99 % of the way from the worst first value to the best of all; None with several goals."""
    ends = [found for found in improving.values() if found]
    if not ends or len({s.direction for s in chosen}) > 1:
        return None
    sign = 1.0 if chosen[0].direction == "maximize" else -1.0
    best = max(sign * found[-1].best for found in ends)
    worst = min(sign * found[0].best for found in ends)
    return sign * (worst + 0.99 * (best - worst))


def _row(one: Facts, series: Series, improving: list[_Improved], goal: float | None) -> Row:
    values = series.values[series.complete]
    sign = 1.0 if one.study.direction == "maximize" else -1.0
    finished = one.progress.finished
    reached = [i.trained for i in improving if goal is not None and sign * i.best >= sign * goal]
    return Row(
        one,
        float(np.median(values)) if len(values) else None,
        float(sign * np.quantile(sign * values, 0.75)) if len(values) else None,
        one.progress.counts[TrialState.PRUNED] / finished if finished else None,
        one.progress.seconds / finished if finished else None,
        reached[0] if reached else None,
    )


def _distribution(series: Series) -> list[Point]:
    values = np.sort(series.values[series.complete])
    return [(float(v), (i + 1) / len(values)) for i, v in enumerate(values)]
