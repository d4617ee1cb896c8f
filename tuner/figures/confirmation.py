"""The leading configurations, retrained: mean and interval beside the search's value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from tuner.figures import text, theme
from tuner.trials import Direction, Study
from tuner.winner import confirmations


@dataclass(frozen=True, slots=True)
class Row:
    """One configuration that led the search."""

    number: int  # of its trial in the search
    searched: float
    values: tuple[float, ...]  # one per fresh seed
    mean: float | None  # None if there is no value
    interval: tuple[float, float] | None
    seconds: float | None  # per training; None if all had a cold start
    standing: str


@dataclass(frozen=True, slots=True)
class Info:
    """The outcome of a confirmation."""

    metric: str
    direction: Direction
    rows: list[Row]  # the best mean first
    winner: int
    findings: list[str]  # sentences
    gap: float | None  # how much the search overstated its best; negative: it did not

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None if there is something."""
        return None if self.rows else "There was no confirmation."


def info(record: Mapping[str, Any] | None, study: Study) -> Info:
    """Arrange the record of `confirmations.read`; None if there was no confirmation."""
    if record is None:
        return Info(study.metric, study.direction, [], -1, [], None)
    rows = [
        Row(
            number=candidate["number"],
            searched=candidate["searched"],
            values=tuple(candidate["values"]),
            mean=candidate["mean"],
            interval=None if candidate["interval"] is None else tuple(candidate["interval"]),
            seconds=candidate["seconds"],
            standing=_standing(candidate),
        )
        for candidate in record["candidates"]
    ]
    sign = 1.0 if study.direction == "maximize" else -1.0
    first = max(rows, key=lambda r: (sign * r.searched, -r.number), default=None)
    gap = None if first is None or first.mean is None else sign * (first.searched - first.mean)
    findings = confirmations.sentences(record)
    return Info(study.metric, study.direction, rows, record["winner"], findings, gap)


def _standing(candidate: Mapping[str, Any]) -> str:
    if candidate["failed"] and candidate["standing"] == "failed":
        return f"{candidate['failed']} failed"
    return str(candidate["standing"])


def draw(info: Info) -> go.Figure:
    """Return the drawing."""
    if info.nothing:
        return theme.empty(info.nothing)
    places = {row.number: place for place, row in enumerate(info.rows)}
    confirmed = [row for row in info.rows if row.mean is not None]
    traces = [
        _seeds(info, places),
        _marks(
            *("in the search", [(r.searched, r) for r in info.rows], places),
            {"symbol": "diamond-open", "size": 10, "color": theme.LIGHT.pruned},
        ),
        _means(
            "mean of fresh seeds", [r for r in confirmed if r.number != info.winner], places,
            theme.LIGHT.complete, "circle",
        ),
        _means(
            "the winner", [r for r in confirmed if r.number == info.winner], places,
            theme.LIGHT.best, theme.BEST_SYMBOL,
        ),
    ]  # fmt: skip
    layout: dict[str, Any] = {
        "height": 96 + 34 * len(info.rows),
        "xaxis": {"title": {"text": text.escape(info.metric, 40)}},
        "yaxis": {
            "tickvals": list(places.values()),
            "ticktext": [f"trial {number}  " for number in places],
            "range": [len(places) - 0.5, -0.5],
            "fixedrange": True,
        },
    }
    return theme.figure([trace for trace in traces if trace["x"]], layout)


def _marks(
    name: str,
    points: Sequence[tuple[float, Row]],
    places: Mapping[int, int],
    marker: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [value for value, _ in points],
        "y": [places[row.number] for _, row in points],
        "customdata": [row.number for _, row in points],
        "hovertemplate": f"<b>trial %{{customdata}}</b>, {name}: <b>%{{x:.4~g}}</b><extra></extra>",
        "marker": dict(marker),
    }


def _seeds(info: Info, places: Mapping[int, int]) -> dict[str, Any]:
    points = [(value, row) for row in info.rows for value in row.values]
    marker = {"symbol": "line-ns-open", "size": 9, "color": theme.LIGHT.waiting}
    return _marks("a fresh seed", points, places, marker)


def _means(
    name: str, rows: Sequence[Row], places: Mapping[int, int], colour: str, symbol: str
) -> dict[str, Any]:
    marker = {"symbol": symbol, "size": 11 if symbol == "circle" else 15, "color": colour}
    points = [(r.mean or 0.0, r) for r in rows]
    ends = [r.interval or (mean, mean) for mean, r in points]  # cut at the metric's bounds
    reach = {
        "array": [high - mean for (_, high), (mean, _) in zip(ends, points, strict=True)],
        "arrayminus": [mean - low for (low, _), (mean, _) in zip(ends, points, strict=True)],
    }
    return _marks(name, points, places, marker) | {
        "error_x": {"type": "data", **reach, "color": colour, "thickness": 2, "width": 5}
    }


def table(info: Info) -> text.Table:
    """Return one row per configuration."""
    return text.Table(
        columns=("trial", "search", "mean", "95 % interval", "seeds", "training", "standing"),
        rows=tuple(
            (
                str(row.number),
                text.number(row.searched),
                text.number(row.mean),
                " … ".join(map(text.number, row.interval)) if row.interval else "–",
                str(len(row.values)),
                text.duration(row.seconds),
                row.standing,
            )
            for row in info.rows
        ),
        note="Student's t intervals of the mean over seeds, within the metric's range.",
    )
