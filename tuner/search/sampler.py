"""Choosing the next parameters of a study: Optuna's samplers over the study's history.

The sampler's seed follows from the study's seed and the trial's number, so one worker alone repeats
a search exactly, and two workers never draw the same point from the same seed.
"""

import hashlib
import random
import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from tuner.search import draft
from tuner.search.distributions import distribution
from tuner.search.history import History
from tuner.spec.resolved import ResolvedSpec
from tuner.spec.space import FixedParameter, Space
from tuner.spec.study import Sampler as SamplerSpec
from tuner.trials import Direction, ParamValue

REDRAWS = 20  # of a forbidden or already tried configuration, before it is drawn at random
RANDOM_REDRAWS = 10_000  # of a forbidden one, at random

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Proposer:
    """Draws parameters for one study in one process."""

    def __init__(
        self,
        space: Space,
        sampler: SamplerSpec,
        directions: Sequence[Direction],
        seed: int,
        history: History,
    ) -> None:
        self._space = space
        self._spec = sampler
        self._seed = seed
        self._history = history
        self._storage = draft.DraftStorage(history, directions)
        self._distributions = {
            name: distribution(parameter)
            for name, parameter in space.parameters.items()
            if not isinstance(parameter, FixedParameter)
        }

    def propose(
        self, number: int, fixed_params: Mapping[str, ParamValue] | None = None
    ) -> dict[str, ParamValue]:
        """The searched parameters of trial `number`; `fixed_params` are taken as they are.

        What is forbidden is never returned (unless it was enqueued by name), and what was tried
        before only when nothing new turns up in `REDRAWS` draws.
        """
        fixed = dict(fixed_params or {})
        tried = {_key(trial.params) for trial in self._history.trials}
        params: dict[str, ParamValue] = {}
        for redraw in range(REDRAWS):
            params = self._draw(number, fixed, derived_seed(self._seed, number, redraw))
            if not self._space.is_forbidden(self.complete(params)) and _key(params) not in tried:
                return params
        if not self._space.is_forbidden(self.complete(params)) or fixed:
            return params
        rng = random.Random(derived_seed(self._seed, number, REDRAWS))
        for _ in range(RANDOM_REDRAWS):
            drawn = self._space.random(rng)
            if not self._space.is_forbidden(drawn):
                return {k: v for k, v in drawn.items() if k in self._distributions}
        return params  # the launch found an allowed draw, so this is next to impossible

    def complete(self, params: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
        """The searched parameters with the pinned ones that are active beside them."""
        return complete(self._space, params)

    def distributions(self, params: Mapping[str, ParamValue]) -> dict[str, BaseDistribution]:
        """The distributions of these parameters, in the space's order."""
        return {name: d for name, d in self._distributions.items() if name in params}

    def _draw(
        self, number: int, fixed: Mapping[str, ParamValue], seed: int
    ) -> dict[str, ParamValue]:
        study = draft.study(self._storage, self._sampler(seed))
        trial = optuna.trial.Trial(study, self._storage.begin(number, fixed))
        params: dict[str, ParamValue] = {}
        with warnings.catch_warnings():
            # an enqueued value outside its range is taken as it is, as the user wrote it
            warnings.simplefilter("ignore")
            for name, parameter in self._space.parameters.items():
                if isinstance(parameter, FixedParameter):
                    if self._space.is_active(name, params):
                        params[name] = parameter.value
                elif self._space.is_active(name, params):
                    params[name] = trial._suggest(name, self._distributions[name])
        return {name: value for name, value in params.items() if name in self._distributions}

    def _sampler(self, seed: int) -> BaseSampler:
        if self._spec.name == "random":
            return RandomSampler(seed=seed)
        return TPESampler(
            seed=seed,
            n_startup_trials=self._spec.startup_trials,
            # conditional parameters are modelled in the groups in which they occur together
            group=any(p.when for p in self._space.parameters.values()),
        )


def complete(space: Space, params: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
    """Searched and active pinned parameters together, in the space's order."""
    out: dict[str, ParamValue] = {}
    for name, parameter in space.parameters.items():
        if name in params:
            out[name] = params[name]
        elif isinstance(parameter, FixedParameter) and space.is_active(name, out):
            out[name] = parameter.value
    return out


def trial_seed(spec: ResolvedSpec, number: int) -> int:
    """The seed of a trial's initialization, shuffling and dropout."""
    if spec.training.seed is not None:
        return spec.training.seed
    return derived_seed(spec.seed, "trial", number)


def derived_seed(*parts: object) -> int:
    """A 31-bit seed that depends on every part."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _key(params: Mapping[str, ParamValue]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, repr(value)) for name, value in params.items()))
