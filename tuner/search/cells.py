"""The configurations of a small space, counted: what is left to try, and when nothing is."""

from collections.abc import Iterable, Mapping

from optuna.distributions import BaseDistribution

from tuner.search.distributions import distribution
from tuner.search.tried import Key, Tried
from tuner.study_file.messages import counted
from tuner.study_file.parameters import FixedParameter
from tuner.study_file.space import MAX_CELLS, Space
from tuner.trials import ParamValue, Trial

Params = dict[str, ParamValue]


def searched(space: Space) -> dict[str, BaseDistribution]:
    """Return the distributions of a space's searched parameters."""
    return {
        name: distribution(parameter)
        for name, parameter in space.parameters.items()
        if not isinstance(parameter, FixedParameter)
    }


class Cells:
    """All configurations that a space allows, if there are at most `MAX_CELLS`."""

    def __init__(self, configurations: Iterable[Params], tried: Tried) -> None:
        """`tried` is kept up to date by its owner."""
        self._tried = tried
        self._configurations = list(configurations)
        self._keys: list[Key | None] = [tried.key(params) for params in self._configurations]

    @classmethod
    def of(
        cls, space: Space, distributions: Mapping[str, BaseDistribution], tried: Tried
    ) -> "Cells | None":
        """Count the configurations of a space; None for a large one."""
        cells = space.cells(MAX_CELLS)
        if cells is None:
            return None
        return cls(
            ({name: v for name, v in cell.items() if name in distributions} for cell in cells),
            tried,
        )

    def untried(self, fixed: Mapping[str, ParamValue]) -> list[Params]:
        """Return the untried configurations with these `fixed` values."""
        return [
            params
            for params, key in zip(self._configurations, self._keys, strict=True)
            if key not in self._tried and (not fixed or self._tried.key({**params, **fixed}) == key)
        ]

    @property
    def used_up(self) -> str | None:
        """Why a study that repeats no configuration is over; None while one is left."""
        if any(key not in self._tried for key in self._keys):
            return None
        if len(self._keys) == 1:
            return "the only configuration of its space was tried"
        return f"all {counted(len(self._keys), 'configuration')} of its space were tried"


def used_up_by(trials: Iterable[Trial], space: Space) -> str | None:
    """Return why a study with these trials that repeats none is over; None while one is left."""
    distributions = searched(space)
    tried = Tried(distributions)
    cells = Cells.of(space, distributions, tried)
    if cells is None:
        return None
    for trial in trials:
        tried.take(trial.number, trial.params)
    return cells.used_up
