"""How much of a study's budget is left over time, and when it will run out at this pace."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import plotly.graph_objects as go

from tuner.figures import text, theme, thin
from tuner.trials import Study, StudyState

MAX_STEPS = 300
RECENT = 20  # the forecast uses the pace of at least this many trials
SHARE = 0.2  # or of this share of the finished trials, if that is more


@dataclass(frozen=True, slots=True)
class Info:
    """Trials left over time; without a budget, trials that have ended."""

    budget: int | None
    line: list[tuple[datetime, int]]
    ended: int
    forecast: datetime | None  # when the budget will run out; None: unknown, or it has

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None if there is something."""
        return None if self.ended else "No trial has ended yet."


def info(finished: Sequence[datetime], study: Study) -> Info:
    """Count down from the times at which trials ended."""
    ordered = sorted(finished)
    budget = study.max_trials
    begin = min([study.created_at, *ordered[:1]]) if study.created_at else None
    indices = thin.indices(len(ordered), MAX_STEPS)
    # extended studies and imported trials may exceed the budget
    line = [(ordered[i], i + 1 if budget is None else max(budget - i - 1, 0)) for i in indices]
    if begin is not None and line:
        line.insert(0, (begin, 0 if budget is None else budget))
    return Info(budget, line, len(ordered), _forecast(ordered, study))


def _forecast(ordered: Sequence[datetime], study: Study) -> datetime | None:
    remaining = (study.max_trials or 0) - len(ordered)
    if remaining <= 0 or study.state is not StudyState.ACTIVE or len(ordered) < 3:
        return None
    recent = ordered[-max(RECENT, round(SHARE * len(ordered))) :]
    pace = (recent[-1] - recent[0]).total_seconds() / (len(recent) - 1)
    try:
        return recent[-1] + timedelta(seconds=pace * remaining)
    except OverflowError:
        return None


def draw(info: Info) -> go.Figure:
    """Return the drawing."""
    if info.nothing:
        return theme.empty(info.nothing)
    label = "trials left" if info.budget is not None else "trials ended"
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": label,
        "x": [_utc(at) for at, _ in info.line],
        "y": [n for _, n in info.line],
        "line": {"color": theme.LIGHT.complete, "width": 2.5, "shape": "hv"},
        "fill": "tozeroy",
        # an opaque colour of the palette: only these have a counterpart in the dark scheme
        "fillcolor": theme.LIGHT.grid,
        "hovertemplate": f"%{{x|%b %d, %H:%M}} UTC<br><b>%{{y:,}}</b> {label}<extra></extra>",
        "showlegend": False,
    }
    traces: list[dict[str, Any]] = [line]
    if info.forecast is not None:
        last, remaining = info.line[-1]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "forecast",
                "x": [_utc(last), _utc(info.forecast)],
                "y": [remaining, 0],
                "line": {"color": theme.LIGHT.muted, "width": 2, "dash": "dash"},
                "marker": {"size": [0, 9], "color": theme.LIGHT.best, "symbol": "circle"},
                "hovertemplate": "the budget runs out: <b>%{x|%b %d, %H:%M} UTC</b><extra></extra>",
                "showlegend": False,
            }
        )
    most = max(n for _, n in info.line)
    return theme.figure(
        traces,
        {
            "height": 260,
            "margin": {"l": 68, "r": 20, "t": 16, "b": 48},
            "xaxis": {"type": "date"},
            "yaxis": {"title": {"text": label}, "range": [0, max(most, 1) * 1.06]},
        },
    )


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def table(info: Info) -> text.Table:
    """Return the line at tenths of its steps."""
    points = thin.evenly(info.line, 11)
    label = "left" if info.budget is not None else "ended"
    return text.Table(
        columns=("time (UTC)", f"trials {label}"),
        rows=tuple((_utc(at).strftime("%Y-%m-%d %H:%M:%S"), f"{n:,}") for at, n in points),
    )
