"""The samplers, one module each: `make(draw)` returns Optuna's sampler for a single draw.

    tpe.py      tree-structured Parzen estimators
    gp.py       a Gaussian process
    qmc.py      a scrambled Sobol sequence
    random.py   independent draws
    grid.py     every combination
    cmaes.py    covariance matrix adaptation
    nsga2.py, nsga3.py   genetic algorithms, on what genetic.py has in common

`study_file/samplers.py` names them. A module is imported when a study first draws with it, because
some take long to load.

Every draw gets a new sampler: what it proposes follows from the history, the trial's number and the
seeds alone, never from earlier draws of this process. So one worker repeats a search exactly,
unless `gp` learns from measured seconds. What a sampler keeps in `memory` only saves it from
computing the same again.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler

from tuner.origin import Origin
from tuner.search.cells import Cells, GridCells
from tuner.search.encoding import Encoding
from tuner.search.generations import Generations
from tuner.search.observations import Observer
from tuner.search.priors import Priors
from tuner.search.sample import Sample
from tuner.study_file.messages import counted
from tuner.study_file.samplers import SamplerName
from tuner.study_file.space import Space
from tuner.trials import ParamValue

if TYPE_CHECKING:
    from tuner.search.warm_start.models import PastModels


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What a sampler is made from.

    Args:
        space: The search space of the study.
        distributions: Optuna's distribution of each searched parameter.
        sample: The trials that Optuna's samplers are shown; empty unless the sampler learns.
        observer: What a model learns from; empty unless the sampler learns.
        encoding: Of the searched parameters.
        generations: The ended trials in the order of their ends; empty unless the sampler evolves.
        cells: The configurations of a grid or a small space; None for another.
        options: The sampler's own.
        memory: Kept from draw to draw in this process, for what follows from the rest.
        minimizes: Whether the first objective is minimized.
        fixed: Column in `distributions` → value, of parameters that are fixed for this trial.
        untried: What is left of a small space; None for a large one.
        is_open: Whether a configuration is neither forbidden nor tried.
        past: Models of the studies that this one learns from; None if there are none.
        priors: What the user expects of parameters; false if that is nothing.
        startup_trials: The number of random trials before it learns.
        study_seed: The same for all draws of the study.
        seed: The seed of this draw alone.
        redraw: How many proposals for this trial were rejected, as forbidden or already tried.

    """

    space: Space
    distributions: Mapping[str, BaseDistribution]
    sample: Sample
    observer: Observer
    encoding: Encoding
    generations: Generations
    cells: Cells | GridCells | None
    options: Any
    memory: dict[str, Any]
    minimizes: bool
    fixed: Mapping[int, float]
    untried: Sequence[Mapping[str, ParamValue]] | None
    is_open: Callable[[Mapping[str, ParamValue]], bool]
    past: "PastModels | None"
    priors: Priors
    startup_trials: int
    study_seed: int
    seed: int
    redraw: int


@runtime_checkable
class Explained(Protocol):
    """A sampler that says how it has drawn."""

    origin: Origin  # of its draw, once that is made


def too_few(known: int, needed: int) -> str:
    """Return why a model that needs more trials was not asked."""
    return f"the model needs {counted(needed, 'trial')} to learn from and had {known}"


# None: draw at random, which the search space does twenty times as fast as Optuna
Make = Callable[[Draw], BaseSampler | None]


def load(name: SamplerName) -> Make:
    """Import a sampler and return its `make`."""
    make: Make = importlib.import_module(f"{__name__}.{name}").make
    return make
