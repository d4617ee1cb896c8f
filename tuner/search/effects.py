"""How much a parameter explains of the differences between trials, and how much chance would.

A variance-component model: results are the sum of functions of the parameters, of pairs of them,
and noise. The function of each is a Gaussian process over ranks. A score test (Wu et al., AJHG
2011) asks of each parameter whether the results need its function beside those of all the others:
samplers that learn draw all parameters near what was good, so one without effect follows those that
have one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

# The model's own quantile: its variances are estimated, and samplers draw where luck was, so more
# parameters without effect are above than the 1 % of the model, but fewer than 5 %
# (`benchmarks/importance.py`).
LEVEL = 0.99
LENGTH = 0.25  # of the trials, by rank, over which a function of a parameter is smooth
MOST = 6  # parameters with a variance of their own
FIRST_STEPS, STEPS = 12, 10  # of fitting the variances: of all parameters, of all but one
DRAWS = 4_000  # of results without an effect
VARIANCES = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 60)])  # of an effect, to choose from
FLOOR = 1e-6  # of a variance: what is 0 could not grow again

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Effect:
    """The share of the variance of all results that a parameter explains, by itself or in pairs."""

    value: float
    baseline: float  # what luck alone exceeds in less than one of 20 studies

    @property
    def is_clear(self) -> bool:
        """Whether it is more than luck."""
        return self.value > self.baseline


def normal_scores(values: Array) -> Array:
    """Values by their ranks as draws of a normal distribution: outliers and scales say nothing."""
    quantile = np.array([NormalDist().inv_cdf((i + 0.5) / len(values)) for i in range(len(values))])
    scores: Array = np.zeros(len(values))
    order = np.argsort(values, kind="stable")
    _, inverse, counts = np.unique(values[order], return_inverse=True, return_counts=True)
    scores[order] = (np.bincount(inverse, quantile) / counts)[inverse]
    spread = float(scores.std())
    return np.asarray(scores / spread if spread > 0 else scores)


def kernel_of_numbers(values: Array) -> Array:
    """How alike trials are in a number."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2)[inverse] / len(values)
    apart = ranks[:, None] - ranks[None, :]
    return np.asarray(np.exp(-0.5 * (apart / LENGTH) ** 2))


def kernel_of_choices(values: Sequence[object]) -> Array:
    """How alike trials are in a choice: the same or not."""
    codes = {value: code for code, value in enumerate(dict.fromkeys(values))}
    at = np.array([codes[value] for value in values])
    return np.asarray(at[:, None] == at[None, :], float)


def kernel_of_some(kernel: Array, has: NDArray[np.bool_]) -> Array:
    """How alike trials are in a parameter that not all have, from the kernel of those that do.

    What counts is its value. That a trial has it at all is what the parameter explains on which it
    depends; otherwise the two would explain the same, and neither would be needed.
    """
    if has.all():
        return kernel
    mean = kernel.mean(axis=0)
    out = np.zeros((len(has), len(has)))
    out[np.ix_(has, has)] = kernel - mean[:, None] - mean[None, :] + mean.mean()
    return out


def effects(kernels: Sequence[Array], values: Array) -> list[Effect]:
    """The effect of each parameter, of which trials are alike as in `kernels`."""
    y = normal_scores(values)
    varied = [k for k, kernel in enumerate(kernels) if np.ptp(kernel) > 1e-12]
    out = [Effect(0.0, 0.0)] * len(kernels)
    if not varied or values.min() == values.max():
        return out
    with threadpool_limits(1, user_api="blas"):  # of small matrices; other threads only wait
        model = _Model([kernels[k] for k in varied], y)
        for place, k in enumerate(varied):
            out[k] = model.effect(place)
    return out


class _Model:
    """Results as the sum of functions of parameters and of pairs of them.

    The `MOST` parameters that seem to matter have variances of their own, the others share one: so
    a study of many parameters neither costs more nor leaves more to fit for each of them.
    """

    def __init__(self, kernels: Sequence[Array], y: Array) -> None:
        self._kernels = np.array(kernels)
        self._total = self._kernels.sum(axis=0)
        self._y = y
        indices = range(len(kernels))
        parts = [*(self._single(indices)), *(self._pairs(indices, self._total)), np.eye(len(y))]
        variances = _fit_variances(np.array(parts), y, FIRST_STEPS)
        matters = variances[: len(kernels)] + variances[len(kernels) : -1]
        self._most = sorted(indices, key=lambda k: -matters[k])[:MOST]

    def _single(self, which: Sequence[int]) -> list[Array]:
        return [_scaled(self._kernels[k]) for k in which]

    def _pairs(self, which: Sequence[int], total: Array) -> list[Array]:
        return [_scaled(self._kernels[k] * (total - self._kernels[k])) for k in which]

    def effect(self, k: int) -> Effect:
        """Of the parameter in that place, beside all others."""
        most = [other for other in self._most if other != k]
        rest = [other for other in range(len(self._kernels)) if other not in (k, *most)]
        without = self._total - self._kernels[k]
        parts = [*self._single(most), *self._pairs(most, without), np.eye(len(self._y))]
        if rest:
            parts.append(_scaled(self._kernels[rest].sum(axis=0)))
        others = np.array(parts)
        variances = _fit_variances(others, self._y, STEPS)
        own = self._kernels[k]
        paired = own * self._kernels[most].mean(axis=0) if most else 0.0
        projection = _projection(others, variances)
        return _effect(_scaled(own + paired), projection, self._y, float(variances.sum()))


def _scaled(kernel: Array) -> Array:
    """A kernel of functions whose variance over the trials is 1."""
    mean = kernel.mean(axis=0)
    variance = float(np.mean(np.diag(kernel)) - mean.mean())
    return kernel / variance if variance > 1e-12 else kernel * 0.0


def _projection(parts: Array, variances: Array) -> Array:
    """The inverse of the results' covariance, beside a mean that is not known."""
    covariance = np.tensordot(variances, parts, 1)
    inverse = np.linalg.inv(covariance)
    rows = inverse.sum(axis=1)
    out: Array = inverse - np.outer(rows, rows) / rows.sum()
    return out


def _fit_variances(parts: Array, y: Array, steps: int) -> Array:
    """Restricted maximum likelihood by minorization (Zhou et al., JCGS 2019)."""
    variances: Array = np.full(len(parts), 1.0 / len(parts))
    flat = parts.reshape(len(parts), -1)
    for _ in range(steps):
        projection = _projection(parts, variances)
        residual = projection @ y
        target = np.maximum(flat @ np.outer(residual, residual).ravel(), 0.0)
        has = np.maximum(flat @ projection.ravel(), 1e-300)
        variances = np.maximum(variances * np.sqrt(target / has), FLOOR)
    return variances


def _effect(kernel: Array, projection: Array, y: Array, variance: float) -> Effect:
    """The effect whose functions are alike as in `kernel`, beside others of this variance."""
    values, vectors = np.linalg.eigh(projection)
    root = vectors[:, 1:] * np.sqrt(np.maximum(values[1:], 0.0))  # the first is the mean's, 0
    weights, axes = np.linalg.eigh(root.T @ kernel @ root)
    weights = np.maximum(weights, 0.0)
    squares = (axes.T @ (root.T @ y)) ** 2
    # without an effect, the score is this ratio for squares of independent draws
    score = float(weights @ squares / squares.sum()) - float(weights.mean())
    draws = _squares(len(weights))
    scores = draws @ weights / draws.sum(axis=1) - weights.mean()
    by_luck = float(np.quantile(scores, LEVEL))
    share = _likeliest(squares, weights)
    share /= share + variance
    if score <= 0 or share <= 0:
        return Effect(0.0, float(np.clip(by_luck * len(weights) / (weights @ weights), 0.0, 1.0)))
    # a score grows with the share, so this is the share at which it would be luck's
    return Effect(share, min(share * by_luck / score, 1.0))


def _likeliest(squares: Array, weights: Array) -> float:
    """The variance of an effect for which its contrasts, given squared, are likeliest.

    The variance of each is one and its share of the effect, times a scale that is not known.
    """
    expected = 1.0 + np.outer(VARIANCES, weights)
    loss = len(weights) * np.log((squares / expected).sum(axis=1)) + np.log(expected).sum(axis=1)
    return float(VARIANCES[loss.argmin()])


@lru_cache(maxsize=8)
def _squares(count: int) -> Array:
    """Squared contrasts of results that have no effect."""
    return np.asarray(np.random.default_rng(0).standard_normal((DRAWS, count)) ** 2)
