"""What the trials of a study say of a configuration: its value, its seconds, and how surely.

Every trial with a report teaches, in any state (`search/observations.py`); running trials without
one are fantasies at the posterior mean, so that parallel workers spread out. Two objectives have a
model each, and what counts is the hypervolume of both; of more, each surrogate sees a random
scalarization (ParEGO; Knowles, IEEE TEC 2006).

Hyperparameters follow from the trials that ended first, so many that their number is a power of
`GROWTH`: a process that has just read the history fits the same ones as a process that has been
there from the start.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError
from scipy.special import ndtri

from tuner.search.cost_model import CostModel
from tuner.search.encoding import Encoding
from tuner.search.feasibility import FeasibilityModel, fit_constraints
from tuner.search.gaussian_process import (
    NOISE,
    Array,
    Hyperparameters,
    Posterior,
    fit,
    leave_one_out,
)
from tuner.search.hypervolume_improvement import (
    log_hypervolume_improvement,
    nondominated,
    reference_of,
)
from tuner.search.observations import Observations, Observer
from tuner.search.threads import single_threaded
from tuner.search.warm_start.models import FEWEST_RANKED, PastModels, PriorMean
from tuner.study_file.seeds import derived_seed

FIT_MIN = 10  # ended trials, before which hyperparameters are their prior's mode
GROWTH = 1.25  # of the trials that hyperparameters are fitted to
FIT_POINTS, FIT_BEST = 150, 60  # trials that they are fitted to at most, the best among them
POINTS = 250  # trials that a draw is made from at most: half the best, half the newest
MAX_WEIGHT = 100.0  # of an extrapolated value's variance, in units of the noise
NEWEST = slice(-120, None)  # trials that past studies are judged by
AUGMENTATION = 0.05  # weight of the sum of the objectives beside the worst of them
CLIP = 3.0  # robust standard deviations beyond which a value is no worse


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was fitted to the trials that ended first."""

    hyperparameters: Hyperparameters
    of_each: Sequence[Hyperparameters]  # of two objectives
    cost: CostModel | None  # None: configurations cost about the same, or it is not known yet
    constraints: Mapping[str, Hyperparameters]


class Surrogate:
    """A model of the study's objective, made for one draw.

    Args:
        observer: The trials.
        encoding: Of their parameters.
        past: Models of past studies, from which it starts as far as they rank the trials right;
            None: it starts from nothing.
        rng: Draws the scalarization of several objectives.

    Attributes:
        trials: Those that it learns from.
        targets: What the model sees of their values, smaller is better [N].
        posterior: Of the targets, without running trials that have no report.
        prior_mean: What past studies say of this one; None if they have nothing to say.

    """

    def __init__(
        self,
        observer: Observer,
        encoding: Encoding,
        past: PastModels | None,
        rng: np.random.Generator,
    ) -> None:
        self._fitted = _fitted(observer, encoding)
        self._encoding = encoding
        are_feasible = observer.constraints.are_feasible
        self.trials = observer.observations(
            lambda numbers, values: _leading_and_newest(values, are_feasible(numbers))
        )
        objectives = self.trials.values.shape[1]
        importance = rng.dirichlet(np.ones(objectives)) if objectives > 1 else np.ones(1)
        self.targets = _targets(self.trials, importance)
        self._weights = _noise_weights(self.trials, importance)
        self._x = encoding.encode(self.trials.params)
        self.prior_mean = None if past is None or objectives > 1 else self._judge(past)
        self.posterior = self._condition(self._x, self.targets, self._weights)
        self._is_feasible = observer.constraints.are_feasible(self.trials.numbers)
        self._feasibility = FeasibilityModel(
            observer.constraints.of(self.trials.numbers), self._x, self._fitted.constraints
        )

    @property
    def has_feasible(self) -> bool:
        """Whether a trial keeps all constraints."""
        return bool(self._is_feasible.any())

    def two_objectives(self, rows: Array) -> "TwoObjectives":
        """Return the models of two objectives, with these parameters [M, p] as fantasies."""
        pending = self._encoding.encode(rows) if len(rows) else np.empty((0, self._x.shape[1]))
        x = np.vstack([self._x, pending])
        posteriors = []
        for k, hyperparameters in enumerate(self._fitted.of_each):
            targets = _scaled(self.trials.values[:, k])
            weights = _noise_weights(self.trials, np.eye(2)[k])
            posterior = Posterior(hyperparameters, self._x, targets, weights)
            if len(pending):
                targets = np.append(targets, posterior.mean(pending))
                weights = np.append(weights, np.ones(len(pending)))
                posterior = Posterior(hyperparameters, x, targets, weights)
            posteriors.append(posterior)
        counts = np.append(self._is_feasible, np.full(len(pending), self._is_feasible.all()))
        return TwoObjectives(posteriors, counts if counts.any() else ~counts)

    def log_feasibility(self, candidates: Array) -> Array:
        """Return the logarithm of the probability that encoded candidates are feasible [M]."""
        return self._feasibility.log_feasibility(candidates)

    def with_pending(self, rows: Array) -> tuple[Posterior, float]:
        """Return the posterior with these parameters [M, p] as fantasies, and its best mean.

        That is the best of feasible trials, if there are any.
        """
        posterior, x = self.posterior, self._x
        if len(rows):
            pending = self._encoding.encode(rows)
            x = np.vstack([x, pending])
            targets = np.append(self.targets, posterior.mean(pending))
            weights = np.append(self._weights, np.ones(len(rows)))
            posterior = self._condition(x, targets, weights)
        is_counted = np.append(
            self._is_feasible, np.full(len(x) - len(self._x), self._is_feasible.all())
        )
        return posterior, float(
            posterior.mean_of_observed()[is_counted if is_counted.any() else ...].min()
        )

    @property
    def leaders(self) -> NDArray[np.int64]:
        """The trials that it learns from, the best feasible one first."""
        return np.lexsort((self.targets, ~self._is_feasible))

    def log_cost(self, candidates: Array) -> Array:
        """Return the logarithm of encoded candidates' seconds, relative to their mean [M].

        It is 0 where configurations cost about the same.
        """
        if self._fitted.cost is None:
            return np.zeros(len(candidates))
        return self._fitted.cost.predict(self._x, self.trials.seconds, candidates)

    def value(self, target: float) -> float:
        """Return the value of the only objective that a target stands for; smaller is better.

        Targets follow ranks in part, so beyond the best trial the line through the best quarter is
        continued.
        """
        order = np.argsort(self.targets, kind="stable")
        targets, values = self.targets[order], self.trials.values[order, 0]
        quarter = max(1, len(order) // 4)
        rise = targets[quarter] - targets[0] if len(order) > 1 else 0.0
        slope = (values[quarter] - values[0]) / rise if rise > 0 else 0.0
        return float(np.interp(target, targets, values) - slope * max(targets[0] - target, 0.0))

    def _condition(self, x: Array, targets: Array, weights: Array) -> Posterior:
        return Posterior(self._fitted.hyperparameters, x, targets, weights, self.prior_mean)

    def weigh(self, past: PastModels) -> dict[str, float]:
        """Return past study → weight from 0 to 1, by how well it ranks the newest trials."""
        return past.weights(self.trials.params[NEWEST], self.targets[NEWEST], self._expected())

    def _judge(self, past: PastModels) -> PriorMean | None:
        return past.prior_mean(self._x[NEWEST], self.targets[NEWEST], self._expected())

    def _expected(self) -> Array:
        """Return what the model expects of each of the newest trials without it."""
        x, targets, weights = self._x[NEWEST], self.targets[NEWEST], self._weights[NEWEST]
        return leave_one_out(self._fitted.hyperparameters, x, targets, weights)


class TwoObjectives:
    """Models of two objectives, and the front of those that count, by the models' means."""

    def __init__(self, posteriors: Sequence[Posterior], counts: NDArray[np.bool_]) -> None:
        self._posteriors = posteriors
        means = np.column_stack([posterior.mean_of_observed() for posterior in posteriors])
        self._front = nondominated(means[counts])

    def log_gain(self, x: Array) -> Array:
        """Return the logarithm of the expected hypervolume improvement of encoded candidates."""
        predictions = [posterior.predict(x) for posterior in self._posteriors]
        mean, deviation = (np.column_stack(columns) for columns in zip(*predictions, strict=True))
        return log_hypervolume_improvement(mean, deviation, self._front, reference_of(self._front))


def past_helps(observer: Observer, encoding: Encoding, past: PastModels | None) -> bool:
    """Whether past studies rank the first trials right, so that their models can already go on."""
    if past is None or len(observer) < FEWEST_RANKED or len(observer.signs) > 1:
        return False
    with single_threaded(), suppress(LinAlgError, FloatingPointError):
        surrogate = Surrogate(observer, encoding, past, np.random.default_rng(0))
        return surrogate.prior_mean is not None
    return False


def _fitted(observer: Observer, encoding: Encoding) -> Fitted:
    ended = observer.ended()
    if ended < FIT_MIN:
        prior = Hyperparameters.prior_mode(encoding.width)
        return Fitted(prior, [prior] * len(observer.signs), None, {})
    stage = int(math.log(ended / FIT_MIN, GROWTH) + 1e-9)
    count = math.ceil(FIT_MIN * GROWTH**stage)
    if observer.fitted is None or observer.fitted[0] != count:
        trials = observer.first_ended(min(count, ended))
        objectives = trials.values.shape[1]
        importance = np.full(objectives, 1 / objectives)
        targets, weights = _targets(trials, importance), _noise_weights(trials, importance)
        chosen = np.arange(len(targets))
        if len(targets) > FIT_POINTS:
            rng = np.random.default_rng(derived_seed(len(targets), stage))
            order = np.argsort(targets, kind="stable")
            others = rng.permutation(order[FIT_BEST:])[: FIT_POINTS - FIT_BEST]
            chosen = np.sort(np.concatenate([order[:FIT_BEST], others]))
        x = encoding.encode(trials.params[chosen])
        hyperparameters = fit(x, targets[chosen], weights[chosen])
        of_each = [
            fit(x, _scaled(trials.values[:, k])[chosen], _noise_weights(trials, only)[chosen])
            for k, only in enumerate(np.eye(objectives) if objectives == 2 else ())
        ]
        # a front has expensive ends, which improvement per second would leave out
        cost = CostModel.fit(x, trials.seconds[chosen]) if objectives == 1 else None
        constraints = fit_constraints(observer.constraints.of(trials.numbers[chosen]), x)
        observer.fitted = count, Fitted(hyperparameters, of_each, cost, constraints)
    fitted: Fitted = observer.fitted[1]
    return fitted


def _leading_and_newest(values: Array, is_feasible: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Choose trials so that a draw costs the same in a long study: the best and the newest.

    Feasible trials are better than others.
    """
    if len(values) <= POINTS:
        return np.arange(len(values))
    each = POINTS // 2 // values.shape[1]
    has_enough = is_feasible.sum() >= each
    rows = np.flatnonzero(is_feasible if has_enough else ~is_feasible)
    # a partition of 100,000 values takes a fraction of the time that sorting them takes
    best = np.unique([rows[np.argpartition(v, each - 1)[:each]] for v in values[rows].T])
    if not has_enough:
        best = np.union1d(best, np.flatnonzero(is_feasible))
    return np.union1d(best, np.arange(len(values) - POINTS // 2, len(values)))


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


def _noise_weights(trials: Observations, importance: Array) -> Array:
    """Return the variance of each target's noise, in units of that of a complete trial.

    What a standard deviation of an extrapolated value means to its target follows from the targets
    of the values around it.
    """
    variances = np.zeros(len(trials.values))
    for weight, values, deviations in zip(
        importance, trials.values.T, trials.deviations.T, strict=True
    ):
        order, targets = np.argsort(values, kind="stable"), _scaled(values)
        ends = [
            np.interp(values + sign * deviations, values[order], targets[order])
            for sign in (-1.0, 1.0)
        ]
        # beside the best and the worst trial, one side has no others
        variances += (weight * np.abs(np.stack(ends) - targets).max(0)) ** 2
    return np.asarray(np.minimum(1.0 + variances / NOISE, MAX_WEIGHT))
