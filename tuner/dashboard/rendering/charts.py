"""Small line charts as SVG, drawn on the server: a page with a few lines needs no library.

Coordinates are pixels in a box of `WIDTH` × `HEIGHT`, which the page scales.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.figures import text
from tuner.figures.thin import evenly

WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 8, 26  # around the plot, for labels
POINTS = 400  # per line
TICKS = 4
WIDE = 30  # an axis that may be logarithmic is, if its ends differ by this factor
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


def draw_chart(
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
    """The chart of these series; None if no line has two finite points.

    `time`: x is in seconds. `share`: y is from 0 to 1, shown in percent. `real_x`: x need not be
    whole numbers. `log_x`: x is logarithmic if its range is wide. `steps`: a value holds until
    the next one.
    """
    finite = {
        name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        for name, points in series.items()
    }
    lines = {name: points for name, points in finite.items() if points}
    if not any(len(points) > 1 for points in lines.values()):
        return None
    xs = [x for points in lines.values() for x, _ in points]
    ys = [0.0, 1.0] if share else [y for points in lines.values() for _, y in points]
    whole = not (time or real_x)
    x_axis = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, whole=whole, time=time, log=log_x)
    y_axis = _Axis(min(ys), max(ys), HEIGHT - BOTTOM, TOP)
    format_y = (lambda v: f"{v:.0%}") if share else text.number
    return Chart(
        title,
        x_title,
        tuple(
            Line(
                name,
                _polyline([(x_axis(x), y_axis(y)) for x, y in evenly(points, POINTS)], steps=steps),
                (round(x_axis(points[-1][0]), 1), round(y_axis(points[-1][1]), 1)),
                format_y(points[-1][1]),
            )
            for name, points in lines.items()
        ),
        tuple(Tick(x_axis(v), text.duration(v) if time else text.number(v)) for v in x_axis.ticks),
        tuple(Tick(y_axis(v), format_y(v)) for v in y_axis.ticks),
    )


class _Axis:
    """Maps values to pixels."""

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
        self._low, self._high = self._scale(low), self._scale(high)
        self._start, self._end = start, end
        self._whole, self._time = whole, time

    def __call__(self, value: float) -> float:
        share = (self._scale(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def _scale(self, value: float) -> float:
        return math.log10(value) if self._log else value

    @property
    def ticks(self) -> list[float]:
        """Round numbers within the range, few enough to be readable."""
        if self._log:
            low, high = 10**self._low * (1 - 1e-9), 10**self._high * (1 + 1e-9)
            powers = range(math.floor(self._low), math.ceil(self._high) + 1)
            candidates = MOMENTS if self._time else [10.0**p for p in powers]
            return [value for value in candidates if low <= value <= high]
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


def _polyline(pixels: Sequence[Point], *, steps: bool) -> str:
    """The points of an SVG polyline."""
    if steps:
        pixels = [
            corner
            for previous, point in itertools.pairwise([pixels[0], *pixels])
            for corner in ((point[0], previous[1]), point)
        ]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
