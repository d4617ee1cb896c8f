"""CMA-ES: covariance matrix adaptation (Hansen & Ostermeier, 2001), of the package cmaes.

The distribution follows from the trials that have ended, in the order of their ends: each
generation of them is told to the algorithm, whose state every process computes by itself. So
nothing is stored, least of all a pickle, as in Optuna's sampler. A trial may belong to a later
generation than the one that it was drawn from, which the algorithm tolerates.

A generation is ranked: complete trials by their values, after them pruned ones, first those that
came farther, as TPE does it. Choices have probabilities beside the distribution of the numbers
(CatCMA; Hamano et al., GECCO 2024). Once the algorithm has converged, it starts over at a random
place with twice the population (IPOP; Auger & Hansen, CEC 2005).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from cmaes import CMA, CatCMA
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from tuner.origin import NUMERICAL, Origin, OriginKind
from tuner.search.samplers import Draw, qmc, too_few
from tuner.search.samplers.random import SubstituteSampler
from tuner.search.threads import single_threaded
from tuner.study_file.parameters import CategoricalParameter, FixedParameter, Searched, at, share_of
from tuner.study_file.sampler_options import MAX_POPULATION, CmaesOptions
from tuner.study_file.seeds import derived_seed
from tuner.trials import ParamValue

Array = NDArray[np.float64]

CONVERGED = 3e-4  # largest standard deviation, as a share of the range, at which it starts over
TROUBLE = (np.linalg.LinAlgError, ArithmeticError, AssertionError, ValueError)


def make(draw: Draw) -> BaseSampler:
    """Return the sampler; Sobol points until enough trials have ended."""
    known, needed = len(draw.generations.numbers(pruned=True)), _startup(draw)
    if known < needed:
        reason = too_few(known, needed)
        return qmc.make(draw, "cmaes", reason) or SubstituteSampler("cmaes", reason, draw.seed)
    return CmaesSampler(draw)


def _startup(draw: Draw) -> int:
    return max(1, draw.startup_trials)


@dataclass(slots=True)
class _State:
    """The algorithm after so many ended trials."""

    optimizer: "_Optimizer"
    consumed: int
    starts: int = 1


class CmaesSampler(BaseSampler):
    """Draws one trial."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._random = RandomSampler(seed=draw.seed)
        self.origin = Origin(kind=OriginKind.RANDOM, sampler="cmaes")
        assert isinstance(draw.options, CmaesOptions)
        self._options = draw.options
        self._parameters = {
            name: draw.space.parameters[name]
            for name, distribution in draw.distributions.items()
            if not distribution.single()
        }

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return all parameters: they are drawn together, active or not."""
        return {name: self._draw.distributions[name] for name in self._parameters}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a point of the distribution; nothing after numerical trouble."""
        if not search_space:
            return {}
        with single_threaded(), np.errstate(all="ignore"):
            try:
                optimizer = self._latest()
                learned_from = self._draw.memory["cmaes"].consumed
                self.origin = Origin(
                    kind=OriginKind.MODEL, sampler="cmaes", learned_from=learned_from
                )
                return optimizer.ask(self._draw.seed)
            except TROUBLE:
                self.origin = Origin(kind=OriginKind.RANDOM, sampler="cmaes", reason=NUMERICAL)
                self._draw.memory.pop("cmaes", None)
                return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a random value, where the model could not."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _latest(self) -> "_Optimizer":
        """Return the algorithm after all full generations."""
        generations = self._draw.generations
        numbers = generations.numbers(pruned=True)
        state: _State | None = self._draw.memory.get("cmaes")
        if state is None or generations.unchanged < state.consumed:
            state = self._start(numbers[: _startup(self._draw)])
        while len(numbers) >= state.consumed + state.optimizer.population_size:
            end = state.consumed + state.optimizer.population_size
            trials = generations.trials(numbers[state.consumed : end])
            state.consumed = end
            try:
                state.optimizer.tell(self._ranked(trials))
                is_over = state.optimizer.has_converged
            except TROUBLE:
                is_over = True
            if is_over:
                self._start_over(state)
        generations.unchanged = len(numbers)
        self._draw.memory["cmaes"] = state
        return state.optimizer

    def _start(self, numbers: list[int]) -> _State:
        """Start at the best of the first trials."""
        best = self._ranked(self._draw.generations.trials(numbers))[0]
        size = self._options.population_size
        optimizer = _Optimizer(self._parameters, best.params, self._options.sigma, size)
        return _State(optimizer, len(numbers))

    def _start_over(self, state: _State) -> None:
        rng = np.random.default_rng(derived_seed(self._draw.study_seed, "cmaes", state.starts))
        start = {name: at(p, float(rng.random())) for name, p in self._parameters.items()}
        size = min(2 * state.optimizer.population_size, MAX_POPULATION)
        state.optimizer = _Optimizer(self._parameters, start, self._options.sigma, size)
        state.starts += 1

    def _ranked(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Return the trials, the best first."""
        sign = 1.0 if self._draw.minimizes else -1.0
        return sorted(trials, key=lambda trial: _score(trial, sign))


def _score(trial: FrozenTrial, sign: float) -> tuple[float, ...]:
    """As TPE orders them; smaller is better."""
    if trial.state is TrialState.COMPLETE:
        return (0.0, 0.0, _worst_if_nan(sign * trial.values[0]), trial.number)
    if not trial.intermediate_values:
        return (2.0, 0.0, 0.0, trial.number)
    step = max(trial.intermediate_values)
    return (1.0, -step, _worst_if_nan(sign * trial.intermediate_values[step]), trial.number)


def _worst_if_nan(value: float) -> float:
    return np.inf if np.isnan(value) else value


class _Optimizer:
    """CMA, or CatCMA where there are choices, over shares of the parameters' ranges."""

    def __init__(
        self,
        parameters: dict[str, Searched],
        start: dict[str, Any],
        sigma: float,
        population_size: int | None,
    ) -> None:
        self._numbers = {
            name: parameter
            for name, parameter in parameters.items()
            if not isinstance(parameter, CategoricalParameter | FixedParameter)
        }
        self._choices = {
            name: parameter.choices
            for name, parameter in parameters.items()
            if isinstance(parameter, CategoricalParameter)
        }
        mean = np.array([self._share(name, start, 0.5) for name in self._numbers])
        if not self._choices:
            bounds = np.tile([0.0, 1.0], (len(mean), 1))
            self._cma = CMA(mean, sigma, bounds=bounds, population_size=population_size)
            return
        if len(mean) < 2:  # CatCMA needs two numbers: one that nothing depends on
            mean = np.append(mean, 0.5)
        self._cma = CatCMA(
            mean,
            sigma,
            np.array([len(choices) for choices in self._choices.values()]),
            bounds=np.tile([0.0, 1.0], (len(mean), 1)),
            population_size=population_size,
        )

    @property
    def population_size(self) -> int:
        return int(self._cma.population_size)

    @property
    def has_converged(self) -> bool:
        spread = self._cma._sigma * np.sqrt(np.max(np.diag(self._cma._C)))
        return not spread >= CONVERGED or bool(self._cma.should_stop())

    def ask(self, seed: int) -> dict[str, ParamValue]:
        """Return a point of the distribution."""
        x, choices = self._ask(seed)
        if not np.all(np.isfinite(x)):
            raise FloatingPointError
        params: dict[str, ParamValue] = {
            name: at(parameter, min(float(share), np.nextafter(1.0, 0.0)))
            for (name, parameter), share in zip(self._numbers.items(), x, strict=False)
        }
        for (name, values), one_hot in zip(self._choices.items(), choices, strict=True):
            params[name] = values[int(np.argmax(one_hot))]
        return params

    def tell(self, ranked: list[FrozenTrial]) -> None:
        """Learn from a generation, the best first."""
        solutions = [self._solution(trial) for trial in ranked]
        if self._choices:
            self._cma.tell([(solution, rank) for rank, solution in enumerate(solutions)])
        else:
            self._cma.tell([(solution[0], rank) for rank, solution in enumerate(solutions)])

    def _ask(self, seed: int) -> tuple[Array, Array]:
        self._cma.reseed_rng(seed)
        point = self._cma.ask()
        return point if self._choices else (point, np.empty((0, 0)))

    def _solution(self, trial: FrozenTrial) -> tuple[Array, Array]:
        """Return a trial as a point; inactive parameters as if they had been drawn now."""
        x, choices = self._ask(derived_seed("hidden", trial.number))
        for place, name in enumerate(self._numbers):
            x[place] = self._share(name, trial.params, x[place])
        for place, (name, values) in enumerate(self._choices.items()):
            if name in trial.params and trial.params[name] in values:
                choices[place] = False
                choices[place, values.index(trial.params[name])] = True
        return x, choices

    def _share(self, name: str, params: dict[str, Any], default: float) -> float:
        if name not in params:
            return default
        return share_of(self._numbers[name], params[name])
