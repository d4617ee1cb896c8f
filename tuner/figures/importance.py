"""How much of the variation between trials each parameter explains, as bars."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from tuner.figures import text, theme

MAX_BARS = 15
MIN_TRIALS = 10  # complete or pruned ones, as in `search.importances` (tested)


@dataclass(frozen=True, slots=True)
class Info:
    """Parameters with their shares, the largest first."""

    bars: list[tuple[str, float]]
    left_out: int  # parameters beyond `MAX_BARS`
    left_out_share: float
    baselines: list[float] | None = None  # of the bars: the share that luck alone would explain
    metric: str = "the value"
    ended: int = 0  # complete and pruned trials

    @property
    def clear(self) -> list[bool]:
        """Whether each bar exceeds its baseline."""
        if self.baselines is None:
            return [True] * len(self.bars)
        return [s > b for (_, s), b in zip(self.bars, self.baselines, strict=True)]

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None if there is something."""
        if self.bars:
            return None
        if self.ended >= MIN_TRIALS:
            return "The trials differ too little to tell what matters."
        return (
            f"{text.count(MIN_TRIALS - self.ended, 'more trial')} must end before importance can "
            f"be told from luck: it takes {MIN_TRIALS} complete or pruned trials, and there "
            f"{'is' if self.ended == 1 else 'are'} {self.ended or 'none'} so far."
        )


def info(
    importances: Mapping[str, float] | None,
    baselines: Mapping[str, float] | None = None,
    *,
    metric: str = "the value",
    ended: int = 0,
) -> Info:
    """Sort the shares, those above their baselines first.

    Shares that are negative or not finite count as 0.
    """
    shares = {
        name: share if math.isfinite(share) and share > 0 else 0.0
        for name, share in (importances or {}).items()
    }
    luck = baselines or {}
    ordered = sorted(shares.items(), key=lambda pair: (pair[1] <= luck.get(pair[0], -1), -pair[1]))
    rest = ordered[MAX_BARS:]
    bars = ordered[:MAX_BARS]
    return Info(
        bars,
        len(rest),
        sum(share for _, share in rest),
        None if baselines is None else [baselines[name] for name, _ in bars],
        metric,
        ended,
    )


def draw(info: Info) -> go.Figure:
    """Return the drawing."""
    if info.nothing:
        return theme.empty(info.nothing)
    shares = [share for _, share in info.bars]
    positions = list(range(len(shares)))
    names = [name for name, _ in info.bars]
    most = max(*shares, 0.01) if len(shares) > 1 else max(shares[0], 0.01)
    colours: Any = [theme.LIGHT.complete if c else theme.LIGHT.waiting for c in info.clear]
    if all(info.clear):
        colours = theme.LIGHT.complete
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": shares,
        "y": positions,
        "width": 0.62,
        "marker": {"color": colours, "line": {"width": 0}, "cornerradius": 3},
        "text": [f" {percent(share)}" for share in shares],
        "textposition": "outside",
        "textfont": {"color": theme.LIGHT.ink, "size": 12.5},
        "cliponaxis": False,
        "customdata": [text.escape(name) for name in names],
        "hovertemplate": "<b>%{customdata}</b><br>%{text} of the variation<extra></extra>",
        "showlegend": False,
    }
    most = max([most, *(info.baselines or ())])
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
    if info.baselines is not None:
        layout["shapes"] = [
            {
                "type": "line",
                "x0": baseline,
                "x1": baseline,
                "y0": position - 0.42,
                "y1": position + 0.42,
                "line": {"color": theme.LIGHT.muted, "width": 1.5, "dash": "dash"},
            }
            for position, baseline in zip(positions, info.baselines, strict=True)
        ]
    return theme.figure([trace], layout)


def percent(share: float) -> str:
    """Format a share in percent; small ones do not become 0."""
    if share > 0 and share < 0.01:
        return "< 1 %"
    return f"{100 * share:.0f} %"


def table(info: Info) -> text.Table:
    """Return parameters and shares."""
    rows = [[text.clean(name), percent(share)] for name, share in info.bars]
    columns = ["parameter", "share"]
    if info.baselines is not None:
        columns += ["by luck", "more than luck"]
        for row, baseline, clear in zip(rows, info.baselines, info.clear, strict=True):
            row += [f"up to {percent(baseline)}", "yes" if clear else "no"]
    return text.Table(
        columns=tuple(columns),
        rows=tuple(map(tuple, rows)),
        note=f"{text.count(info.left_out, 'more parameter')} with {percent(info.left_out_share)} "
        "in total."
        if info.left_out
        else "",
    )
