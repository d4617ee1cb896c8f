"""Quasi-random search: trial n has the n-th point of one scrambled Sobol sequence (Sobol, 1967).

Optuna's own sampler counts the points in the study's attributes, which two workers may read at the
same time. Here the trial's number, which the database gives out once, is the index; and a point has
a coordinate for every parameter, so conditions do not disturb the sequence.
"""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from tuner.origin import Origin, OriginKind
from tuner.search.samplers import Draw
from tuner.study_file.parameters import at
from tuner.study_file.seeds import derived_seed
from tuner.study_file.space import Space


def make(draw: Draw, sampler: str = "qmc", reason: str | None = None) -> BaseSampler | None:
    """Return the sampler; random draws after a rejected one, because the next point is not ours.

    `sampler` is the one that asks for it, if it is another one; `reason`: why it does.
    """
    if draw.redraw:
        return None
    seed = derived_seed(draw.study_seed, "sobol")
    origin = Origin(kind=OriginKind.QUASI_RANDOM, sampler=sampler, reason=reason)
    return SobolSampler(draw.space, draw.distributions, seed, origin)


class SobolSampler(BaseSampler):
    """Gives each trial the point of its number."""

    def __init__(
        self,
        space: Space,
        distributions: Mapping[str, BaseDistribution],
        scramble_seed: int,
        origin: Origin,
    ) -> None:
        """`scramble_seed` is the same for all trials of a study: it chooses the sequence."""
        self._space = space
        self._distributions = dict(distributions)
        self._scramble_seed = scramble_seed
        self._random = RandomSampler(seed=scramble_seed)
        self.origin = origin

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Every parameter, whether its condition holds or not."""
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The trial's point."""
        from scipy.stats.qmc import Sobol  # half a second that no other sampler should cost

        names = list(search_space)
        if not names:
            return {}
        sequence = Sobol(len(names), scramble=True, rng=self._scramble_seed)
        if trial.number:
            sequence.fast_forward(trial.number)
        (point,) = sequence.random(1)
        return {
            name: at(self._space.parameters[name], float(coordinate))
            for name, coordinate in zip(names, point, strict=True)
        }

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A random value, should rounding ever put a coordinate outside its range."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)
