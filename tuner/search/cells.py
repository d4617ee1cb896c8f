"""The configurations of a small space or a grid: what is left to try, and when nothing is."""

from collections.abc import Iterable, Mapping
from itertools import islice

from optuna.distributions import BaseDistribution

from tuner.search.distributions import distribution
from tuner.search.tried import Key, Tried
from tuner.study_file.grid import Grid
from tuner.study_file.messages import counted
from tuner.study_file.parameters import FixedParameter
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.sampler_options import GridOptions
from tuner.study_file.seeds import derived_seed
from tuner.study_file.space import MAX_CELLS, Space
from tuner.study_file.study import Sampler
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


class GridCells:
    """The configurations of a grid of any size, in the order in which they are tried."""

    def __init__(self, space: Space, sampler: Sampler, seed: int, tried: Tried) -> None:
        """`tried` is kept up to date by its owner."""
        options = sampler.checked_options
        assert isinstance(options, GridOptions)
        self._space = space
        self._names = searched(space).keys()
        self._points = options.points
        self._whole = "grid" if sampler.reason is None else "space"  # if the user named no grid
        self._grid = Grid(space, options.points)
        self._seed = derived_seed(seed, "grid") if options.shuffle else None
        self._tried = tried
        self._first = 0  # all before it were tried

    def untried(self, fixed: Mapping[str, ParamValue]) -> list[Params]:
        """Return the next configuration with these `fixed` values; nothing if all were tried."""
        if not fixed:
            return [] if self.used_up is not None else [self._at(self._grid, self._first)]
        grid = self._with(fixed)
        places = range(min(grid.size, MAX_CELLS))
        configurations = (self._at(grid, place) for place in places)
        return list(islice((c for c in configurations if not self._is_tried(c)), 1))

    def repeated(self, number: int, fixed: Mapping[str, ParamValue]) -> Params:
        """Return the configuration of trial `number` once all of them were tried."""
        grid = self._with(fixed) if fixed else self._grid
        return self._at(grid, number % grid.size) if grid.size else {}

    @property
    def used_up(self) -> str | None:
        """Why a study that repeats no configuration is over; None while one is left."""
        while self._first < self._grid.size:
            if not self._is_tried(self._at(self._grid, self._first)):
                return None
            self._first += 1
        if self._grid.size == 1:
            return f"the only configuration of its {self._whole} was tried"
        return f"all {counted(self._grid.size, 'configuration')} of its {self._whole} were tried"

    def _at(self, grid: Grid, place: int) -> Params:
        params = grid.at(place) if self._seed is None else grid.shuffled(place, self._seed)
        return {name: value for name, value in params.items() if name in self._names}

    def _with(self, fixed: Mapping[str, ParamValue]) -> Grid:
        """Return the grid of the configurations with fixed values, which need not lie on it."""
        pinned = {
            name: FixedParameter(value=fixed[name], when=parameter.when)
            for name, parameter in self._space.parameters.items()
            if name in fixed
        }
        parameters = {**self._space.parameters, **pinned}
        return Grid(self._space.model_copy(update={"parameters": parameters}), self._points)

    def _is_tried(self, params: Params) -> bool:
        return self._tried.key(params) in self._tried


def cells_of(
    space: Space,
    sampler: Sampler,
    seed: int,
    distributions: Mapping[str, BaseDistribution],
    tried: Tried,
) -> Cells | GridCells | None:
    """Return what is counted of a space: a grid, a small space; None if nothing is."""
    if sampler.name == "grid":
        return GridCells(space, sampler, seed, tried)
    if sampler.name is None:  # a class may repeat what it likes
        return None
    return Cells.of(space, distributions, tried)


def used_up_by(trials: Iterable[Trial], spec: ResolvedSpec) -> str | None:
    """Return why a study with these trials that repeats none is over; None while one is left."""
    distributions = searched(spec.space)
    tried = Tried(distributions)
    cells = cells_of(spec.space, spec.sampler, spec.seed, distributions, tried)
    if cells is None:
        return None
    for trial in trials:
        tried.take(trial.number, trial.params)
    return cells.used_up
