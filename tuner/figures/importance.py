"""How much each parameter explains of the differences between trials, as bars."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from tuner.figures import text, theme

MAX_BARS = 15
MIN_TRIALS = 10  # complete ones, as in `search.importances` (tested): fewer give only noise


@dataclass(frozen=True, slots=True)
class Info:
    """Parameters with their shares, the largest first."""

    bars: list[tuple[str, float]]
    left_out: int  # parameters beyond `MAX_BARS`
    left_out_share: float
    intervals: list[tuple[float, float]] | None = None  # of the bars, where they are known
    baseline: float | None = None  # what a random number would seem to explain

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None where there is."""
        return None if self.bars else "Nothing can be said about importance yet."


def info(
    importances: Mapping[str, float] | None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    baseline: float | None = None,
) -> Info:
    """Shares as they were computed; what is not finite or negative counts as 0."""
    shares = {
        name: share if math.isfinite(share) and share > 0 else 0.0
        for name, share in (importances or {}).items()
    }
    ordered = sorted(shares.items(), key=lambda pair: -pair[1])
    rest = ordered[MAX_BARS:]
    bars = ordered[:MAX_BARS]
    return Info(
        bars,
        len(rest),
        sum(share for _, share in rest),
        None if intervals is None else [intervals[name] for name, _ in bars],
        baseline,
    )


def figure(importances: Mapping[str, float] | None) -> go.Figure:
    """The drawing."""
    return draw(info(importances))


def draw(found: Info) -> go.Figure:
    """The drawing of what `info` found."""
    if found.nothing:
        return theme.empty(found.nothing)
    shares = [share for _, share in found.bars]
    positions = list(range(len(shares)))
    names = [name for name, _ in found.bars]
    most = max(*shares, 0.01) if len(shares) > 1 else max(shares[0], 0.01)
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": shares,
        "y": positions,
        "width": 0.62,
        "marker": {"color": theme.LIGHT.complete, "line": {"width": 0}, "cornerradius": 3},
        "text": [f" {percent(share)}" for share in shares],
        "textposition": "outside",
        "textfont": {"color": theme.LIGHT.ink, "size": 12.5},
        "cliponaxis": False,
        "customdata": [text.escape(name) for name in names],
        "hovertemplate": "<b>%{customdata}</b><br>%{text} of the differences<extra></extra>",
        "showlegend": False,
    }
    most = max(most, *(high for _, high in found.intervals or ()), found.baseline or 0.0)
    if found.intervals is not None:
        # the share stands beside the whisker, not below it
        trace["error_x"] = {
            "type": "data",
            "array": [max(h - s, 0.0) for (_, h), s in zip(found.intervals, shares, strict=True)],
            "arrayminus": [
                max(s - low, 0.0) for (low, _), s in zip(found.intervals, shares, strict=True)
            ],
            "color": theme.LIGHT.muted,
            "thickness": 1.5,
            "width": 4,
        }
        trace["textposition"] = "none"
    layout: dict[str, Any] = {
        "height": 56 + 34 * len(shares),
        "margin": {"l": 16, "r": 16, "t": 16, "b": 16},
        "xaxis": {"visible": False, "range": [0, most * 1.14], "fixedrange": True},
        "yaxis": {
            "tickvals": positions,
            "ticktext": [text.escape(name, 24) + "  " for name in names],
            "range": [len(shares) - 0.5, -0.5],  # the largest on top
            "tickfont": {"color": theme.LIGHT.ink, "size": 12.5},
            "showgrid": False,
            "fixedrange": True,
        },
    }
    if found.intervals is not None:
        layout["annotations"] = [
            {
                "text": f"{percent(share)}",
                "x": high,
                "y": i,
                "xanchor": "left",
                "xshift": 8,
                "showarrow": False,
                "font": {"color": theme.LIGHT.ink, "size": 12.5},
            }
            for i, (share, (_, high)) in enumerate(zip(shares, found.intervals, strict=True))
        ]
    if found.baseline is not None:
        layout["shapes"] = [
            {
                "type": "line",
                "x0": found.baseline,
                "x1": found.baseline,
                "y0": 0,
                "y1": 1,
                "yref": "paper",
                "line": {"color": theme.LIGHT.muted, "width": 1.5, "dash": "dash"},
            }
        ]
    return theme.figure([trace], layout)


def percent(share: float) -> str:
    """A share in percent; small ones are not called 0."""
    if share > 0 and share < 0.01:
        return "< 1 %"
    return f"{100 * share:.0f} %"


def table(found: Info) -> text.Table:
    """Parameters and shares."""
    return text.Table(
        columns=("parameter", "share"),
        rows=tuple((text.clean(name), percent(share)) for name, share in found.bars),
        note=f"{text.count(found.left_out, 'more parameter')} with {percent(found.left_out_share)} "
        "in all."
        if found.left_out
        else "",
    )
