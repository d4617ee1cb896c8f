"""The leading configurations, trained again: mean and interval of each beside what was searched."""

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

    number: int  # of the trial that found it
    searched: float
    values: tuple[float, ...]  # of fresh seeds
    mean: float | None  # None without any value
    interval: tuple[float, float] | None
    seconds: float | None  # of a training; None where every one had a cold start
    standing: str


@dataclass(frozen=True, slots=True)
class Info:
    """What a confirmation has shown."""

    metric: str
    direction: Direction
    rows: list[Row]  # the best mean first
    winner: int
    shown: list[str]  # what it has shown, in sentences
    gap: float | None  # by how much the search overstated its best; negative: it did not

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None where there is."""
        return None if self.rows else "Nothing was confirmed."


def info(record: Mapping[str, Any] | None, study: Study) -> Info:
    """From `confirmations.read`; None: there was no confirmation."""
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
    shown = confirmations.sentences(record)
    return Info(study.metric, study.direction, rows, record["winner"], shown, gap)


def _standing(candidate: Mapping[str, Any]) -> str:
    if candidate["failed"] and candidate["standing"] == "failed":
        return f"{candidate['failed']} failed"
    return str(candidate["standing"])


def draw(found: Info) -> go.Figure:
    """The drawing of what `info` found."""
    if found.nothing:
        return theme.empty(found.nothing)
    places = {row.number: place for place, row in enumerate(found.rows)}
    known = [row for row in found.rows if row.mean is not None]
    traces = [
        _seeds(found, places),
        _marks(
            *("in the search", [(r.searched, r) for r in found.rows], places),
            {"symbol": "diamond-open", "size": 10, "color": theme.LIGHT.pruned},
        ),
        _means(
            "mean of fresh seeds", [r for r in known if r.number != found.winner], places,
            theme.LIGHT.complete, "circle",
        ),
        _means(
            "the winner", [r for r in known if r.number == found.winner], places,
            theme.LIGHT.best, theme.BEST_SYMBOL,
        ),
    ]  # fmt: skip
    layout: dict[str, Any] = {
        "height": 96 + 34 * len(found.rows),
        "xaxis": {"title": {"text": text.escape(found.metric, 40)}},
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


def _seeds(found: Info, places: Mapping[int, int]) -> dict[str, Any]:
    points = [(value, row) for row in found.rows for value in row.values]
    marker = {"symbol": "line-ns-open", "size": 9, "color": theme.LIGHT.waiting}
    return _marks("a fresh seed", points, places, marker)


def _means(
    name: str, rows: Sequence[Row], places: Mapping[int, int], colour: str, symbol: str
) -> dict[str, Any]:
    marker = {"symbol": symbol, "size": 11 if symbol == "circle" else 15, "color": colour}
    points = [(r.mean or 0.0, r) for r in rows]
    ends = [r.interval or (mean, mean) for mean, r in points]  # cut off where the metric ends
    reach = {
        "array": [high - mean for (_, high), (mean, _) in zip(ends, points, strict=True)],
        "arrayminus": [mean - low for (low, _), (mean, _) in zip(ends, points, strict=True)],
    }
    return _marks(name, points, places, marker) | {
        "error_x": {"type": "data", **reach, "color": colour, "thickness": 2, "width": 5}
    }


def table(found: Info) -> text.Table:
    """A row a configuration."""
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
            for row in found.rows
        ),
        note="Intervals are of the mean over seeds, by Student's t, within the metric's range.",
    )
