"""How figures look: two palettes, one template, one meaning per colour.

Figures are drawn in the light palette. All their colours are the palette's, and no two of these are
equal, so replacing each colour gives the dark figure: in Python by `recolour`, in a page by a
script with `dark_of()`. Nothing is drawn or sent twice.

States differ in colour *and* in symbol, and the colours stay apart with protanopia, deuteranopia
and tritanopia (tested by simulation).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import plotly.graph_objects as go

from tuner.figures import text
from tuner.trials import Direction, TrialState

FONT = (
    'Inter, ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", '
    '"Noto Sans", "Liberation Sans", Arial, sans-serif'
)
MONOSPACE = 'ui-monospace, "SF Mono", SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace'
INFEASIBLE = "infeasible"
CLEAR = "rgba(0,0,0,0)"


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one scheme, as #rrggbb."""

    ink: str  # text
    muted: str  # secondary text, at least 4.5:1 on the surface
    grid: str
    border: str
    page: str
    surface: str  # of cards and plots
    accent: str  # links, buttons
    complete: str
    pruned: str
    failed: str
    running: str
    waiting: str
    paused: str
    best: str
    scale: tuple[str, str, str, str, str]  # worst → best, faint → strong

    def of(self, state: TrialState) -> str:
        """Return a state's colour."""
        return str(getattr(self, state.value))

    def variables(self) -> dict[str, str]:
        """Return the colours by name, for style sheets."""
        return {k: v for k, v in asdict(self).items() if isinstance(v, str)}

    def colours(self) -> list[str]:
        """Return all colours, in the same order for every palette."""
        return [*self.variables().values(), *self.scale]


LIGHT = Palette(
    ink="#17202b",
    muted="#5b6675",
    grid="#e9edf2",
    border="#dde2e9",
    page="#f6f7f9",
    surface="#ffffff",
    accent="#1d5bb8",
    complete="#2a6fcb",
    pruned="#c28414",
    failed="#b3261e",
    running="#0e8f9b",
    waiting="#8a94a3",
    paused="#8a63b8",
    best="#0b6b4f",
    scale=("#dbe3ec", "#abc7e6", "#649cd8", "#2b65b5", "#0a2a5e"),
)
DARK = Palette(
    ink="#e8ecf2",
    muted="#9aa5b4",
    grid="#262e39",
    border="#2d3642",
    page="#0f141a",
    surface="#171d25",
    accent="#8ab8fb",
    complete="#5e9cf0",
    pruned="#dca63a",
    failed="#e5604f",
    running="#4cc5cf",
    waiting="#6f7a89",
    paused="#b08fd8",
    best="#6fe3b4",
    scale=("#2b3440", "#38557c", "#4a82c4", "#84b9f4", "#e3f0ff"),
)

SYMBOLS: Mapping[TrialState, str] = MappingProxyType(
    {
        TrialState.COMPLETE: "circle",
        TrialState.PRUNED: "diamond-open",
        TrialState.FAILED: "x-thin-open",
        TrialState.RUNNING: "circle-open-dot",
        TrialState.WAITING: "circle-open",
        TrialState.PAUSED: "square-open",
    }
)
BEST_SYMBOL = "star"

# for `Plotly.newPlot`; by default plotly.js 4 offers to upload charts to a cloud
CONFIG: Mapping[str, Any] = MappingProxyType(
    {
        "displaylogo": False,
        "showSendToCloud": False,
        "responsive": True,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
        "toImageButtonOptions": {"format": "svg"},
    }
)

# these hold data: text in them that looks like a colour is not one
_DATA_KEYS = frozenset(
    {"x", "y", "z", "text", "hovertext", "customdata", "ids", "labels", "values"}
)


def template(palette: Palette = LIGHT) -> go.layout.Template:
    """Return Plotly's template of a palette."""
    return _template(palette)


@cache
def _template(palette: Palette) -> go.layout.Template:
    axis = {
        "automargin": True,
        "gridcolor": palette.grid,
        "gridwidth": 1,
        "linecolor": palette.border,
        "showline": False,
        "tickcolor": palette.border,
        "ticks": "",
        "tickfont": {"color": palette.muted, "size": 12},
        "title": {"font": {"color": palette.muted, "size": 12}, "standoff": 10},
        "zeroline": False,
    }
    return go.layout.Template(
        layout={
            "colorway": [palette.complete, palette.pruned, palette.failed, palette.running],
            "colorscale": {"sequential": scale(palette)},
            "font": {"family": FONT, "size": 13, "color": palette.ink},
            "hoverlabel": {
                "align": "left",
                "bgcolor": palette.surface,
                "bordercolor": palette.border,
                "font": {"family": FONT, "size": 12.5, "color": palette.ink},
            },
            "hovermode": "closest",
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": 1.0,
                "yanchor": "bottom",
                "font": {"color": palette.muted, "size": 12},
                "itemwidth": 30,
                "bgcolor": CLEAR,
            },
            # enough for usual labels: if a margin must grow, plotly.js draws everything twice
            "margin": {"l": 68, "r": 20, "t": 44, "b": 48},
            "modebar": {
                "bgcolor": CLEAR,
                "color": palette.waiting,
                "activecolor": palette.accent,
            },
            "paper_bgcolor": palette.surface,
            "plot_bgcolor": palette.surface,
            "xaxis": axis,
            "yaxis": axis,
        }
    )


def scale(palette: Palette = LIGHT, start: int = 0) -> list[tuple[float, str]]:
    """Return the scale from worst (0) to best (1); `start` drops the faintest colours."""
    chosen = palette.scale[start:]
    return [(i / (len(chosen) - 1), colour) for i, colour in enumerate(chosen)]


def figure(data: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> go.Figure:
    """Return a figure in the light palette; heights are in pixels."""
    return go.Figure(
        data=[dict(trace) for trace in data],
        layout={"template": template(), "height": 380, **layout},
    )


def empty(sentence: str) -> go.Figure:
    """Return an empty figure that says why; the caller escapes `sentence`."""
    hidden = {"visible": False}
    return figure(
        [],
        {
            "xaxis": hidden,
            "yaxis": hidden,
            "height": 200,
            "annotations": [
                {
                    "text": sentence,
                    "showarrow": False,
                    "x": 0.5,
                    "y": 0.5,
                    "xref": "paper",
                    "yref": "paper",
                    "font": {"color": LIGHT.muted, "size": 14},
                }
            ],
        },
    )


def infeasible(how_many: int) -> dict[str, Any]:
    """Return the mark of complete trials that violate a constraint: hollow and grey."""
    few = how_many <= 300
    return {
        "color": LIGHT.waiting,
        "symbol": "circle-open",
        "size": 9 if few else 6,
        "opacity": 0.9 if few else 0.6,
        "line": {"width": 1.5, "color": LIGHT.waiting},
    }


def outside_note(how_many: int, direction: Direction) -> dict[str, Any]:
    """Return the note about values that the first view leaves out."""
    low = direction == "maximize"
    return {
        "text": f"{text.count(how_many, 'trial')} {'below' if low else 'above'} this range; "
        "double-click to see all",
        "showarrow": False,
        "xref": "paper",
        "yref": "y domain",
        "x": 1,
        "xanchor": "right",
        "y": 0 if low else 1,
        "yanchor": "bottom" if low else "top",
        "font": {"size": 11, "color": LIGHT.muted},
    }


def dark_of() -> dict[str, str]:
    """Map each light colour to its dark counterpart."""
    return dict(zip(LIGHT.colours(), DARK.colours(), strict=True))


def recolour(figure: go.Figure, colours: Mapping[str, str] | None = None) -> go.Figure:
    """Return the figure in other colours, by default the dark ones."""
    chosen = dark_of() if colours is None else colours
    return go.Figure(_recoloured(figure.to_plotly_json(), chosen))


def _recoloured(node: Any, colours: Mapping[str, str]) -> Any:
    if isinstance(node, str):
        return colours.get(node, node)
    if isinstance(node, Mapping):
        return {
            k: v if k in _DATA_KEYS and not isinstance(v, Mapping) else _recoloured(v, colours)
            for k, v in node.items()
        }
    if isinstance(node, list | tuple):
        return [_recoloured(inner, colours) for inner in node]
    return node
