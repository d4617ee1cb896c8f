"""Small charts: lines lie where their values are, axes have round numbers."""

import math

import pytest

from tuner.dashboard.rendering.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    POINTS,
    RIGHT,
    TOP,
    WIDTH,
    draw_chart,
)
from tuner.dashboard.summaries import polyline


def pixels(points: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in points.split())]


def test_the_ends_of_a_line_are_the_corners_of_the_plot() -> None:
    chart = draw_chart("t", {"a": [(1, 0.0), (2, 5.0), (3, 10.0)]}, x_title="epoch")
    assert chart is not None
    assert pixels(chart.lines[0].points) == [
        (LEFT, HEIGHT - BOTTOM),
        ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2),
        (WIDTH - RIGHT, TOP),
    ]
    assert [tick.label for tick in chart.x_ticks] == ["1", "2", "3"]
    assert [tick.label for tick in chart.y_ticks] == ["0", "5", "10"]
    assert chart.lines[0].last == "10"


@pytest.mark.parametrize("points", [[], [(1.0, 2.0)], [(1.0, math.nan), (2.0, math.inf)]])
def test_nothing_is_drawn_of_nothing(points: list[tuple[float, float]]) -> None:
    assert draw_chart("t", {"a": points}, x_title="x") is None


def test_a_flat_line_lies_in_the_middle() -> None:
    chart = draw_chart("t", {"a": [(1, 3.0), (2, 3.0)]}, x_title="x")
    assert chart is not None
    assert {y for _, y in pixels(chart.lines[0].points)} == {(TOP + HEIGHT - BOTTOM) / 2}


def test_times_are_at_moments_that_people_know() -> None:
    chart = draw_chart("t", {"a": [(0, 1), (7_000, 2)]}, x_title="x", time=True)
    assert chart is not None
    assert [tick.label for tick in chart.x_ticks] == ["0.0 s", "30 min", "1 h", "1 h 30 min"]


def test_what_spans_much_is_logarithmic_and_steps_hold() -> None:
    chart = draw_chart("t", {"a": [(1, 1), (1000, 2)]}, x_title="x", log_x=True, steps=True)
    assert chart is not None
    assert [tick.label for tick in chart.x_ticks] == ["1", "10", "100", "1000"]
    line = pixels(chart.lines[0].points)
    assert line[-2] == (WIDTH - RIGHT, HEIGHT - BOTTOM)
    assert line[-1] == (WIDTH - RIGHT, TOP)


def test_a_long_line_is_thinned_and_keeps_its_end() -> None:
    chart = draw_chart("t", {"a": [(i, i) for i in range(100_000)]}, x_title="x")
    assert chart is not None
    line = pixels(chart.lines[0].points)
    assert len(line) <= POINTS
    assert line[-1] == (WIDTH - RIGHT, TOP)


def test_a_sparkline_needs_two_values() -> None:
    assert polyline([1.0]) == ""
    assert polyline([1.0, 2.0]) == "0.0,22.0 100.0,2.0"
