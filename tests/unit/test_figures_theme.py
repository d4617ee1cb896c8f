import itertools
import re
from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go
import pytest

from tests.support import synthetic
from tuner.figures import curves, history, importance, parallel, slices, theme
from tuner.figures.theme import DARK, LIGHT, Palette
from tuner.trials import TrialState

# linear RGB → what is seen with the deficiency (Machado, Oliveira & Fernandes 2009, severity 1)
DEFICIENCIES = {
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)


def _linear(colour: str) -> list[float]:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def _lab(linear: list[float]) -> tuple[float, float, float]:
    r, g, b = (min(max(c, 0.0), 1.0) for c in linear)
    x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def _contrast(a: str, b: str) -> float:
    def luminance(colour: str) -> float:
        r, g, b = _linear(colour)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_state_colours_stay_apart(palette: Palette, deficiency: str) -> None:
    def perceive(colour: str) -> tuple[float, float, float]:
        linear = _linear(colour)
        return _lab([sum(m * c for m, c in zip(row, linear, strict=True)) for row in matrix])

    matrix = DEFICIENCIES[deficiency]
    colours = [*(palette.of(s) for s in STATES), palette.best]
    for a, b in itertools.combinations(colours, 2):
        distance = sum((p - q) ** 2 for p, q in zip(perceive(a), perceive(b), strict=True)) ** 0.5
        assert distance > 15, (a, b)  # 2.3 is just noticeable


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast_suffices(palette: Palette) -> None:
    for surface in (palette.surface, palette.page):
        for colour in (palette.ink, palette.muted, palette.accent):
            assert _contrast(colour, surface) >= 4.5
    for colour in (*(palette.of(s) for s in STATES), palette.best, palette.running):
        assert _contrast(colour, palette.surface) >= 3


def test_each_state_has_its_own_symbol() -> None:
    assert len({*theme.SYMBOLS.values(), theme.BEST_SYMBOL}) == len(TrialState) + 1


def test_no_two_colours_of_a_palette_are_equal() -> None:
    assert len(set(LIGHT.colours())) == len(LIGHT.colours())
    assert len(LIGHT.colours()) == len(DARK.colours())


def _every_figure() -> list[go.Figure]:
    study, trials = synthetic.study(), synthetic.trials(40, running=2)
    return [
        history.draw(history.info(trials, study)),
        curves.draw(curves.info(trials, study)),
        importance.draw(importance.info(synthetic.IMPORTANCES)),
        parallel.draw(parallel.info(trials, study)),
        slices.draw(slices.info(trials, study)),
        theme.empty("nothing"),
    ]


def _colours(node: Any) -> Iterator[str]:
    if isinstance(node, str) and re.fullmatch(r"#[0-9a-f]{3,8}|rgba?\(.*\)", node, re.IGNORECASE):
        yield node
    elif isinstance(node, dict):
        for inner in node.values():
            yield from _colours(inner)
    elif isinstance(node, list | tuple):
        for inner in node:
            yield from _colours(inner)


def test_every_colour_in_every_figure_is_of_the_palette() -> None:
    for figure in _every_figure():
        assert set(_colours(figure.to_plotly_json())) <= {*LIGHT.colours(), theme.CLEAR}


def test_the_dark_figure_is_the_same_in_dark_colours() -> None:
    for figure in _every_figure():
        dark = theme.recolour(figure)
        assert set(_colours(dark.to_plotly_json())) <= {*DARK.colours(), theme.CLEAR}
        assert len(dark.data) == len(figure.data)


def test_data_that_looks_like_a_colour_is_left_alone() -> None:
    figure = theme.figure([{"type": "scatter", "x": [LIGHT.ink], "customdata": [LIGHT.ink]}], {})
    dark = theme.recolour(figure)
    assert dark.data[0].x[0] == dark.data[0].customdata[0] == LIGHT.ink


def test_nothing_is_offered_to_a_cloud() -> None:
    assert theme.CONFIG["showSendToCloud"] is False
    assert theme.CONFIG["displaylogo"] is False
