"""What is left of a study's budget over time, and when it will be used if the pace stays."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import plotly.graph_objects as go

from tuner.figures import text, theme, thin
from tuner.trials import Study, StudyState

MAX_STEPS = 300
RECENT = 20  # trials whose pace is the forecast's, at least
SHARE = 0.2  # of the trials that have ended, if that is more


@dataclass(frozen=True, slots=True)
class Info:
    """Trials that are left; without a budget, those that have ended."""

    budget: int | None
    line: list[tuple[datetime, int]]
    ended: int
    forecast: datetime | None  # when the budget will be used; None: unknown, or it is

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None where there is."""
        return None if self.ended else "No trial has ended yet."


def info(finished: Sequence[datetime], study: Study) -> Info:
    """From the moments at which trials ended."""
    ordered = sorted(finished)
    budget = study.max_trials
    begin = min([study.created_at, *ordered[:1]]) if study.created_at else None
    kept = thin.indices(len(ordered), MAX_STEPS)
    # extended studies and imported trials may have more than the budget
    line = [(ordered[i], i + 1 if budget is None else max(budget - i - 1, 0)) for i in kept]
    if begin is not None and line:
        line.insert(0, (begin, 0 if budget is None else budget))
    return Info(budget, line, len(ordered), _forecast(ordered, study))


def _forecast(ordered: Sequence[datetime], study: Study) -> datetime | None:
    left = (study.max_trials or 0) - len(ordered)
    if left <= 0 or study.state is not StudyState.ACTIVE or len(ordered) < 3:
        return None
    recent = ordered[-max(RECENT, round(SHARE * len(ordered))) :]
    pace = (recent[-1] - recent[0]).total_seconds() / (len(recent) - 1)
    try:
        return recent[-1] + timedelta(seconds=pace * left)
    except OverflowError:
        return None


def draw(found: Info) -> go.Figure:
    """The drawing of what `info` found."""
    if found.nothing:
        return theme.empty(found.nothing)
    what = "trials left" if found.budget is not None else "trials ended"
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": what,
        "x": [_utc(at) for at, _ in found.line],
        "y": [n for _, n in found.line],
        "line": {"color": theme.LIGHT.complete, "width": 2.5, "shape": "hv"},
        "fill": "tozeroy",
        # the colour itself, not one mixed with alpha: each has its partner in the dark scheme
        "fillcolor": theme.LIGHT.grid,
        "hovertemplate": f"%{{x|%b %d, %H:%M}} UTC<br><b>%{{y:,}}</b> {what}<extra></extra>",
        "showlegend": False,
    }
    traces: list[dict[str, Any]] = [line]
    if found.forecast is not None:
        last, left = found.line[-1]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "forecast",
                "x": [_utc(last), _utc(found.forecast)],
                "y": [left, 0],
                "line": {"color": theme.LIGHT.muted, "width": 2, "dash": "dash"},
                "marker": {"size": [0, 9], "color": theme.LIGHT.best, "symbol": "circle"},
                "hovertemplate": "the budget is used: <b>%{x|%b %d, %H:%M} UTC</b><extra></extra>",
                "showlegend": False,
            }
        )
    most = max(n for _, n in found.line)
    return theme.figure(
        traces,
        {
            "height": 260,
            "margin": {"l": 68, "r": 20, "t": 16, "b": 48},
            "xaxis": {"type": "date"},
            "yaxis": {"title": {"text": what}, "range": [0, max(most, 1) * 1.06]},
        },
    )


def _utc(given: datetime) -> datetime:
    return given.astimezone(UTC).replace(tzinfo=None)


def table(found: Info) -> text.Table:
    """Where the line is at tenths of its steps."""
    kept = thin.evenly(found.line, 11)
    what = "left" if found.budget is not None else "ended"
    return text.Table(
        columns=("time (UTC)", f"trials {what}"),
        rows=tuple((_utc(at).strftime("%Y-%m-%d %H:%M:%S"), f"{n:,}") for at, n in kept),
    )
