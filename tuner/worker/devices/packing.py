"""How much memory a trial will need at most, and whether it fits beside others. Pure decisions.

What is known of a study's trials is the most that each has taken, by its shape: batch size and the
parameters that change the shapes of tensors. From a shape that was tried follows a bound for one
that was not: activations grow with the batch size, weights at most with the square of a width. A
text that differs (`optimizer: sgd` and `adam`) says nothing about the other.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.trials import ParamValue

BATCH_SIZE = "batch_size"
MARGIN = 1.15  # over what was measured: two runs of one shape differ by what is cached and when
HEADROOM = 0.05  # of a device's memory that nobody is given

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
        """What a trial of this shape will take at most; None if nothing comparable was tried."""
        key = tuple(sorted(shape.items()))
        if key in self._peaks:
            return _with_margin(self._peaks[key])
        bounds = [
            peak * growth
            for seen, peak in self._peaks.items()
            if (growth := _growth(dict(seen), shape)) is not None
        ]
        return _with_margin(min(bounds)) if bounds else None

    def least(self) -> int | None:
        """What the smallest of the trials has taken; None if there is none."""
        return min(self._peaks.values(), default=None)


def _with_margin(peak: float) -> int:
    """Whole bytes, of few of which the margin must not be rounded away."""
    return max(round(peak * MARGIN), math.ceil(peak))


def _growth(seen: Shape, wanted: Shape) -> float | None:
    """How many times as much `wanted` takes at most; None if they cannot be compared."""
    if seen.keys() != wanted.keys():
        return None
    factor = 1.0
    for name, before in seen.items():
        now = wanted[name]
        if before == now:
            continue
        if not (_is_size(before) and _is_size(now)):
            return None
        ratio = float(now) / float(before)  # type: ignore[arg-type]
        # a larger batch takes more; of other sizes (a stride, a patch) a smaller one may
        factor *= max(1.0, ratio) if name == BATCH_SIZE else max(ratio, 1 / ratio) ** 2
    return factor


def _is_size(value: ParamValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


@dataclass(frozen=True, slots=True)
class Load:
    """A trial on a device, or one that would like to be. Bytes."""

    bound: int | None  # it takes at most; None: unknown
    used: int = 0  # its process holds already, so they are not free any more

    @property
    def to_come(self) -> int:
        """What it may take yet."""
        return max(0, (self.bound or 0) - self.used)


def fits(wanted: Load, running: Sequence[Load], *, free: int, total: int) -> bool:
    """Whether a trial may start beside those that run: what all may take yet is free.

    Alone it may always, for there is no better place to learn what it takes. Beside others, only
    if what each of them takes at most is known.
    """
    if not running:
        return True
    if wanted.bound is None or any(load.bound is None for load in running):
        return False
    to_come = sum(load.to_come for load in (wanted, *running))
    return to_come <= free - HEADROOM * total
