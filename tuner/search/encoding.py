"""Parameters as points of a unit cube, for models: scaled, logarithmic where the search is.

A parameter whose condition does not hold is NaN in a row. Models see it in the middle of its range,
and none of its choices; that it is inactive follows from the parameter that it depends on.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tuner.study_file.parameters import FixedParameter, among
from tuner.study_file.space import Space
from tuner.trials import ParamValue

Array = NDArray[np.float64]
_Conditions = list[tuple[int, list[tuple[int, list[float]]]]]  # column → parent, its allowed values

CHOICE = 0.7  # of a choice's column: two choices are about as far apart as the ends of a range
FAR_JUMP = 0.2  # share of a neighbour's changes that go anywhere in the range
SPREADS = (0.03, 0.1, 0.25)  # standard deviations of the others, of the range


class Encoding:
    """The searched parameters of a space.

    Rows of parameters are arrays [N, p] in Optuna's internal representation: numbers as they are,
    choices by their index.
    """

    def __init__(self, space: Space, distributions: Mapping[str, BaseDistribution]) -> None:
        self.names = list(distributions)
        self._distributions = distributions
        self._conditions = _conditions(space, distributions)
        self._parameters = [_parameter(d) for d in distributions.values()]
        self.width = sum(parameter.width for parameter in self._parameters)

    def encode(self, rows: Array) -> Array:
        """Return rows [N, p] as inputs of a model [N, width]."""
        columns = [p.encode(rows[:, j]) for j, p in enumerate(self._parameters)]
        return np.concatenate(columns, axis=1) if columns else np.empty((len(rows), 0))

    def internal(self, configurations: Sequence[Mapping[str, ParamValue]]) -> Array:
        """Return configurations as rows [N, p]."""
        rows = np.full((len(configurations), len(self.names)), np.nan)
        for row, params in zip(rows, configurations, strict=True):
            for column, (name, distribution) in enumerate(self._distributions.items()):
                if name in params:
                    row[column] = distribution.to_internal_repr(params[name])
        return rows

    def inputs_of(self, names: Collection[str]) -> NDArray[np.bool_]:
        """Return which of a model's inputs [width] stand for these parameters."""
        widths = [parameter.width for parameter in self._parameters]
        return np.repeat(np.isin(self.names, list(names)), widths)

    def rows(self, points: Array) -> Array:
        """Return points [N, p] of the unit cube as rows of possible values, all of them active."""
        return np.column_stack([p.at(points[:, j]) for j, p in enumerate(self._parameters)])

    def deactivate(self, rows: Array) -> Array:
        """Set parameters whose conditions do not hold to NaN, in place; return the rows."""
        for column, conditions in self._conditions:
            for parent, allowed in conditions:
                rows[~np.isin(rows[:, parent], allowed), column] = np.nan
        return rows

    def neighbours(self, row: Array, count: int, rng: np.random.Generator) -> Array:
        """Return rows [count, p] that differ from a row [p] in one to three parameters."""
        rows = np.tile(row, (count, 1))
        missing = np.flatnonzero(np.isnan(row))
        if len(missing):  # a change may activate them
            rows[:, missing] = self.rows(rng.random((count, len(self.names))))[:, missing]
        p = len(self._parameters)
        changes = np.argsort(rng.random((count, p)), axis=1) < rng.integers(
            1, min(p, 3) + 1, size=(count, 1)
        )
        for j, parameter in enumerate(self._parameters):
            chosen = np.flatnonzero(changes[:, j])
            if not np.isnan(row[j]):
                rows[chosen, j] = parameter.near(row[j], len(chosen), rng)
        return rows


class _Choice:
    def __init__(self, distribution: CategoricalDistribution) -> None:
        self._count = len(distribution.choices)
        self.width = self._count

    def encode(self, column: Array) -> Array:
        is_choice: Array = (column[:, None] == np.arange(self._count)).astype(np.float64)
        return CHOICE * is_choice

    def at(self, share: Array) -> Array:
        return np.minimum(np.floor(share * self._count), self._count - 1)

    def near(self, _: float, count: int, rng: np.random.Generator) -> Array:
        return self.at(rng.random(count))


class _Range:
    """A number, on a grid where it has steps."""

    width = 1

    def __init__(self, distribution: FloatDistribution | IntDistribution) -> None:
        self._low, self._high = float(distribution.low), float(distribution.high)
        self._log = distribution.log
        self._step = None if distribution.step is None else float(distribution.step)
        is_int = isinstance(distribution, IntDistribution)
        # the ends of a grid get a whole cell each, as every value between them
        pad = 0.0 if self._step is None else self._step / 2
        self._start = np.log(self._low - (0.5 if is_int else 0.0)) if self._log else self._low - pad
        end = np.log(self._high + (0.5 if is_int else 0.0)) if self._log else self._high + pad
        self._extent = max(float(end - self._start), 1e-12)

    def encode(self, column: Array) -> Array:
        share = self._share(np.clip(column, self._low, self._high))
        return np.where(np.isnan(column), 0.5, share)[:, None]

    def _share(self, column: Array) -> Array:
        scaled = np.log(column) if self._log else column
        return np.asarray((scaled - self._start) / self._extent)

    def at(self, share: Array) -> Array:
        scaled = self._start + np.clip(share, 0.0, 1.0) * self._extent
        values = np.exp(scaled) if self._log else scaled
        if self._step is not None:
            values = self._low + np.round((values - self._low) / self._step) * self._step
        return np.clip(values, self._low, self._high)

    def near(self, value: float, count: int, rng: np.random.Generator) -> Array:
        share = float(self._share(np.array([value]))[0])
        spread = rng.choice(SPREADS, count)
        if self._step is not None and not self._log:  # at least the neighbouring cell
            spread = np.maximum(spread, self._step / self._extent)
        near = share + spread * rng.standard_normal(count)
        near = np.where((near < 0) | (near > 1), share - (near - share), near)
        return self.at(np.where(rng.random(count) < FAR_JUMP, rng.random(count), near))


def _parameter(distribution: BaseDistribution) -> _Choice | _Range:
    if isinstance(distribution, CategoricalDistribution):
        return _Choice(distribution)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return _Range(distribution)


def _conditions(space: Space, distributions: Mapping[str, BaseDistribution]) -> _Conditions:
    """Return the columns that have conditions, parents before the columns that depend on them."""
    columns = {name: column for column, name in enumerate(distributions)}
    conditions: _Conditions = []
    for name, column in columns.items():
        of_column: list[tuple[int, list[float]]] = []
        for parent, allowed in space.parameters[name].when.items():
            pinned = space.parameters[parent]
            if isinstance(pinned, FixedParameter):
                if not among(pinned.value, allowed):
                    of_column.append((column, []))  # never active
                continue
            of_column.append((columns[parent], _internal(distributions[parent], allowed)))
        if of_column:
            conditions.append((column, of_column))
    return conditions


def _internal(distribution: BaseDistribution, allowed: Sequence[ParamValue]) -> list[float]:
    internal = []
    for value in allowed:
        with suppress(ValueError):  # a choice that the file has narrowed away
            internal.append(float(distribution.to_internal_repr(value)))
    return internal
