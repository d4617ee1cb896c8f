"""Where the time went: hours of trials by the clock, and what came of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import plotly.graph_objects as go

from tuner.figures import text, theme
from tuner.trials import Attempt, TrialState

MOST_BARS = 48
EPOCH = datetime(2001, 1, 1)  # a Monday, at which bars of any width begin
WIDTHS: tuple[tuple[float, str], ...] = (
    *((s, f"{s} s") for s in (1, 5, 15)),
    *((60 * m, f"{m} min" if m > 1 else "minute") for m in (1, 5, 15)),
    *((3_600 * h, f"{h} h" if h > 1 else "hour") for h in (1, 3, 6, 12)),
    (86_400, "day"),
    (7 * 86_400, "week"),
    (28 * 86_400, "4 weeks"),
    (364 * 86_400, "52 weeks"),
)  # seconds of a bar, its name
STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED, TrialState.RUNNING)
NAMES = {TrialState.FAILED: "failed or repeated"}


@dataclass(frozen=True, slots=True)
class Info:
    """Seconds of trials in each bar, by what came of them."""

    width: float  # seconds of a bar
    name: str  # of such a time
    bars: dict[datetime, dict[TrialState, float]]  # by where they begin, UTC without a zone

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None where there is."""
        return None if self.bars else "No trial has started yet."

    def total(self, state: TrialState | None = None) -> float:
        """Seconds of all bars, or of one outcome."""
        return sum(
            seconds
            for bar in self.bars.values()
            for of, seconds in bar.items()
            if state in (None, of)
        )


def info(attempts: Sequence[Attempt], now: datetime) -> Info:
    """From every attempt of a study; those that have not ended go on at `now`."""
    spells = [
        (_plain(one.started_at), _plain(max(one.ended_at or now, one.started_at)), _state(one))
        for one in attempts
        if one.started_at is not None
    ]
    if not spells:
        return Info(WIDTHS[0][0], WIDTHS[0][1], {})
    first, last = min(s for s, _, _ in spells), max(e for _, e, _ in spells)
    span = (last - first).total_seconds()
    width, name = next((w for w in WIDTHS if span <= (MOST_BARS - 1) * w[0]), WIDTHS[-1])
    bars: dict[datetime, dict[TrialState, float]] = {}
    step = timedelta(seconds=width)
    for start, end, state in spells:
        begin = EPOCH + step * math.floor((start - EPOCH) / step)
        while begin <= end:
            inside = (min(end, begin + step) - max(start, begin)).total_seconds()
            bar = bars.setdefault(begin, {})
            bar[state] = bar.get(state, 0.0) + inside
            begin += step
    return Info(width, name, dict(sorted(bars.items())))


def _state(one: Attempt) -> TrialState:
    if one.outcome in (TrialState.COMPLETE, TrialState.PRUNED):
        return TrialState(one.outcome)
    return TrialState.RUNNING if one.ended_at is None else TrialState.FAILED


def _plain(given: datetime) -> datetime:
    """In UTC, without a zone, as Plotly draws what it is given."""
    return given.astimezone(UTC).replace(tzinfo=None)


def draw(found: Info) -> go.Figure:
    """The drawing of what `info` found."""
    if found.nothing:
        return theme.empty(found.nothing)
    most = max(sum(bar.values()) for bar in found.bars.values())
    unit, size = next(((n, s) for n, s in _UNITS if most >= s), _UNITS[-1])
    middles = [begin + timedelta(seconds=found.width / 2) for begin in found.bars]
    traces = []
    for state in STATES:
        spent = [bar.get(state, 0.0) for bar in found.bars.values()]
        if not any(spent):
            continue
        name = NAMES.get(state, state.value)
        traces.append(
            {
                "type": "bar",
                "name": name,
                "x": middles,
                "y": [seconds / size for seconds in spent],
                "width": 900 * found.width,  # milliseconds, with a gap between bars
                "marker": {"color": theme.LIGHT.of(state), "line": {"width": 0}},
                "customdata": [
                    [text.duration(s), begin.strftime("%b %d, %H:%M:%S")]
                    for s, begin in zip(spent, found.bars, strict=True)
                ],
                "hovertemplate": f"from %{{customdata[1]}} UTC<br>{name}: <b>%{{customdata[0]}}</b>"
                "<extra></extra>",
            }
        )
    ends = [min(found.bars), max(found.bars) + timedelta(seconds=found.width)]
    layout: dict[str, Any] = {
        "height": 280,
        "barmode": "stack",
        "xaxis": {"type": "date", "range": ends, "title": {"text": "UTC"}},
        "yaxis": {"title": {"text": f"{unit} of trials, by {found.name}"}, "rangemode": "tozero"},
    }
    return theme.figure(traces, layout)


_UNITS = (("hours", 3_600.0), ("minutes", 60.0), ("seconds", 1.0))


def table(found: Info) -> text.Table:
    """A row a bar."""
    shown = [state for state in STATES if found.total(state)]
    return text.Table(
        columns=("from (UTC)", *(NAMES.get(s, s.value) for s in shown), "all"),
        rows=tuple(
            (
                begin.strftime("%Y-%m-%d %H:%M:%S"),
                *(text.duration(bar.get(state, 0.0)) for state in shown),
                text.duration(sum(bar.values())),
            )
            for begin, bar in found.bars.items()
        ),
        note="Time of trials: two that run at once take two hours an hour.",
    )
