"""How much memory a trial will need at most, and whether it fits beside others. Pure decisions.

What is known of a study's trials is the peak of each, by its shape: batch size and the parameters
that change the shapes of tensors. A shape that was tried gives a bound for one that was not:
activations grow with the batch size, weights at most with the square of a width. If a text differs
(`optimizer: sgd` and `adam`), the two cannot be compared.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.trials import ParamValue

BATCH_SIZE = "batch_size"
MARGIN = 1.15  # over a measured peak: what is cached, and when, differs between runs of a shape
HEADROOM = 0.05  # of a device's memory that is given to no trial

Shape = Mapping[str, ParamValue]


class Peaks:
    """The most memory that trials of one study have taken, by shape. Bytes."""

    def __init__(self) -> None:
        self._peaks: dict[tuple[tuple[str, ParamValue], ...], int] = {}

    def learn(self, shape: Shape, peak: int) -> None:
        """Take note of a trial that has ended."""
        key = tuple(sorted(shape.items()))
        self._peaks[key] = max(peak, self._peaks.get(key, 0))

    def bound(self, shape: Shape) -> int | None:
        """Return a bound of what a trial of this shape takes; None without a comparable one."""
        key = tuple(sorted(shape.items()))
        if key in self._peaks:
            return _with_margin(self._peaks[key])
        bounds = [
            peak * growth
            for tried, peak in self._peaks.items()
            if (growth := _growth(dict(tried), shape)) is not None
        ]
        return _with_margin(min(bounds)) if bounds else None

    def least(self) -> int | None:
        """Return what the smallest of the trials has taken; None if there is none."""
        return min(self._peaks.values(), default=None)


def _with_margin(peak: float) -> int:
    """Add the margin, in whole bytes; it must not be rounded away from few of them."""
    return max(round(peak * MARGIN), math.ceil(peak))


def _growth(tried: Shape, new: Shape) -> float | None:
    """How many times the memory of `tried` the shape `new` takes at most; None: incomparable."""
    if tried.keys() != new.keys():
        return None
    factor = 1.0
    for name, before in tried.items():
        after = new[name]
        if before == after:
            continue
        if not (_is_size(before) and _is_size(after)):
            return None
        ratio = float(after) / float(before)  # type: ignore[arg-type]
        # a larger batch takes more; of other sizes (a stride, a patch) a smaller one may do so
        factor *= max(1.0, ratio) if name == BATCH_SIZE else max(ratio, 1 / ratio) ** 2
    return factor


def _is_size(value: ParamValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


@dataclass(frozen=True, slots=True)
class Load:
    """A trial that runs on a device or is to start there. Bytes."""

    bound: int | None  # of what it takes; None: unknown
    used: int = 0  # its process holds already, so they are not free any more

    @property
    def to_come(self) -> int:
        """What it may still take."""
        return max(0, (self.bound or 0) - self.used)


def fits(new: Load, running: Sequence[Load], *, free: int, total: int) -> bool:
    """Whether a trial may start beside running ones: what all may still take is free.

    With the device to itself it always may: there is no better way to learn what it takes. Beside
    others, only if the bound of each is known.
    """
    if not running:
        return True
    if new.bound is None or any(load.bound is None for load in running):
        return False
    to_come = sum(load.to_come for load in (new, *running))
    return to_come <= free - HEADROOM * total
