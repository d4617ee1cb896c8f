"""A filter as it stands in a page's address, and the trials that it leaves.

A filter is a conjunction of ranges over columns, so it is exact on all trials of a study although
a page has only a part of them, and one address shows everybody the same. Columns are `number`,
`value` (`value.1` … of further objectives), `seconds`, `finished` (µs since 1970), `params.NAME`.
"""

import json
import math
from collections.abc import Sequence
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
    """One condition: a value in one of the ranges, or among the categories."""

    column: str
    ranges: tuple[tuple[float, float], ...] = ()  # from, to, both included
    categories: tuple[ParamValue, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Where":
        """From JSON: `["value", [0.9, null], …]` or `["params.optimizer", "adam", …]`."""
        try:
            given = json.loads(text)
            column, *parts = given
            if not isinstance(column, str) or not parts:
                raise TypeError
            if all(isinstance(part, list) for part in parts):
                return cls(column, tuple(_range(*part) for part in parts))
            if any(isinstance(part, list | dict) for part in parts):
                raise TypeError
            return cls(column, categories=tuple(parts))
        except (ValueError, TypeError, RecursionError):
            raise BadInputError(
                'a condition of `where` is JSON as ["value", [0.9, null]] or '
                '["params.optimizer", "adam"], where null is no limit'
            ) from None


def _range(low: Any, high: Any) -> tuple[float, float]:
    bounds = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
    if any(map(math.isnan, bounds)):
        raise ValueError
    return bounds


@dataclass(frozen=True, slots=True)
class Filter:
    """Which trials are shown."""

    states: frozenset[TrialState] = frozenset()  # none: all
    top: int | None = None  # so many of the best complete ones that violate no constraint
    where: tuple[Where, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it leaves all trials."""
        return not self.states and self.top is None and not self.where


def from_query(
    state: Annotated[list[TrialState] | None, Query(description="States to show.")] = None,
    top: Annotated[
        int | None, Query(ge=1, le=10**6, description="So many of the best complete trials.")
    ] = None,
    where: Annotated[
        list[str] | None,
        Query(
            max_length=MAX_WHERE,
            description="Conditions on columns, all of which hold.",
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
        known = (live.finished != NEVER) & (live.started != NEVER)
        with np.errstate(over="ignore"):
            return np.where(known, (live.finished - live.started) / 1e6, math.nan)
    raise BadInputError(f"there is no column {name!r}")


def mask(live: LiveTrials, given: Filter) -> Mask:
    """The trials that a filter leaves, by number."""
    found: Mask = live.state >= 0
    if given.states:
        found &= np.isin(live.state, [STATES.index(state) for state in given.states])
    for where in given.where:
        found &= _holds(live, where)
    if given.top is not None:
        best = ranked(live, found & live.feasible)[: given.top]
        found = np.zeros(live.size, np.bool_)
        found[best] = True
    return found


def _holds(live: LiveTrials, where: Where) -> Mask:
    given = column(live, where.column)
    found = np.zeros(live.size, np.bool_)
    for low, high in where.ranges:
        found |= (given >= low) & (given <= high)
    name = where.column.removeprefix("params.")
    parameter = live.params.get(name) if name != where.column else None
    for category in where.categories:
        if parameter is not None and parameter.kind == "categorical":
            for i, choice in enumerate(parameter.choices):
                if type(choice) is type(category) and choice == category:
                    found |= given == i
        elif category == "not set":
            found |= np.isnan(given)
        elif isinstance(category, int | float):
            found |= given == float(category)
    return found


def ranked(live: LiveTrials, chosen: Mask) -> NDArray[np.int64]:
    """The chosen trials' numbers, best first, the earlier of equal ones first."""
    at = np.flatnonzero(chosen)
    first = live.values[at, 0]
    sign = -1.0 if live.directions[0] == "maximize" else 1.0
    return at[np.argsort(sign * first, kind="stable")]


def pick(live: LiveTrials, chosen: Mask, limit: int) -> list[int]:
    """At most `limit` of the chosen trials, evenly by number.

    With all that a reader would miss: those that set a new best, the extremes, the Pareto front,
    what runs.
    """
    at = np.flatnonzero(chosen)
    if len(at) <= limit:
        found: list[int] = at.tolist()
        return found
    complete = np.flatnonzero(chosen & live.complete)
    keep = np.flatnonzero(chosen & (live.state == STATES.index(TrialState.RUNNING))).tolist()
    if len(complete):
        reached = live.values[complete, 0]
        keep += [int(complete[reached.argmin()]), int(complete[reached.argmax()])]
    feasible = np.flatnonzero(chosen & live.feasible)
    if len(feasible):
        reached = live.values[feasible, 0]
        keep += feasible[records(reached, live.directions[0] == "maximize")].tolist()
        if len(live.directions) > 1:
            keep += feasible[unbeaten(live.values[feasible].tolist(), live.directions)].tolist()
    places = np.searchsorted(at, np.unique(keep)) if keep else ()
    return [int(at[i]) for i in thin.indices(len(at), limit, [int(i) for i in places])]


def records(reached: NDArray[np.float64], maximize: bool) -> NDArray[np.int64]:
    """Indices of the values that are better than all before them."""
    signed = reached if maximize else -reached
    best = np.maximum.accumulate(signed)
    return np.flatnonzero(np.concatenate([[True], signed[1:] > best[:-1]]))


def total(live: LiveTrials, chosen: Mask, states: Sequence[TrialState]) -> int:
    """How many of the chosen trials are in these states."""
    return int(np.isin(live.state[chosen], [STATES.index(s) for s in states]).sum())
