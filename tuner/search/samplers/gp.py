"""A Gaussian process over the values that trials have reached or would reach.

The next trial is the candidate with the largest expected improvement per second
(`search/surrogate.py` is the model); with many workers, every second one is the best of a function
drawn from the posterior (Thompson sampling). The same history and number give the same draw in
every process.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from scipy.linalg import LinAlgError

from tuner.origin import NUMERICAL, Origin, OriginKind
from tuner.search.gaussian_process import log_expected_improvement
from tuner.search.samplers import Draw, qmc, too_few
from tuner.search.samplers.random import SubstituteSampler
from tuner.search.surrogate import Surrogate, past_helps
from tuner.search.threads import single_threaded
from tuner.study_file.sampler_options import GpOptions

Array = NDArray[np.float64]
Explain = Callable[[Array], Origin]  # of a candidate that was chosen

RANDOM, NEIGHBOURS = 300, 180  # candidates
LEADERS = 6  # best trials whose neighbours are candidates
REFINED = 90  # further candidates: neighbours of the best of these
CELLS = 600  # candidates of a small space, all of them untried
MANY_RUNNING = 48  # trials at once, from which every second draw is a Thompson sample
COST_WEIGHT = 0.8  # of the logarithm of seconds beside that of the expected improvement

NO_CANDIDATE = "none of the model's candidates was allowed and untried"


def make(draw: Draw) -> BaseSampler:
    """Return the sampler; Sobol points until enough trials have a value."""
    needed = max(2, draw.startup_trials)
    if len(draw.observer) < needed and not past_helps(draw.observer, draw.encoding, draw.past):
        reason = too_few(len(draw.observer), needed)
        return qmc.make(draw, "gp", reason) or SubstituteSampler("gp", reason, draw.seed)
    return GaussianProcessSampler(draw)


class GaussianProcessSampler(BaseSampler):
    """Draws one trial."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._fallback = RandomSampler(seed=draw.seed)
        self.origin = Origin(kind=OriginKind.RANDOM, sampler="gp", reason=NO_CANDIDATE)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return all parameters: they are drawn together."""
        return dict(self._draw.distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the most promising candidate that is neither forbidden nor tried."""
        candidates = _Candidates(self._draw)
        with single_threaded():
            try:
                rows, explain = _ranked(self._draw, candidates, trial.number)
            except (LinAlgError, FloatingPointError):
                fallback = replace(self.origin, reason=NUMERICAL)
                rows, explain = candidates.anywhere(), lambda _: fallback
        for row in rows:
            params = {
                name: distribution.to_external_repr(float(value))
                for value, (name, distribution) in zip(row, search_space.items(), strict=True)
                if not np.isnan(value)
            }
            if self._draw.is_open(params):
                self.origin = explain(row)
                return params
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a random value: no candidate is left."""
        return self._fallback.sample_independent(study, trial, param_name, param_distribution)


class _Candidates:
    """Configurations to choose from, as rows [N, p] in Optuna's internal representation."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._encoding = draw.encoding
        self.rng = np.random.default_rng(draw.seed)

    def anywhere(self) -> Array:
        """Draw candidates without a model; of a small space, what is left of it."""
        untried = self._draw.untried
        if untried:
            few = len(untried) <= CELLS
            chosen = range(len(untried)) if few else self.rng.permutation(len(untried))[:CELLS]
            return self._encoding.internal([untried[k] for k in chosen])
        return self._possible(
            self._encoding.rows(self.rng.random((RANDOM, len(self._encoding.names))))
        )

    def near(self, leaders: Array, count: int) -> Array:
        """Draw `count` neighbours of some rows; none in a small space, which is listed whole."""
        if self._draw.untried:
            return leaders[:0]
        each = count // max(len(leaders), 1)
        return self._possible(
            np.concatenate([self._encoding.neighbours(row, each, self.rng) for row in leaders])
        )

    def _possible(self, rows: Array) -> Array:
        for column, value in self._draw.fixed.items():
            rows[:, column] = value
        return self._encoding.deactivate(rows)


def _ranked(draw: Draw, candidates: _Candidates, number: int) -> tuple[Array, Explain]:
    """Return candidates, the most promising first, and what explains the choice of one."""
    assert isinstance(draw.options, GpOptions)
    cost_weight = COST_WEIGHT if draw.options.cost_aware else 0.0
    surrogate = Surrogate(draw.observer, draw.encoding, draw.past, candidates.rng)
    leaders = surrogate.trials.params[surrogate.leaders[:LEADERS]]
    rows = np.concatenate([candidates.anywhere(), candidates.near(leaders, NEIGHBOURS)])
    posterior, best = surrogate.with_pending(draw.observer.pending())
    if draw.fixed:  # which may be far from the best trials: improve on what is possible with it
        best = float(posterior.mean(draw.encoding.encode(rows)).min())
    objectives = len(draw.observer.signs)
    both = surrogate.two_objectives(draw.observer.pending()) if objectives == 2 else None
    believed = draw.priors.after(surrogate.trials.params, surrogate.targets)
    is_thompson = draw.observer.running >= MANY_RUNNING and number % 2 == 1

    def explain(row: Array) -> Origin:
        origin = Origin(
            kind=OriginKind.MODEL,
            sampler="gp",
            learned_from=len(surrogate.trials.numbers),
            thompson=is_thompson,
        )
        if len(draw.observer.signs) > 1 or not surrogate.has_feasible:
            return origin  # the model has seen a mixture of objectives, or sought what is feasible
        mean, deviation = posterior.predict(draw.encoding.encode(row[None]))
        gain = float(np.exp(log_expected_improvement(mean, deviation, best)[0]))
        return replace(
            origin,
            predicted=float(draw.observer.signs[0]) * surrogate.value(float(mean[0])),
            gain=surrogate.value(best) - surrogate.value(best - gain),
        )

    if is_thompson:
        x = draw.encoding.encode(rows)
        log_weights = believed(rows) - cost_weight * surrogate.log_cost(x)
        order = _thompson(surrogate, x, log_weights, candidates.rng)
        return rows[order], explain

    def score(rows: Array) -> Array:
        x = draw.encoding.encode(rows)
        feasibility = surrogate.log_feasibility(x)
        if not surrogate.has_feasible:  # then the first thing to find is a feasible trial
            return feasibility
        if both is not None:
            gain = both.log_gain(x)
        else:
            gain = log_expected_improvement(*posterior.predict(x), best)
        gain += feasibility + believed(rows)
        return gain - cost_weight * surrogate.log_cost(x)

    scores = score(rows)
    top = rows[np.argsort(-scores, kind="stable")[:3]]
    refined = candidates.near(top, REFINED)
    rows, scores = np.concatenate([rows, refined]), np.append(scores, score(refined))
    return rows[np.argsort(-scores, kind="stable")], explain


def _thompson(
    surrogate: Surrogate, x: Array, log_weights: Array, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Order candidates [N, d] by their weighted improvement in a function that is drawn."""
    drawn = surrogate.posterior.sample(x, rng)
    best = surrogate.with_pending(np.empty((0, 0)))[1]
    gain = np.log(np.maximum(best - drawn, 1e-9)) + log_weights
    gain = surrogate.log_feasibility(x) + (gain if surrogate.has_feasible else 0.0)
    return np.lexsort((drawn, -gain))
