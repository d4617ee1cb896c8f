"""What the user expects of parameters: `prior` in a study file.

A third of the random trials at the start are drawn near the expected values. A model's acquisition
is multiplied by the prior's density to the power of strength / trials, so that what users believe
fades as results come in (πBO; Hvarfner et al., ICLR 2022), and sooner if the results contradict it.
A density never falls below a share of its maximum: a wrong belief delays a search, and hides
nothing from it.
"""

import random
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution

from tuner.search.ranks import Ranks
from tuner.study_file.parameters import (
    PRIOR_STRENGTH,
    CategoricalParameter,
    FixedParameter,
    FloatParameter,
    IntParameter,
    at,
    same,
)
from tuner.study_file.space import Space
from tuner.trials import ParamValue

Array = NDArray[np.float64]

SPREAD = 0.12  # standard deviation of an expected number, of its range on its scale
FLOOR = 0.05  # of the density of a number, relative to its maximum
OTHER_CHOICE = 0.2  # density of a choice that is not the expected one, relative to that one's
JUDGES = 100  # newest trials that a belief is judged by
UNIFORM = 0.1  # share of draws that ignore the prior


class Priors:
    """The priors of a space's parameters; false if it has none."""

    def __init__(self, space: Space, distributions: Mapping[str, BaseDistribution]) -> None:
        self._beliefs: list[tuple[str, int, _Number | _Choice]] = []
        for column, name in enumerate(distributions):
            parameter = space.parameters[name]
            if isinstance(parameter, FixedParameter) or parameter.prior is None:
                continue
            belief: _Number | _Choice
            if isinstance(parameter, CategoricalParameter):
                belief = _Choice(parameter)
            else:
                belief = _Number(parameter)
            self._beliefs.append((name, column, belief))

    def __bool__(self) -> bool:
        return bool(self._beliefs)

    def expected(self) -> dict[str, ParamValue]:
        """Return the values that the user expects."""
        return {name: belief.parameter.prior for name, _, belief in self._beliefs}

    def draw(self, rng: random.Random) -> dict[str, ParamValue]:
        """Draw the parameters that have a prior from it."""
        return {name: belief.draw(rng) for name, _, belief in self._beliefs}

    def after(self, rows: Array, values: Array) -> Callable[[Array], Array]:
        """Return what still counts of the priors after some trials.

        Args:
            rows: Their parameters [N, p], in Optuna's internal representation.
            values: What they have reached [N]; smaller is better.

        Returns:
            A function of rows of parameters [M, p]: the logarithm of their weights [M].

        """
        newest = slice(-JUDGES, None)
        ranks = Ranks(values[newest]) if self._beliefs else None
        exponents = []
        for _, column, belief in self._beliefs:
            assert ranks is not None
            strength = belief.parameter.prior_strength or PRIOR_STRENGTH
            fading = min(1.0, strength / len(values))
            agreement = ranks.agreement(-_log_density(belief, rows[newest, column]))
            # certain neither way: in full
            exponents.append(fading * min(1.0, 2 * float((agreement >= 0).mean())))

        def log_weights(candidates: Array) -> Array:
            total = np.zeros(len(candidates))
            for (_, column, belief), exponent in zip(self._beliefs, exponents, strict=True):
                total += exponent * _log_density(belief, candidates[:, column])
            return total

        return log_weights


def _log_density(belief: "_Number | _Choice", column: Array) -> Array:
    # where the parameter has no meaning, the prior favours neither side
    return np.where(np.isnan(column), belief.average, belief.log_density(column))


class _Number:
    def __init__(self, parameter: FloatParameter | IntParameter) -> None:
        self.parameter = parameter
        expected = parameter.prior
        assert isinstance(expected, int | float)
        self._center = float(self._share(np.array([float(expected)]))[0])
        self.average = float(self._of_share(np.linspace(0, 1, 101)).mean())

    def draw(self, rng: random.Random) -> ParamValue:
        share = rng.random()
        if rng.random() > UNIFORM:
            share = rng.gauss(self._center, SPREAD)
            while not 0 <= share < 1:
                share = rng.gauss(self._center, SPREAD)
        return at(self.parameter, share)

    def log_density(self, column: Array) -> Array:
        return self._of_share(self._share(np.nan_to_num(column, nan=float(self.parameter.high))))

    def _of_share(self, share: Array) -> Array:
        distance = (share - self._center) / SPREAD
        return np.asarray(np.log((1 - FLOOR) * np.exp(-0.5 * distance * distance) + FLOOR))

    def _share(self, values: Array) -> Array:
        """Return where values lie between the ends of the range, on its scale."""
        low, high = float(self.parameter.low), float(self.parameter.high)
        if self.parameter.log:
            values, low, high = np.log(values), float(np.log(low)), float(np.log(high))
        return np.asarray((values - low) / (high - low))


class _Choice:
    def __init__(self, parameter: CategoricalParameter) -> None:
        self.parameter = parameter
        density = [1.0 if same(c, parameter.prior) else OTHER_CHOICE for c in parameter.choices]
        self._weights = density
        self._log_density = np.log(density)
        self.average = float(self._log_density.mean())

    def draw(self, rng: random.Random) -> ParamValue:
        return rng.choices(self.parameter.choices, self._weights)[0]

    def log_density(self, column: Array) -> Array:
        return np.asarray(self._log_density[np.nan_to_num(column).astype(int)])
