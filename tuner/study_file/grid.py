"""The grid of a search space: which values each parameter has on it, and its configurations.

A configuration is computed from its index. What `when` and `forbidden` exclude is counted out, so
indices and configurations correspond one to one, and no list of them is ever made.
"""

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from tuner.study_file.messages import listed
from tuner.study_file.parameters import (
    CategoricalParameter,
    FixedParameter,
    FloatParameter,
    IntParameter,
    Searched,
    after,
    among,
    steps,
)
from tuner.study_file.seeds import derived_seed
from tuner.study_file.space import Range, Rule, Space
from tuner.trials import ParamValue

MAX_PARAMETERS = 200
MAX_STATES = 50_000  # ways in which the choices so far can matter to the next ones
_ROUNDS = 4  # of the permutation

_Holds = frozenset[tuple[str, str]]  # (child, parent): the child's condition on its parent holds
_Alive = frozenset[int]  # forbidden combinations of which every rule so far matches


class NoGridError(ValueError):
    """A space has no grid; the message says why and what would give it one."""


class _Steps(Sequence[ParamValue]):
    """Values of a range with steps, computed one by one."""

    def __init__(self, parameter: FloatParameter | IntParameter, indices: Sequence[int]) -> None:
        self._parameter = parameter
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> ParamValue: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ParamValue]: ...
    def __getitem__(self, index: int | slice) -> ParamValue | Sequence[ParamValue]:
        if isinstance(index, slice):
            return _Steps(self._parameter, self._indices[index])
        return after(self._parameter, self._indices[index])


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive values of a parameter that no condition or forbidden combination tells apart."""

    start: int
    length: int
    holds: _Holds
    matches: _Alive


class Grid:
    """The configurations of a grid, by index."""

    def __init__(self, space: Space, points: int | None = None) -> None:
        """`points` are the values of each float range that states no number of its own.

        NoGridError if there is no such number, or conditions and forbidden combinations depend on
        each other in too many ways.
        """
        if missing := without_points(space, points):
            raise NoGridError(
                f"needs a number of values for {listed(missing)}: write `points: 5` or "
                "`step` beside the range, a list in its place, or `points` among the sampler's "
                "options for all of them"
            )
        self._space = space
        self._names = list(space.parameters)
        self._axes = [_axis(parameter, points) for parameter in space.parameters.values()]
        self._position = {name: position for position, name in enumerate(self._names)}
        self._last_use = [max(map(self._position.__getitem__, c)) for c in space.forbidden]
        self._runs = [self._runs_of(name) for name in self._names]
        self._sizes: dict[tuple[int, _Holds, _Alive], int] = {}
        if len(self._names) > MAX_PARAMETERS:
            raise NoGridError(f"has at most {MAX_PARAMETERS} parameters")
        self._start: tuple[_Holds, _Alive] = (
            frozenset(),
            frozenset(range(len(space.forbidden))),
        )
        self.size = self._count(0, *self._start)

    def at(self, index: int) -> dict[str, ParamValue]:
        """Return the configuration of an index below `size`, pinned parameters included."""
        params: dict[str, ParamValue] = {}
        holds, alive = self._start
        for position, name in enumerate(self._names):
            for run, holds_after, alive_after in self._branches(position, holds, alive):
                size = self._count(position + 1, holds_after, alive_after)
                length = 1 if run is None else run.length
                if index < size * length:
                    if run is not None:
                        steps_on, index = divmod(index, size)
                        params[name] = self._axes[position][run.start + steps_on]
                    holds, alive = holds_after, alive_after
                    break
                index -= size * length
            else:
                raise IndexError(index)
        return params

    def shuffled(self, index: int, seed: int) -> dict[str, ParamValue]:
        """Return the configuration that has this index in a random order of all of them."""
        return self.at(permuted(index, self.size, seed))

    def _count(self, position: int, holds: _Holds, alive: _Alive) -> int:
        """Count the ways to go on once the parameters before `position` have values."""
        if position == len(self._names):
            return 1
        key = position, holds, alive
        if key not in self._sizes:
            if len(self._sizes) >= MAX_STATES:
                raise NoGridError(
                    "cannot count its configurations: conditions and forbidden combinations "
                    "depend on each other in too many ways; choose `random`"
                )
            self._sizes[key] = sum(
                (1 if run is None else run.length)
                * self._count(position + 1, holds_after, alive_after)
                for run, holds_after, alive_after in self._branches(position, holds, alive)
            )
        return self._sizes[key]

    def _branches(
        self, position: int, holds: _Holds, alive: _Alive
    ) -> Iterator[tuple[_Run | None, _Holds, _Alive]]:
        """Yield what a parameter can be, None if it is inactive, and the state that follows.

        The state holds only what matters to later parameters, so many choices share one.
        """
        name = self._names[position]
        is_active = all((name, parent) in holds for parent in self._space.parameters[name].when)
        runs: Sequence[_Run | None] = self._runs[position] if is_active else [None]
        for run in runs:
            matching = [
                index
                for index in alive
                if name not in self._space.forbidden[index]
                or (run is not None and index in run.matches)
            ]
            if any(self._last_use[index] == position for index in matching):
                continue  # forbidden
            held = holds if run is None else holds | run.holds
            later = frozenset(pair for pair in held if self._position[pair[0]] > position)
            yield run, later, frozenset(matching)

    def _runs_of(self, name: str) -> list[_Run]:
        values = self._axes[self._position[name]]
        is_range = isinstance(self._space.parameters[name], FloatParameter | IntParameter)
        rules: list[tuple[str | int, Rule]] = [
            (child, parameter.when[name])
            for child, parameter in self._space.parameters.items()
            if name in parameter.when
        ]
        rules += [(i, c[name]) for i, c in enumerate(self._space.forbidden) if name in c]
        cuts = {0, len(values)}
        for _, rule in rules:
            cuts.update(_cuts(values, rule) if is_range else range(len(values)))
        runs = []
        for start, end in itertools.pairwise(sorted(cuts)):
            of = [owner for owner, rule in rules if _holds(rule, values[start])]
            holds = frozenset((owner, name) for owner in of if isinstance(owner, str))
            matches = frozenset(owner for owner in of if isinstance(owner, int))
            runs.append(_Run(start, end - start, holds, matches))
        return runs


def without_points(space: Space, points: int | None) -> list[str]:
    """Return the parameters that have neither steps nor a number of points."""
    return [
        name
        for name, parameter in space.parameters.items()
        if isinstance(parameter, FloatParameter)
        and parameter.step is None
        and parameter.points is None
        and points is None
    ]


def permuted(index: int, size: int, seed: int) -> int:
    """Return the place of an index in a random order of `size` places (a Feistel network)."""
    bits = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << bits) - 1
    while True:  # on average less than four times, until the place is one of them
        left, right = index >> bits, index & mask
        for number in range(_ROUNDS):
            words = [derived_seed(seed, number, right, word) for word in range(bits // 31 + 1)]
            mixed = sum(word << 31 * place for place, word in enumerate(words))
            left, right = right, left ^ (mixed & mask)
        index = left << bits | right
        if index < size:
            return index


def _axis(parameter: Searched, points: int | None) -> Sequence[ParamValue]:
    """Return the values of a parameter, in ascending order for a range."""
    if isinstance(parameter, FixedParameter):
        return [parameter.value]
    if isinstance(parameter, CategoricalParameter):
        return parameter.choices
    if isinstance(parameter, FloatParameter) and parameter.step is None:
        return _spaced(parameter, parameter.points or points or 1)
    last, count = steps(parameter), parameter.points
    if count is None or count > last:
        return _Steps(parameter, range(last + 1))
    if isinstance(parameter, IntParameter) and parameter.log:
        return sorted({round(value) for value in _spaced(parameter, count)})
    if count == 1:
        return _Steps(parameter, [last // 2])
    return _Steps(parameter, [round(i * last / (count - 1)) for i in range(count)])


def _spaced(parameter: FloatParameter | IntParameter, count: int) -> list[float]:
    """Return values at equal distances on the parameter's scale, its ends among them."""
    low, high = parameter.low, parameter.high
    shares = [0.5] if count == 1 else [i / (count - 1) for i in range(count)]
    if parameter.log:
        start, extent = math.log(low), math.log(high) - math.log(low)
        values = [math.exp(start + share * extent) for share in shares]
    else:
        values = [low + share * (high - low) for share in shares]
    return [min(max(value, low), high) for value in values]


def _cuts(values: Sequence[ParamValue], rule: Rule) -> Iterator[int]:
    """Yield the places in ascending values where those that fit a rule begin and end."""
    bounds = (rule.above, rule.below) if isinstance(rule, Range) else rule
    for bound in bounds:
        if isinstance(bound, int | float) and not isinstance(bound, bool):
            yield bisect_left(values, bound)  # type: ignore[type-var]
            yield bisect_right(values, bound)  # type: ignore[type-var]


def _holds(rule: Rule, value: ParamValue) -> bool:
    return rule.holds(value) if isinstance(rule, Range) else among(value, rule)
