"""A filter as in a page's address, and the trials that pass it.

A filter is a conjunction of ranges over columns, so it applies to all trials of a study although a
page holds only a part of them, and an address shows everybody the same. Columns are `number`,
`value` (`value.1` … for further objectives), `seconds`, `finished` (µs since 1970), `params.NAME`.
"""

import json
import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import Query
from numpy.typing import NDArray

from tuner.database.readers.columns import NEVER
from tuner.database.readers.live import STATES, LiveTrials
from tuner.errors import BadInputError
from tuner.figures import thin
from tuner.trials import ParamValue, TrialState, unbeaten

Mask = NDArray[np.bool_]
MAX_WHERE = 40


@dataclass(frozen=True, slots=True)
class Where:
    """One condition: the value is in one of the ranges, or among the categories."""

    column: str
    ranges: tuple[tuple[float, float], ...] = ()  # from, to, both included
    categories: tuple[ParamValue, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Where":
        """Parse JSON: `["value", [0.9, null], …]` or `["params.optimizer", "adam", …]`."""
        try:
            column, *parts = json.loads(text)
            if not isinstance(column, str) or not parts:
                raise TypeError
            if all(isinstance(part, list) for part in parts):
                return cls(column, tuple(_range(*part) for part in parts))
            if any(isinstance(part, list | dict) for part in parts):
                raise TypeError
            return cls(column, categories=tuple(parts))
        except (ValueError, TypeError, RecursionError):
            raise BadInputError(
                'a condition in `where` is JSON such as ["value", [0.9, null]] or '
                '["params.optimizer", "adam"], where null means no limit'
            ) from None


def _range(low: Any, high: Any) -> tuple[float, float]:
    bounds = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
    if any(map(math.isnan, bounds)):
        raise ValueError
    return bounds


@dataclass(frozen=True, slots=True)
class Filter:
    """Which trials are shown."""

    states: frozenset[TrialState] = frozenset()  # empty: all
    top: int | None = None  # only this many of the best feasible ones
    where: tuple[Where, ...] = ()


def from_query(
    state: Annotated[
        list[TrialState] | None, Query(description="Only trials in these states.")
    ] = None,
    top: Annotated[
        int | None,
        Query(ge=1, le=10**6, description="Only this many of the best complete trials."),
    ] = None,
    where: Annotated[
        list[str] | None,
        Query(
            max_length=MAX_WHERE,
            description=(
                "Only trials that meet all these conditions, each JSON: a column's name, then "
                "ranges (null: no limit) or categories."
            ),
            examples=[['["value", [0.9, null]]', '["params.optimizer", "adam", "sgd"]']],
        ),
    ] = None,
) -> Filter:
    """The filter of a request."""
    return Filter(frozenset(state or ()), top, tuple(map(Where.parse, where or ())))


def column(live: LiveTrials, name: str) -> NDArray[Any]:
    """A column by its name in filters; BadInputError if there is none."""
    head, _, rest = name.partition(".")
    if head == "params" and rest in live.params:
        return live.column(rest)
    if name == "number":
        return np.arange(live.size)
    if head == "value" and (index := int(rest) if rest.isascii() and rest.isdigit() else 0) < len(
        live.directions
    ):
        return live.values[:, index]
    if name == "finished":
        return np.where(live.finished == NEVER, math.nan, live.finished.astype(np.float64))
    if name == "seconds":
        ended = (live.finished != NEVER) & (live.started != NEVER)
        with np.errstate(over="ignore"):
            return np.where(ended, (live.finished - live.started) / 1e6, math.nan)
    raise BadInputError(f"there is no column {name!r}")


def apply(live: LiveTrials, filter_: Filter) -> Mask:
    """The mask of the trials that pass a filter, by number."""
    mask: Mask = live.state >= 0
    if filter_.states:
        mask &= np.isin(live.state, [STATES.index(state) for state in filter_.states])
    for where in filter_.where:
        mask &= _apply_where(live, where)
    if filter_.top is not None:
        best = rank(live, mask & live.feasible)[: filter_.top]
        mask = np.zeros(live.size, np.bool_)
        mask[best] = True
    return mask


def _apply_where(live: LiveTrials, where: Where) -> Mask:
    values = column(live, where.column)
    mask = np.zeros(live.size, np.bool_)
    for low, high in where.ranges:
        mask |= (values >= low) & (values <= high)
    name = where.column.removeprefix("params.")
    parameter = live.params.get(name) if name != where.column else None
    for category in where.categories:
        if parameter is not None and parameter.kind == "categorical":
            for i, choice in enumerate(parameter.choices):
                if type(choice) is type(category) and choice == category:
                    mask |= values == i
        elif category == "not set":
            mask |= np.isnan(values)
        elif isinstance(category, int | float):
            mask |= values == float(category)
    return mask


def rank(live: LiveTrials, mask: Mask) -> NDArray[np.int64]:
    """The numbers of the trials in `mask`, best first, the earlier of equal ones first."""
    numbers = np.flatnonzero(mask)
    values = live.values[numbers, 0]
    sign = -1.0 if live.directions[0] == "maximize" else 1.0
    return numbers[np.argsort(sign * values, kind="stable")]


def thin_out(live: LiveTrials, mask: Mask, limit: int) -> list[int]:
    """The numbers of at most `limit` trials in `mask`, evenly spaced by number.

    Keeps all that a reader would miss: each new best, the extremes, the Pareto front, running
    trials.
    """
    numbers = np.flatnonzero(mask)
    if len(numbers) <= limit:
        whole: list[int] = numbers.tolist()
        return whole
    complete = np.flatnonzero(mask & live.complete)
    keep = np.flatnonzero(mask & (live.state == STATES.index(TrialState.RUNNING))).tolist()
    if len(complete):
        values = live.values[complete, 0]
        keep += [int(complete[values.argmin()]), int(complete[values.argmax()])]
    feasible = np.flatnonzero(mask & live.feasible)
    if len(feasible):
        values = live.values[feasible, 0]
        keep += feasible[records(values, live.directions[0] == "maximize")].tolist()
        if len(live.directions) > 1:
            keep += feasible[unbeaten(live.values[feasible].tolist(), live.directions)].tolist()
    places = np.searchsorted(numbers, np.unique(keep)) if keep else ()
    indices = thin.indices(len(numbers), limit, [int(i) for i in places])
    return [int(numbers[i]) for i in indices]


def records(values: NDArray[np.float64], maximize: bool) -> NDArray[np.int64]:
    """Indices of the values that are better than all before them."""
    signed = values if maximize else -values
    best = np.maximum.accumulate(signed)
    return np.flatnonzero(np.concatenate([[True], signed[1:] > best[:-1]]))
