"""Small line charts as SVG, drawn on the server: pages that show a few lines need no library.

Coordinates are pixels of a box `WIDTH` × `HEIGHT`, which the page scales.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.figures import text
from tuner.figures.thin import evenly

WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 8, 26  # around the plot, for labels
POINTS = 400  # of a line
TICKS = 4
WIDE = 30  # an axis that may be logarithmic is so where its ends differ by this factor
_SECOND, _MINUTE, _HOUR, _DAY = 1.0, 60.0, 3_600.0, 86_400.0
MOMENTS = [u * f for u in (_SECOND, _MINUTE, _HOUR) for f in (1, 10)] + [
    _DAY,
    10 * _DAY,
    100 * _DAY,
]
STEPS = [
    *(_SECOND * f for f in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30)),
    *(_MINUTE * f for f in (1, 2, 5, 10, 20, 30)),
    *(_HOUR * f for f in (1, 2, 3, 6, 12)),
    *(_DAY * f for f in (1, 2, 5, 10)),
]

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """One series."""

    name: str
    points: str  # of an SVG polyline
    end: Point  # where it ends
    last: str  # its last value, to read


@dataclass(frozen=True, slots=True)
class Chart:
    """Several lines over one axis."""

    title: str
    x_title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def chart(
    title: str,
    series: Mapping[str, Sequence[Point]],
    *,
    x_title: str,
    time: bool = False,
    share: bool = False,
    real_x: bool = False,
    log_x: bool = False,
    steps: bool = False,
) -> Chart | None:
    """The chart of these series; None where no line has two finite points.

    `time`: x is in seconds. `share`: y is from 0 to 1, shown in percent. `real_x`: x may lie
    between whole numbers. `log_x`: x is logarithmic where it spans much. `steps`: a value holds
    until the next.
    """
    finite = {
        name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        for name, points in series.items()
    }
    drawn = {name: points for name, points in finite.items() if points}
    if not any(len(points) > 1 for points in drawn.values()):
        return None
    xs = [x for points in drawn.values() for x, _ in points]
    ys = [0.0, 1.0] if share else [y for points in drawn.values() for _, y in points]
    whole = not (time or real_x)
    x_axis = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, whole=whole, time=time, log=log_x)
    y_axis = _Axis(min(ys), max(ys), HEIGHT - BOTTOM, TOP)
    show_y = (lambda v: f"{v:.0%}") if share else text.number
    return Chart(
        title,
        x_title,
        tuple(
            Line(
                name,
                _joined([(x_axis(x), y_axis(y)) for x, y in evenly(points, POINTS)], steps=steps),
                (round(x_axis(points[-1][0]), 1), round(y_axis(points[-1][1]), 1)),
                show_y(points[-1][1]),
            )
            for name, points in drawn.items()
        ),
        tuple(Tick(x_axis(v), text.duration(v) if time else text.number(v)) for v in x_axis.ticks),
        tuple(Tick(y_axis(v), show_y(v)) for v in y_axis.ticks),
    )


class _Axis:
    """Values to pixels."""

    def __init__(
        self,
        low: float,
        high: float,
        start: float,
        end: float,
        *,
        whole: bool = False,
        time: bool = False,
        log: bool = False,
    ) -> None:
        self._log = log and low > 0 and high > WIDE * low
        if low == high:
            pad = abs(low) * 0.05 or 0.5
            low, high = low - pad, high + pad
        self._low, self._high = self._scaled(low), self._scaled(high)
        self._start, self._end = start, end
        self._whole, self._time = whole, time

    def __call__(self, value: float) -> float:
        share = (self._scaled(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self._log else value

    @property
    def ticks(self) -> list[float]:
        """Round numbers within, few enough to be read."""
        if self._log:
            low, high = 10**self._low * (1 - 1e-9), 10**self._high * (1 + 1e-9)
            powers = range(math.floor(self._low), math.ceil(self._high) + 1)
            rounds = MOMENTS if self._time else [10.0**p for p in powers]
            return [value for value in rounds if low <= value <= high]
        step = self._step((self._high - self._low) / TICKS)
        first = math.ceil(self._low / step - 1e-9)
        last = math.floor(self._high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]

    def _step(self, rough: float) -> float:
        if self._time:
            return next((s for s in STEPS if s >= rough), STEPS[-1] * math.ceil(rough / STEPS[-1]))
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * f for f in (1, 2, 5, 10) if size * f >= rough * (1 - 1e-9))
        return max(step, 1.0) if self._whole else step


def _joined(pixels: Sequence[Point], *, steps: bool) -> str:
    """As an SVG polyline has them."""
    if steps:
        pixels = [
            corner
            for before, here in itertools.pairwise([pixels[0], *pixels])
            for corner in ((here[0], before[1]), here)
        ]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
