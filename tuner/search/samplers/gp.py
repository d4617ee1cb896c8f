"""A Gaussian process over the values that trials have reached or would reach.

Every trial with a report teaches, in any state (`search/observations.py`); running trials without
one are fantasies at the posterior mean, so that parallel workers spread out. The next trial is the
candidate with the largest expected improvement; with many workers, every second one is the best of
a function drawn from the posterior (Thompson sampling). Of several objectives, each draw optimizes
a random scalarization (ParEGO; Knowles, IEEE TEC 2006).

The same history and number give the same draw in every process. Hyperparameters follow from the
trials that ended first, so many that their number is a power of `GROWTH`: a process that has just
read the history fits the same ones as a process that has been there from the start.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from scipy.linalg import LinAlgError
from scipy.special import ndtri
from threadpoolctl import threadpool_limits

from tuner.origin import Origin, OriginKind
from tuner.search.encoding import Encoding
from tuner.search.gaussian_process import (
    Hyperparameters,
    Posterior,
    fit,
    log_expected_improvement,
)
from tuner.search.observations import Observations, Observer
from tuner.search.samplers import Draw, qmc, too_few
from tuner.search.samplers.random import SubstituteSampler
from tuner.study_file.seeds import derived_seed

Array = NDArray[np.float64]

FIT_MIN = 10  # ended trials, before which hyperparameters are their prior's mode
GROWTH = 1.25  # of the trials that hyperparameters are fitted to
FIT_POINTS, FIT_BEST = 150, 60  # trials that they are fitted to at most, the best among them
POINTS = 250  # trials that a draw is made from at most: half the best, half the newest
RANDOM, NEIGHBOURS = 300, 180  # candidates
LEADERS = 6  # best trials whose neighbours are candidates
REFINED = 90  # further candidates: neighbours of the best of these
MANY_RUNNING = 48  # trials at once, from which every second draw is a Thompson sample
EXTRAPOLATED = 3.0  # variance that each extrapolated rung adds to an observation's noise
AUGMENTATION = 0.05  # weight of the sum of the objectives beside the worst of them
CLIP = 3.0  # robust standard deviations beyond which a value is no worse

NO_CANDIDATE = "none of the model's candidates was allowed and untried"


def make(draw: Draw) -> BaseSampler:
    """Return the sampler; Sobol points until enough trials have a value."""
    needed = max(2, draw.startup_trials)
    if len(draw.observer) < needed:
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
        draw = self._draw
        rng = np.random.default_rng(draw.seed)
        encoding = Encoding(draw.space, draw.distributions)
        with threadpool_limits(1):  # of small matrices; other threads only wait
            try:
                rows, origin = _ranked(draw.observer, encoding, draw.fixed, trial.number, rng)
            except (LinAlgError, FloatingPointError):
                rows = encoding.rows(rng.random((RANDOM, len(encoding.names))))
                rows = encoding.deactivate(_pinned(rows, draw.fixed))
                origin = replace(self.origin, reason="the model met a numerical problem")
        for row in rows:
            params = {
                name: distribution.to_external_repr(float(value))
                for value, (name, distribution) in zip(row, search_space.items(), strict=True)
                if not np.isnan(value)
            }
            if draw.is_open(params):
                self.origin = origin
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


def _ranked(
    observer: Observer,
    encoding: Encoding,
    fixed: Mapping[int, float],
    number: int,
    rng: np.random.Generator,
) -> tuple[Array, Origin]:
    """Return candidates [N, p], the most promising first, and what was learned from."""
    hyperparameters = _hyperparameters(observer, encoding)
    trials = _thinned(observer.observations())
    origin = Origin(kind=OriginKind.MODEL, sampler="gp", learned_from=len(trials.numbers))
    objectives = trials.values.shape[1]
    importance = rng.dirichlet(np.ones(objectives)) if objectives > 1 else np.ones(1)
    targets, weights = _targets(trials, importance), _noise_weights(trials)
    x = encoding.encode(trials.params)
    posterior = Posterior(hyperparameters, x, targets, weights)
    leaders = trials.params[np.argsort(targets, kind="stable")[:LEADERS]]
    candidates = [encoding.rows(rng.random((RANDOM, len(encoding.names))))]
    candidates += [
        encoding.neighbours(leader, NEIGHBOURS // len(leaders), rng) for leader in leaders
    ]
    rows = encoding.deactivate(_pinned(np.concatenate(candidates), fixed))
    if observer.running >= MANY_RUNNING and number % 2:
        order = np.argsort(posterior.sample(encoding.encode(rows), rng), kind="stable")
        return rows[order], replace(origin, thompson=True)
    pending = observer.pending()
    if len(pending):
        pending_x = encoding.encode(pending)
        x = np.vstack([x, pending_x])
        targets = np.append(targets, posterior.mean(pending_x))
        posterior = Posterior(
            hyperparameters, x, targets, np.append(weights, np.ones(len(pending)))
        )
    # what is fixed may be far from the best trials: then improve on what is possible with it
    best = float(posterior.mean(encoding.encode(rows) if fixed else x).min())
    scores = log_expected_improvement(*posterior.predict(encoding.encode(rows)), best)
    top = rows[np.argsort(-scores, kind="stable")[:3]]
    refined = np.concatenate([encoding.neighbours(row, REFINED // 3, rng) for row in top])
    refined = encoding.deactivate(_pinned(refined, fixed))
    scores = np.append(
        scores, log_expected_improvement(*posterior.predict(encoding.encode(refined)), best)
    )
    order = np.argsort(-scores, kind="stable")
    return np.concatenate([rows, refined])[order], origin


def _pinned(rows: Array, fixed: Mapping[int, float]) -> Array:
    for column, value in fixed.items():
        rows[:, column] = value
    return rows


def _hyperparameters(observer: Observer, encoding: Encoding) -> Hyperparameters:
    ended = observer.ended()
    if ended < FIT_MIN:
        return Hyperparameters.prior_mode(encoding.width)
    stage = int(math.log(ended / FIT_MIN, GROWTH) + 1e-9)
    count = math.ceil(FIT_MIN * GROWTH**stage)
    if observer.fitted is None or observer.fitted[0] != count:
        trials = observer.first_ended(min(count, ended))
        objectives = trials.values.shape[1]
        targets = _targets(trials, np.full(objectives, 1 / objectives))
        weights = _noise_weights(trials)
        chosen = np.arange(len(targets))
        if len(targets) > FIT_POINTS:
            rng = np.random.default_rng(derived_seed(len(targets), stage))
            order = np.argsort(targets, kind="stable")
            others = rng.permutation(order[FIT_BEST:])[: FIT_POINTS - FIT_BEST]
            chosen = np.sort(np.concatenate([order[:FIT_BEST], others]))
        x = encoding.encode(trials.params[chosen])
        observer.fitted = count, fit(x, targets[chosen], weights[chosen])
    return observer.fitted[1]


def _thinned(trials: Observations) -> Observations:
    """Return the best and the newest trials, so that a draw costs the same in a long study."""
    if len(trials.values) <= POINTS:
        return trials
    each = POINTS // 2 // trials.values.shape[1]
    best = np.unique(np.argsort(trials.values, axis=0, kind="stable")[:each])
    kept = np.union1d(best, np.arange(len(trials.values) - POINTS // 2, len(trials.values)))
    return Observations(
        trials.numbers[kept], trials.params[kept], trials.values[kept], trials.missing[kept]
    )


def _targets(trials: Observations, importance: Array) -> Array:
    """Return one standardized target per trial: the augmented Chebyshev norm of its objectives.

    `importance` are the weights of the objectives, whose sum is 1.
    """
    scaled = [_scaled(values) for values in trials.values.T]
    if len(scaled) == 1:
        return scaled[0]
    weighted = np.stack(scaled) * importance[:, None]
    return _standardized(weighted.max(0) + AUGMENTATION * weighted.sum(0))


def _scaled(values: Array) -> Array:
    """Return values as a model needs them: half their normal scores, half clipped and scaled.

    Ranks alone forget how much better the best are; values alone follow outliers.
    """
    in_order = np.sort(values)
    first, last = (np.searchsorted(in_order, values, side) for side in ("left", "right"))
    ranks = (first + last) / 2  # equal values share a rank
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    scale = 1.5 * (high - low) / 1.349
    with np.errstate(over="ignore", invalid="ignore"):
        robust = np.clip((values - middle) / scale, -CLIP, CLIP) if scale > 0 else 0.0 * ranks
    return _standardized(0.5 * ndtri(ranks / len(values)) + 0.5 * np.nan_to_num(robust))


def _standardized(values: Array) -> Array:
    return np.asarray((values - values.mean()) / (values.std() + 1e-9))


def _noise_weights(trials: Observations) -> Array:
    return np.asarray(1.0 + EXTRAPOLATED * trials.missing, np.float64)
