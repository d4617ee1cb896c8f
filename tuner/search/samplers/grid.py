"""Every combination of a grid, each once: the first that was not tried yet."""

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from tuner.origin import Origin, OriginKind
from tuner.search.cells import GridCells
from tuner.search.samplers import Draw


def make(draw: Draw) -> BaseSampler:
    """Return the sampler."""
    return GridSampler(draw)


class GridSampler(BaseSampler):
    """Draws one trial."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._random = RandomSampler(seed=draw.seed)
        self.origin = Origin(kind=OriginKind.GRID, sampler="grid")

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return all parameters: they are chosen together."""
        return dict(self._draw.distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the configuration."""
        cells = self._draw.cells
        assert isinstance(cells, GridCells)
        if self._draw.untried:
            return dict(self._draw.untried[0])
        names = list(search_space)
        fixed = {
            names[column]: search_space[names[column]].to_external_repr(value)
            for column, value in self._draw.fixed.items()
        }
        return cells.repeated(trial.number, fixed)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a random value, where what is fixed leaves no allowed configuration."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)
