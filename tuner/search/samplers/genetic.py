"""What NSGA-II and NSGA-III have in common: generations that follow from the history alone.

Optuna's samplers note in each trial to which generation it belongs when they draw it, and keep the
parents in the study's attributes. Here complete trials form generations in the order of their ends,
so there is nothing to store: every process finds the same parents, and a worker that ends takes
nothing with it.

An inactive parameter has a random value that nothing shows, so that individuals with different
active parameters can be crossed.
"""

import copy
import math
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, NSGAIIISampler, NSGAIISampler, RandomSampler
from optuna.samplers import nsgaii as crossovers
from optuna.samplers.nsgaii._constraints_evaluation import _constrained_dominates
from optuna.samplers.nsgaii._crossover import _select_parents
from optuna.study import Study
from optuna.study._constrained_optimization import _is_constrained_optimization
from optuna.study._multi_objective import _dominates
from optuna.trial import FrozenTrial

from tuner.origin import Origin, OriginKind
from tuner.search.samplers import Draw
from tuner.study_file.parameters import draw as draw_value
from tuner.study_file.sampler_options import GeneticOptions
from tuner.study_file.samplers import SamplerName
from tuner.study_file.seeds import derived_seed

FIRST_GENERATION = "the first generation has not ended"
ATTEMPTS = 20  # at a child inside the ranges, before one is moved there


class _Parents(NamedTuple):
    """The parents of the newest generation."""

    consumed: int  # trials that have formed generations
    numbers: tuple[int, ...]


_NO_PARENTS = _Parents(0, ())


class GeneticSampler(BaseSampler):
    """Draws one trial: a child of the newest generation, at random before there is one."""

    def __init__(
        self, name: SamplerName, draw: Draw, algorithm: NSGAIISampler | NSGAIIISampler
    ) -> None:
        self._draw = draw
        self._algorithm = algorithm
        self._random = RandomSampler(seed=draw.seed)
        assert isinstance(draw.options, GeneticOptions)
        self._options = draw.options
        self._name = name
        self.origin = Origin(kind=OriginKind.RANDOM, sampler=name, reason=FIRST_GENERATION)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return all parameters: children have them all, active or not."""
        return {name: d for name, d in self._draw.distributions.items() if not d.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the child, without the parameters that mutate."""
        parents = [self._completed(parent) for parent in self._find_parents(study)]
        if not parents or not search_space:
            return {}
        learned_from = self._draw.memory["parents"].consumed
        self.origin = Origin(kind=OriginKind.MODEL, sampler=self._name, learned_from=learned_from)
        rng = np.random.RandomState(self._draw.seed)
        options = self._options
        if rng.rand() < options.crossover_probability:
            child = self._cross(study, parents, search_space, rng)
        else:
            child = parents[rng.choice(len(parents))].params
        mutation = options.mutation_probability
        if mutation is None:
            mutation = 1 / len(search_space)
        return {name: child[name] for name in search_space if rng.rand() >= mutation}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a random value of a parameter that mutates, or of the first generation."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _cross(
        self,
        study: Study,
        population: list[FrozenTrial],
        search_space: dict[str, BaseDistribution],
        rng: np.random.RandomState,
    ) -> dict[str, Any]:
        """Return the child of two or three parents.

        As Optuna does it, but for its loop, which need not end in a space of many dimensions: there
        almost every child of some crossovers lies outside of one range or another.
        """
        swapping = self._options.swapping_probability
        crossover = self._crossover()
        is_constrained = _is_constrained_optimization(population)
        dominates = _constrained_dominates if is_constrained else _dominates
        parents = _select_parents(crossover, study, population, rng, dominates)
        first, last = parents[0].params, parents[-1].params
        child = {
            name: (first if rng.rand() >= swapping else last)[name]
            for name, distribution in search_space.items()
            if isinstance(distribution, CategoricalDistribution)
        }
        numbers = {name: d for name, d in search_space.items() if name not in child}
        if numbers:
            transform = _SearchSpaceTransform(numbers)
            rows = np.stack(
                [transform.transform({n: parent.params[n] for n in numbers}) for parent in parents]
            )
            low, high = transform.bounds.T
            for _ in range(ATTEMPTS):
                row = crossover.crossover(rows, rng, study, transform.bounds)
                if np.all((row >= low) & (row <= high)):
                    break
            row = np.where(np.isfinite(row), row, rows[0])
            child.update(transform.untransform(np.clip(row, low, high)))
        return child

    def _crossover(self) -> crossovers.BaseCrossover:
        match self._options.crossover:
            case "blx_alpha":
                return crossovers.BLXAlphaCrossover()
            case "sbx":
                return crossovers.SBXCrossover()
            case "spx":
                return crossovers.SPXCrossover()
            case "undx":
                return crossovers.UNDXCrossover()
            case "vsbx":
                return crossovers.VSBXCrossover()
        return crossovers.UniformCrossover(self._options.swapping_probability)

    def _find_parents(self, study: Study) -> list[FrozenTrial]:
        """Return the best of all full generations."""
        generations, size = self._draw.generations, self._options.population_size
        numbers = generations.numbers(pruned=False)
        parents: _Parents = self._draw.memory.get("parents", _NO_PARENTS)
        if generations.unchanged < parents.consumed:  # it became known late when a trial ended
            parents = _NO_PARENTS
        while len(numbers) >= parents.consumed + size:
            generation = numbers[parents.consumed : parents.consumed + size]
            population = generations.trials([*generation, *parents.numbers])
            best = self._select(study, population, parents.consumed)
            numbers_of_best = tuple(sorted(trial.number for trial in best))
            parents = _Parents(parents.consumed + size, numbers_of_best)
        generations.unchanged = len(numbers)
        self._draw.memory["parents"] = parents
        return generations.trials(parents.numbers)

    def _select(
        self, study: Study, population: Sequence[FrozenTrial], consumed: int
    ) -> list[FrozenTrial]:
        """Return the best of a population, the same in every process."""
        algorithm = self._algorithm
        if isinstance(algorithm, NSGAIIISampler):  # among equals it chooses at random
            algorithm._rng.rng.seed(derived_seed(self._draw.study_seed, "generation", consumed))
        known = [trial for trial in population if not any(map(math.isnan, trial.values))]
        with np.errstate(all="ignore"):
            return algorithm._elite_population_selection_strategy(study, known)

    def _completed(self, parent: FrozenTrial) -> FrozenTrial:
        """Return a parent with values of inactive parameters, all of them inside their ranges."""
        distributions = self._draw.distributions
        params = {
            name: value
            for name, value in parent.params.items()
            if distributions[name]._contains(distributions[name].to_internal_repr(value))
        }
        if params.keys() == distributions.keys():
            return parent
        rng = random.Random(derived_seed(self._draw.study_seed, "hidden", parent.number))
        completed = copy.copy(parent)
        completed.params = {
            name: params[name]
            if name in params
            else draw_value(self._draw.space.parameters[name], rng)
            for name in distributions
        }
        return completed
