"""When each trial ran and where: a device has one lane per trial that it runs at a time."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import plotly.graph_objects as go

from tuner.figures import text, theme, thin
from tuner.trials import Trial, TrialState

MAX_LANES = 48
UNKNOWN = "unknown worker"
PROCESSOR = "cpu"  # need not be named
STATES = (
    TrialState.COMPLETE,
    TrialState.PRUNED,
    TrialState.PAUSED,
    TrialState.FAILED,
    TrialState.RUNNING,
)


_NONE: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Bar:
    """The latest attempt of a trial."""

    trial: Trial
    lane: int
    start: datetime
    end: datetime  # of a running trial: now


@dataclass(frozen=True, slots=True)
class Info:
    """What the timeline shows."""

    lanes: list[tuple[str, int]]  # worker and device, number of the lane (from 1)
    bars: list[Bar]
    left_out: int  # lanes beyond `MAX_LANES`
    total: int  # trials that have started

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None if there is something."""
        return None if self.bars else "No trial has started yet."


def info(
    trials: Sequence[Trial],
    now: datetime,
    limit: int = thin.MAX_POINTS // 2,
    devices: Mapping[int, str] = _NONE,
) -> Info:
    """Put each trial into the first free lane of its worker's device.

    `devices` maps trial numbers to devices, as far as they are known.
    """
    started = [t for t in trials if t.started_at is not None and t.state in STATES]
    started.sort(key=lambda t: (t.started_at or now, t.number))
    thinned = thin.evenly(started, limit)
    where = _where(thinned, devices)
    free: dict[str, list[tuple[datetime, int]]] = {}  # worker → when its lanes become free
    counts: dict[str, int] = {}
    placed: list[tuple[Trial, str, int, datetime, datetime]] = []
    for trial in thinned:
        assert trial.started_at is not None
        worker = where[trial.number]
        end = max(trial.finished_at or now, trial.started_at)
        lanes = free.setdefault(worker, [])
        if lanes and lanes[0][0] <= trial.started_at:
            _, lane = heapq.heappop(lanes)
        else:
            lane = counts[worker] = counts.get(worker, 0) + 1
        heapq.heappush(lanes, (end, lane))
        placed.append((trial, worker, lane, trial.started_at, end))
    all_lanes = sorted((worker, i + 1) for worker, n in counts.items() for i in range(n))
    index = {lane: i for i, lane in enumerate(all_lanes[:MAX_LANES])}
    bars = [
        Bar(trial, index[worker, lane], start, end)
        for trial, worker, lane, start, end in placed
        if (worker, lane) in index
    ]
    return Info(all_lanes[:MAX_LANES], bars, max(len(all_lanes) - MAX_LANES, 0), len(started))


def _where(trials: Sequence[Trial], devices: Mapping[int, str]) -> dict[int, str]:
    """Map numbers to worker and device; a running trial is on its worker's only device."""
    of_worker: dict[str | None, set[str]] = {}
    for trial in trials:
        if trial.number in devices:
            of_worker.setdefault(trial.worker, set()).add(devices[trial.number])
    places = {}
    for trial in trials:
        devices_of_worker = of_worker.get(trial.worker, set())
        device = devices.get(trial.number) or (
            next(iter(devices_of_worker)) if len(devices_of_worker) == 1 else ""
        )
        parts = [trial.worker or UNKNOWN, "" if device == PROCESSOR else device]
        places[trial.number] = " ".join(filter(None, parts))
    return places


def draw(info: Info) -> go.Figure:
    """Return the drawing."""
    if info.nothing:
        return theme.empty(info.nothing)
    traces = [
        _bars(state, bars)
        for state in STATES
        if (bars := [b for b in info.bars if b.trial.state is state])
    ]
    first_of = [i for i, (_, lane) in enumerate(info.lanes) if lane == 1]
    layout = {
        "height": 110 + max(len(info.lanes), 2) * 30,
        "barmode": "overlay",
        "bargap": 0.25,
        "xaxis": {"type": "date", "title": {"text": "UTC"}},
        "yaxis": {
            "tickvals": first_of,
            "ticktext": [text.escape(info.lanes[i][0], 32) for i in first_of],
            "range": [len(info.lanes) - 0.4, -0.6],
            "showgrid": False,
            "fixedrange": True,
        },
        "legend": {"traceorder": "normal"},
    }
    return theme.figure(traces, layout)


def _bars(state: TrialState, bars: Sequence[Bar]) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": state.value,
        "base": [_utc(b.start).isoformat() for b in bars],
        "x": [max((b.end - b.start).total_seconds() * 1000, 1.0) for b in bars],  # ms
        "y": [b.lane for b in bars],
        "marker": {
            "color": theme.LIGHT.of(state),
            "line": {"width": 0.5, "color": theme.LIGHT.surface},
        },
        "customdata": [[b.trial.number, text.duration(_seconds(b)), _about(b.trial)] for b in bars],
        "hovertemplate": f"<b>trial %{{customdata[0]}}</b> {state}<br>%{{customdata[1]}}"
        "%{customdata[2]}<extra></extra>",
    }


def _about(trial: Trial) -> str:
    parts = [f"<br>attempt {trial.attempt}"] if trial.attempt > 1 else []
    if trial.cause is not None:
        parts.append(f"<br>{trial.cause.value.replace('_', ' ')}")
    return "".join(parts)


def _seconds(bar: Bar) -> float:
    return (bar.end - bar.start).total_seconds()


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def table(info: Info) -> text.Table:
    """Return how busy each lane was."""
    rows = []
    for i, (worker, lane) in enumerate(info.lanes):
        bars = [b for b in info.bars if b.lane == i]
        first, last = min(b.start for b in bars), max(b.end for b in bars)
        whole = (last - first).total_seconds()
        busy = sum(map(_seconds, bars)) / whole if whole else 1.0
        rows.append((text.clean(worker), str(lane), str(len(bars)), f"{min(busy, 1.0):.0%}"))
    return text.Table(
        columns=("worker", "lane", "trials", "busy"),
        rows=tuple(rows),
        note="Busy: share of the time from its first to its last trial."
        + (" Retried trials count with their latest attempt." if rows else ""),
    )
