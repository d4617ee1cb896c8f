"""How a parameter's values lie on an axis.

A position is what Plotly draws: the value itself, its log10, or the index of its category.
Categories are sorted as people would sort them: 32, 64, 128, then words.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tuner.figures import text
from tuner.trials import ParamValue, Study, Trial

Kind = Literal["linear", "log", "categories"]

FEW = 6  # distinct integers; up to here they are categories if the space is unknown
MAX_TICKS = 15


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter's axis."""

    name: str
    kind: Kind
    low: float  # smallest and largest position in use; low < high
    high: float
    categories: tuple[ParamValue, ...] = ()
    index: Mapping[tuple[str, object], int] | None = None  # of the categories
    whole: bool = False  # only whole numbers occur

    def position(self, value: ParamValue) -> float | None:
        """Return where a value lies; None if it is not finite or, on a log axis, not positive."""
        if self.index is not None:
            return self.index.get(_key(value))
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        real = _real(value)
        if real is None or (self.kind == "log" and real <= 0):
            return None
        return math.log10(real) if self.kind == "log" else real

    def ticks(self) -> tuple[list[float], list[str]]:
        """Return positions and plain texts of the ticks."""
        if self.kind == "categories":
            step = -(-len(self.categories) // MAX_TICKS)
            indices = range(0, len(self.categories), step)
            return [float(i) for i in indices], [text.value(self.categories[i]) for i in indices]
        if self.kind == "log":
            return log_ticks(self.low, self.high)
        at_values = nice_ticks(self.low, self.high)
        if self.whole:
            at_values = [v for v in at_values if v.is_integer()] or [self.low, self.high]
        return at_values, [text.number(v) for v in at_values]


def axis(
    name: str,
    values: Iterable[ParamValue],
    *,
    log: bool = False,
    categorical: bool | None = None,
) -> Axis:
    """Return the axis for these values; they decide on categories if `categorical` is None."""
    collected = list(values)
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in collected)
    if not numeric or categorical or (categorical is None and not log and _few_whole(collected)):
        categories = sorted(
            {_key(v): v for v in collected}.items(), key=lambda pair: _order(pair[1])
        )
        index = {key: i for i, (key, _) in enumerate(categories)}
        last = max(len(categories) - 1, 0)
        return Axis(name, "categories", -0.5, last + 0.5, tuple(v for _, v in categories), index)
    finite = [
        real for v in collected if isinstance(v, int | float) and (real := _real(v)) is not None
    ]
    if log and finite and min(finite) > 0:
        return Axis(name, "log", *_apart(math.log10(min(finite)), math.log10(max(finite))))
    low, high = _apart(min(finite, default=0.0), max(finite, default=1.0))
    return Axis(name, "linear", low, high, whole=all(isinstance(v, int) for v in collected))


def axes(
    trials: Sequence[Trial],
    study: Study,
    log_params: Collection[str] = frozenset(),
    importances: Mapping[str, float] | None = None,
) -> list[Axis]:
    """Return an axis per parameter, by importance if known, else in order of appearance."""
    values: dict[str, list[ParamValue]] = {}
    for trial in trials:
        for name, value in trial.params.items():
            values.setdefault(name, []).append(value)
    kinds = parameter_types(study)
    names = list(values)
    if importances:
        names.sort(key=lambda name: -importances.get(name, -1.0))
    return [
        axis(
            name,
            values[name],
            log=name in log_params,
            categorical=kinds[name] == "categorical" if name in kinds else None,
        )
        for name in names
    ]


def parameter_types(study: Study) -> dict[str, str]:
    """Map parameters to float, int, categorical or fixed, as far as the space is known."""
    space = (study.spec or {}).get("space")
    listed = space.get("parameters") if isinstance(space, Mapping) else None
    types: dict[str, str] = {}
    for entry in listed if isinstance(listed, list | tuple) else ():
        if isinstance(entry, Mapping) and "name" in entry and "type" in entry:
            types[str(entry["name"])] = str(entry["type"])
    return types


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return about `most` round positions in [low, high], in steps of 1, 2 or 5 × 10ⁿ."""
    raw = (high - low) / most
    if not math.isfinite(raw) or raw <= 0:
        return [low, high] if low != high else [low]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((m * power for m in (1, 2, 5, 10) if m * power >= raw), raw)
    if step == 0 or not math.isfinite(low / step) or low + step == low or high - step == high:
        return [low, high]
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step)))
    positions = [
        round(i * step, digits) if digits < 300 else i * step for i in range(first, last + 1)
    ]
    # in a range of a few float steps, rounded positions may lie outside it or repeat
    room = 1e-9 * (high - low)
    within = list(dict.fromkeys(t for t in positions if low - room <= t <= high + room))
    return within or [low, high]


def log_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Return ticks between two log10 positions: powers of ten, plus 2 and 5 if these are few."""
    decades = high - low
    stride = -(-math.ceil(decades) // 8) or 1
    factors = (1, 2, 5) if decades < 2 else (1,)
    positions: list[float] = []
    names: list[str] = []
    for exponent in range(math.floor(low), math.ceil(high) + 1, stride):
        for factor in factors:
            position = exponent + math.log10(factor)
            if low - 1e-9 <= position <= high + 1e-9:
                positions.append(position)
                names.append(text.number(factor * 10.0**exponent))
    if len(positions) < 2:
        return [low, high], [text.number(10.0**low), text.number(10.0**high)]
    return positions, names


def _few_whole(collected: Sequence[ParamValue]) -> bool:
    return all(isinstance(v, int) for v in collected) and len(set(collected)) <= FEW


def _real(number: float) -> float | None:
    """Convert to a finite float; None for NaN, infinity and integers beyond the float range."""
    try:
        real = float(number)
    except OverflowError:
        return None
    return real if math.isfinite(real) else None


def _apart(low: float, high: float) -> tuple[float, float]:
    """Widen a range of one value, so that no range is empty."""
    if low < high:
        return low, high
    room = abs(low) * 0.1 or 0.5
    return low - room, high + room


def _key(value: ParamValue) -> tuple[str, object]:
    """Return a key that compares as users mean it: True is not 1, and NaN is NaN."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return type(value).__name__, value
    return "number", "nan" if isinstance(value, float) and math.isnan(value) else value


def _order(value: ParamValue) -> tuple[int, float, str]:
    """Return a sort key: numbers by value, then booleans, then strings, then null."""
    if value is None:
        return 3, 0.0, ""
    if isinstance(value, bool):
        return 1, float(value), ""
    if isinstance(value, int | float):
        real = _real(value)
        return (0, real, "") if real is not None else (0, math.inf, str(value))
    return 2, 0.0, value
