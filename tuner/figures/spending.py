"""Where the time went: trial time by the clock, split by its outcome."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import plotly.graph_objects as go

from tuner.figures import text, theme
from tuner.trials import Attempt, TrialState

MOST_BARS = 48
EPOCH = datetime(2001, 1, 1)  # a Monday: bars of any width align with it
WIDTHS: tuple[tuple[float, str], ...] = (
    *((s, f"{s} s") for s in (1, 5, 15)),
    *((60 * m, f"{m} min" if m > 1 else "minute") for m in (1, 5, 15)),
    *((3_600 * h, f"{h} h" if h > 1 else "hour") for h in (1, 3, 6, 12)),
    (86_400, "day"),
    (7 * 86_400, "week"),
    (28 * 86_400, "4 weeks"),
    (364 * 86_400, "52 weeks"),
)  # seconds per bar, its name
STATES = (
    TrialState.COMPLETE,
    TrialState.PRUNED,
    TrialState.PAUSED,
    TrialState.FAILED,
    TrialState.RUNNING,
)
NAMES = {TrialState.FAILED: "failed or repeated"}


@dataclass(frozen=True, slots=True)
class Info:
    """Seconds of trials in each bar, by outcome."""

    width: float  # seconds per bar
    name: str  # of that width
    bars: dict[datetime, dict[TrialState, float]]  # by their beginning, UTC without a zone

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None if there is something."""
        return None if self.bars else "No trial has started yet."

    def total(self, state: TrialState | None = None) -> float:
        """Return the seconds of all bars, or of one outcome."""
        return sum(
            seconds
            for bar in self.bars.values()
            for of, seconds in bar.items()
            if state in (None, of)
        )


def info(attempts: Sequence[Attempt], now: datetime) -> Info:
    """Add up all attempts of a study; those that have not ended last until `now`."""
    spells = [
        (
            _plain(attempt.started_at),
            _plain(max(attempt.ended_at or now, attempt.started_at)),
            _state(attempt),
        )
        for attempt in attempts
        if attempt.started_at is not None
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
            seconds = (min(end, begin + step) - max(start, begin)).total_seconds()
            bar = bars.setdefault(begin, {})
            bar[state] = bar.get(state, 0.0) + seconds
            begin += step
    return Info(width, name, dict(sorted(bars.items())))


def _state(attempt: Attempt) -> TrialState:
    if attempt.outcome in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.PAUSED):
        return TrialState(attempt.outcome)
    return TrialState.RUNNING if attempt.ended_at is None else TrialState.FAILED


def _plain(moment: datetime) -> datetime:
    """Convert to UTC and drop the zone: Plotly draws times as they are."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def draw(info: Info) -> go.Figure:
    """Return the drawing."""
    if info.nothing:
        return theme.empty(info.nothing)
    most = max(sum(bar.values()) for bar in info.bars.values())
    unit, size = next(((n, s) for n, s in _UNITS if most >= s), _UNITS[-1])
    middles = [begin + timedelta(seconds=info.width / 2) for begin in info.bars]
    traces = []
    for state in STATES:
        spent = [bar.get(state, 0.0) for bar in info.bars.values()]
        if not any(spent):
            continue
        name = NAMES.get(state, state.value)
        traces.append(
            {
                "type": "bar",
                "name": name,
                "x": middles,
                "y": [seconds / size for seconds in spent],
                "width": 900 * info.width,  # milliseconds, with a gap between bars
                "marker": {"color": theme.LIGHT.of(state), "line": {"width": 0}},
                "customdata": [
                    [text.duration(s), begin.strftime("%b %d, %H:%M:%S")]
                    for s, begin in zip(spent, info.bars, strict=True)
                ],
                "hovertemplate": f"from %{{customdata[1]}} UTC<br>{name}: <b>%{{customdata[0]}}</b>"
                "<extra></extra>",
            }
        )
    ends = [min(info.bars), max(info.bars) + timedelta(seconds=info.width)]
    layout: dict[str, Any] = {
        "height": 280,
        "barmode": "stack",
        "xaxis": {"type": "date", "range": ends, "title": {"text": "UTC"}},
        "yaxis": {"title": {"text": f"{unit} of trials, by {info.name}"}, "rangemode": "tozero"},
    }
    return theme.figure(traces, layout)


_UNITS = (("hours", 3_600.0), ("minutes", 60.0), ("seconds", 1.0))


def table(info: Info) -> text.Table:
    """Return one row per bar."""
    states = [state for state in STATES if info.total(state)]
    return text.Table(
        columns=("from (UTC)", *(NAMES.get(s, s.value) for s in states), "all"),
        rows=tuple(
            (
                begin.strftime("%Y-%m-%d %H:%M:%S"),
                *(text.duration(bar.get(state, 0.0)) for state in states),
                text.duration(sum(bar.values())),
            )
            for begin, bar in info.bars.items()
        ),
        note="Trial time: two trials that run at once take two hours per hour.",
    )
