"""How a parameter's values lie on an axis.

Positions are what is drawn: the value itself, its log10, or the index of its category. Categories
are sorted as people would: 32, 64, 128, then words.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tuner.figures import text
from tuner.trials import ParamValue, Study, Trial

Kind = Literal["linear", "log", "categories"]

FEW = 6  # so many different whole numbers are shown as categories where the space is unknown
MAX_TICKS = 15


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter's axis."""

    name: str
    kind: Kind
    low: float  # the least and the greatest position in use; low < high
    high: float
    categories: tuple[ParamValue, ...] = ()
    index: Mapping[tuple[str, object], int] | None = None  # of the categories
    whole: bool = False  # only whole numbers occur

    def position(self, given: ParamValue) -> float | None:
        """Where a value lies; None where it has no place (not finite; on a log axis, below 0)."""
        if self.index is not None:
            return self.index.get(_key(given))
        if isinstance(given, bool) or not isinstance(given, int | float):
            return None
        real = _real(given)
        if real is None or (self.kind == "log" and real <= 0):
            return None
        return math.log10(real) if self.kind == "log" else real

    def ticks(self) -> tuple[list[float], list[str]]:
        """Positions and plain texts of the ticks."""
        if self.kind == "categories":
            step = -(-len(self.categories) // MAX_TICKS)
            at = range(0, len(self.categories), step)
            return [float(i) for i in at], [text.value(self.categories[i]) for i in at]
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
    """The axis for these values; `categorical` None: decided by the values."""
    every = list(values)
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in every)
    if not numeric or categorical or (categorical is None and not log and _few_whole(every)):
        found = sorted({_key(v): v for v in every}.items(), key=lambda pair: _order(pair[1]))
        index = {key: i for i, (key, _) in enumerate(found)}
        last = max(len(found) - 1, 0)
        return Axis(name, "categories", -0.5, last + 0.5, tuple(v for _, v in found), index)
    finite = [real for v in every if isinstance(v, int | float) and (real := _real(v)) is not None]
    if log and finite and min(finite) > 0:
        return Axis(name, "log", *_apart(math.log10(min(finite)), math.log10(max(finite))))
    low, high = _apart(min(finite, default=0.0), max(finite, default=1.0))
    return Axis(name, "linear", low, high, whole=all(isinstance(v, int) for v in every))


def axes(
    trials: Sequence[Trial],
    study: Study,
    log_params: Collection[str] = frozenset(),
    importances: Mapping[str, float] | None = None,
) -> list[Axis]:
    """An axis for each parameter of these trials: by importance if given, else as first seen."""
    values: dict[str, list[ParamValue]] = {}
    for trial in trials:
        for name, given in trial.params.items():
            values.setdefault(name, []).append(given)
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
    """Parameter → float, int, categorical or fixed, as far as the study's space is known."""
    space = (study.spec or {}).get("space")
    listed = space.get("parameters") if isinstance(space, Mapping) else None
    found: dict[str, str] = {}
    for entry in listed if isinstance(listed, list | tuple) else ():
        if isinstance(entry, Mapping) and "name" in entry and "type" in entry:
            found[str(entry["name"])] = str(entry["type"])
    return found


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most about `most` round positions in [low, high], in steps of 1, 2 or 5 × 10ⁿ."""
    raw = (high - low) / most
    if not math.isfinite(raw) or raw <= 0:
        return [low, high] if low != high else [low]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((m * power for m in (1, 2, 5, 10) if m * power >= raw), raw)
    if step == 0 or not math.isfinite(low / step) or low + step == low or high - step == high:
        return [low, high]
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step)))
    at = [round(i * step, digits) if digits < 300 else i * step for i in range(first, last + 1)]
    # where the range is a few steps of the float itself, rounding may leave it or repeat
    room = 1e-9 * (high - low)
    within = list(dict.fromkeys(t for t in at if low - room <= t <= high + room))
    return within or [low, high]


def log_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Ticks between two log10 positions: powers of ten, with 2 and 5 where there are few."""
    decades = high - low
    every = -(-math.ceil(decades) // 8) or 1
    factors = (1, 2, 5) if decades < 2 else (1,)
    at: list[float] = []
    names: list[str] = []
    for exponent in range(math.floor(low), math.ceil(high) + 1, every):
        for factor in factors:
            position = exponent + math.log10(factor)
            if low - 1e-9 <= position <= high + 1e-9:
                at.append(position)
                names.append(text.number(factor * 10.0**exponent))
    if len(at) < 2:
        return [low, high], [text.number(10.0**low), text.number(10.0**high)]
    return at, names


def _few_whole(values: Sequence[ParamValue]) -> bool:
    return all(isinstance(v, int) for v in values) and len(set(values)) <= FEW


def _real(given: float) -> float | None:
    """As a finite float; None where it is none (NaN, infinite, a whole number beyond floats)."""
    try:
        real = float(given)
    except OverflowError:
        return None
    return real if math.isfinite(real) else None


def _apart(low: float, high: float) -> tuple[float, float]:
    """A range that is not empty, also where all values are equal."""
    if low < high:
        return low, high
    room = abs(low) * 0.1 or 0.5
    return low - room, high + room


def _key(given: ParamValue) -> tuple[str, object]:
    """Equality as a user means it: True is not 1, and NaN is NaN."""
    if isinstance(given, bool) or given is None or isinstance(given, str):
        return type(given).__name__, given
    return "number", "nan" if isinstance(given, float) and math.isnan(given) else given


def _order(given: ParamValue) -> tuple[int, float, str]:
    """Numbers by value, then no/yes, then words, then null."""
    if given is None:
        return 3, 0.0, ""
    if isinstance(given, bool):
        return 1, float(given), ""
    if isinstance(given, int | float):
        real = _real(given)
        return (0, real, "") if real is not None else (0, math.inf, str(given))
    return 2, 0.0, given
