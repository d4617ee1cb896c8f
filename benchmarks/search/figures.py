"""The pictures of `docs/search.md`: what was measured, a simulated study, and the model.

They are SVG written by hand: small, and light or dark as the reader's screen is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from benchmarks.search import tables
from benchmarks.search.methods import make
from benchmarks.search.simulation import Answer, simulate
from benchmarks.search.store import Store
from benchmarks.search.suites import DEFAULT, SUITES
from tuner.search.gaussian_process import Posterior, fit, log_expected_improvement

WIDTH, HEIGHT = 720, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 20, 48
# of Okabe and Ito, readable for the color-blind on light and on dark ground
COLORS = ("#2b8bd6", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c8c8c")
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.ground { fill: #ffffff; } .axis { stroke: #57606a; } .grid { stroke: #d0d7de; }
.ink { stroke: #24292f; fill: none; } .dot { fill: #24292f; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .ground { fill: #0d1117; } .axis { stroke: #8d96a0; } .grid { stroke: #30363d; }
  .ink { stroke: #e6edf3; } .dot { fill: #e6edf3; }
}
"""

Array = NDArray[np.float64]


@dataclass
class Picture:
    """A plot as SVG, light or dark as its reader's screen is.

    Args:
        title: What a reader who does not see it is told.
        x: Range of the horizontal axis.
        y: Range of the vertical axis, in logarithms if `is_log`.
        labels: Of both axes.
        ticks: Values and texts of both axes.

    """

    title: str
    x: tuple[float, float]
    y: tuple[float, float]
    labels: tuple[str, str]
    ticks: tuple[Sequence[tuple[float, str]], Sequence[tuple[float, str]]]
    width: int = WIDTH
    right: int = RIGHT
    parts: list[str] = field(default_factory=list)

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            LEFT + across * (self.width - LEFT - self.right),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    def line(self, xs: Sequence[float], ys: Sequence[float], style: str) -> None:
        """Draw a line; `style` holds attributes."""
        points = " ".join(
            "{:.1f},{:.1f}".format(*self.place(x, y)) for x, y in zip(xs, ys, strict=True)
        )
        self.parts.append(f'<polyline fill="none" points="{points}" {style}/>')

    def area(
        self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], style: str
    ) -> None:
        """Fill what lies between two lines."""
        outline = [*zip(xs, low, strict=True), *reversed([*zip(xs, high, strict=True)])]
        points = " ".join("{:.1f},{:.1f}".format(*self.place(x, y)) for x, y in outline)
        self.parts.append(f'<polygon points="{points}" {style}/>')

    def dot(self, x: float, y: float, style: str, radius: float = 4) -> None:
        at, up = self.place(x, y)
        self.parts.append(f'<circle cx="{at:.1f}" cy="{up:.1f}" r="{radius:g}" {style}/>')

    def text(self, x: float, y: float, text: str, style: str = "") -> None:
        """Write beside a point of the plot."""
        at, up = self.place(x, y)
        self.parts.append(f'<text x="{at:.1f}" y="{up:.1f}" {style}>{escape(text)}</text>')

    def write(self, path: Path) -> None:
        """Write the file."""
        path.write_text("\n".join([*self._head(), *self.parts, "</svg>", ""]), encoding="utf-8")

    def _head(self) -> Iterator[str]:
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {HEIGHT}" '
            f'width="{self.width}" role="img">'
        )
        yield f"<title>{escape(self.title)}</title><style>{STYLE}</style>"
        yield f'<rect class="ground" width="{self.width}" height="{HEIGHT}"/>'
        (left, bottom), (right, top) = (self.place(*p) for p in zip(self.x, self.y, strict=True))
        for value, text in self.ticks[1]:
            _, up = self.place(self.x[0], value)
            yield f'<line class="grid" x1="{left}" x2="{right}" y1="{up:.1f}" y2="{up:.1f}"/>'
            yield f'<text x="{left - 8}" y="{up + 4:.1f}" text-anchor="end">{escape(text)}</text>'
        for value, text in self.ticks[0]:
            at, _ = self.place(value, self.y[0])
            yield f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{escape(text)}</text>'
        yield f'<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
        middle = (left + right) / 2
        yield (
            f'<text x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle">'
            f"{escape(self.labels[0])}</text>"
        )
        yield (
            f'<text transform="translate(14 {(top + bottom) / 2:.0f}) rotate(-90)" '
            f'text-anchor="middle">{escape(self.labels[1])}</text>'
        )


def progress(store: Store, seeds: int) -> Picture:
    """The share of configurations that are as good as the best so far, over time."""
    suite = SUITES["curves"]
    runs = store.select(suite.studies(seeds, suite.workers[0]))
    picture = Picture(
        "The best configuration so far over simulated time, for tuner and its peers",
        (0.0, 2.0),
        (-4.0, 0.0),
        ("time, in average full trials (16 workers)", "share as good as the best"),
        (
            [(value, f"{value:g}") for value in (0, 0.5, 1, 1.5, 2)],
            [(k, f"{100 * 10.0**k:g} %") for k in range(-4, 1)],
        ),
    )
    times = np.linspace(0.02, 2.0, 100)
    ends: list[tuple[float, str, str]] = []
    for method, color in zip(suite.methods, COLORS, strict=False):
        own = [(study, run) for study, run in runs.items() if study.method == method]
        if not own:
            continue
        logs = np.array(
            [
                [
                    np.log10(task.share_better(run.best_at(time * study.unit(task))))
                    for time in times
                ]
                for study, run in own
                for task in [study.task()]
            ]
        )
        mean = logs.mean(axis=0)
        weight = 3 if method == DEFAULT else 1.8
        picture.line(times.tolist(), mean.tolist(), f'stroke="{color}" stroke-width="{weight}"')
        ends.append((float(mean[-1]), method, color))
    low = -np.inf
    for height, method, color in sorted(ends):
        low = max(height, low + 0.22)
        picture.text(2.03, low - 0.05, method, f'style="fill: {color}"')
    return picture


class _Recorder:
    """Notes what a method's trials report."""

    def __init__(self, method: Any) -> None:
        self._method = method
        self.curves: dict[int, list[float]] = {}

    def ask(self) -> tuple[int, int] | None:
        asked: tuple[int, int] | None = self._method.ask()
        return asked

    def tell(self, number: int, epoch: int, loss: float, now: float) -> Answer:
        curve = self.curves.setdefault(number, [])
        curve.append(min([loss, *curve[-1:]]))
        answer: Answer = self._method.tell(number, epoch, loss, now)
        return answer


def rungs(table: str = "mnist", trials: int = 60) -> Picture:
    """Learning curves of one study, which end at rungs."""
    task = tables.load(table)
    method = _Recorder(make(DEFAULT, task, 0))
    simulate(task, method, workers=16, trials=trials)
    epochs = (1, 3, 9, 27)
    picture = Picture(
        f"Learning curves of the first {trials} trials of a study: most end at the first rungs",
        (0.0, 3.0),
        (0.0, 1.12),
        ("epoch", "best validation error so far"),
        (
            [(np.log(epoch) / np.log(3), str(epoch)) for epoch in epochs],
            [(value, f"{value:g}") for value in (0, 0.25, 0.5, 0.75, 1)],
        ),
    )
    for epoch in epochs[:-1]:
        at = np.log(epoch) / np.log(3)
        picture.line((at, at), (0, 1), 'class="grid" stroke-dasharray="4 4"')
    counts = dict.fromkeys(epochs, 0)
    for curve in method.curves.values():
        for epoch in epochs:
            counts[epoch] += len(curve) >= epoch
        color = COLORS[0] if len(curve) == task.epochs else COLORS[1]
        steps = np.log(np.arange(1, len(curve) + 1)) / np.log(3)
        picture.line(steps.tolist(), curve, f'stroke="{color}" stroke-width="1.2" opacity="0.7"')
        picture.dot(float(steps[-1]), curve[-1], f'fill="{color}"', 2.5)
    for epoch in epochs:
        picture.text(
            np.log(epoch) / np.log(3), 1.05, f"{counts[epoch]} trials", 'text-anchor="middle"'
        )
    picture.text(3.08, 0.62, "ran to the end", f'style="fill: {COLORS[0]}"')
    picture.text(3.08, 0.54, "ended at a rung", f'style="fill: {COLORS[1]}"')
    return picture


def model(table: str = "mnist") -> Picture:
    """The model over one parameter, after seven trials, two of which were extrapolated."""
    task = tables.load(table)
    best = {name: int(task.rows[np.argmin(task.quality)][k]) for k, name in enumerate(tables.GRID)}
    places = np.arange(tables.SIZES["learning_rate"])
    losses = np.array([task.quality[task.index({**best, "learning_rate": k})] for k in places])
    scale = losses.std()
    tried, weights = np.array([0, 3, 6, 8, 13, 15]), np.array([1.0, 40, 1, 1, 40, 1])
    x, y = tried[:, None] / 15, (losses[tried] - losses.mean()) / scale
    posterior = Posterior(fit(x, y, weights), x, y, weights)
    line = np.linspace(0, 1, 151)
    mean, deviation = posterior.predict(line[:, None])
    top = float(posterior.mean(x).min())
    gain = np.exp(log_expected_improvement(mean, deviation, top))
    gain = gain / gain.max() * 0.9
    picture = Picture(
        "A Gaussian process over the learning rate, and the expected improvement",
        (0.0, 1.0),
        (-3.4, 3.0),
        ("learning rate", "validation error, standardized"),
        (
            [(k / 15, f"{tables.GRID['learning_rate'][k]:.0e}") for k in (0, 5, 10, 15)],
            [(value, f"{value:g}") for value in (-2, -1, 0, 1, 2)],
        ),
    )
    fill = f'fill="{COLORS[0]}" opacity="0.22"'
    picture.area(
        line.tolist(), (mean - 2 * deviation).tolist(), (mean + 2 * deviation).tolist(), fill
    )
    picture.line(line.tolist(), mean.tolist(), f'stroke="{COLORS[0]}" stroke-width="2.5"')
    picture.area(
        line.tolist(),
        [-3.4] * len(line),
        (gain - 3.4).tolist(),
        f'fill="{COLORS[2]}" opacity="0.6"',
    )
    for place, value, weight in zip(x[:, 0], y, weights, strict=True):
        hollow = f'fill="none" stroke="{COLORS[4]}" stroke-width="2"'
        picture.dot(place, value, hollow if weight > 1 else 'class="dot"', 5)
    chosen = float(line[np.argmax(gain)])
    picture.line((chosen, chosen), (-3.4, 3.0), f'stroke="{COLORS[2]}" stroke-dasharray="4 4"')
    for height, text, color in (
        (2.2, "complete trial", ""),
        (1.7, "extrapolated trial", COLORS[4]),
        (1.2, "mean ± 2 deviations", COLORS[0]),
        (0.7, "expected improvement", COLORS[2]),
        (0.2, "and the next trial", COLORS[2]),
    ):
        picture.text(1.03, height, text, f'style="fill: {color}"' if color else "")
    return picture
