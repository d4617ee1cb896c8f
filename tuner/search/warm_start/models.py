"""Models of past studies, weighted by how well they rank the trials of this one.

A past model that ranks pairs of this study's trials as they turned out counts; one that does no
better than chance, or worse, does not. So the weights vanish where an earlier study misleads, and
fade where this study's own trials say more (after RGPE; Feurer, Letham & Bakshy, 2018). What the
weighted models expect is the mean that this study's own model starts from, and departs from where
its trials differ.
"""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError
from scipy.special import ndtri

from tuner.search.encoding import Encoding
from tuner.search.gaussian_process import NOISE, Posterior, fit
from tuner.search.ranks import RESAMPLES, Ranks
from tuner.search.threads import single_threaded
from tuner.search.warm_start.mapping import Mapped, map_trials
from tuner.search.warm_start.past_study import PastStudy, WarmStart
from tuner.study_file.space import Space

Array = NDArray[np.float64]

FEWEST = 5  # past trials that a model is fitted to
POINTS = 100  # past trials that a model is fitted to at most, half of them the best
MOVED_WEIGHT = 10.0  # variance of a trial that is not quite the same here, in units of the noise
MAX_WEIGHT = 100.0  # of an extrapolated value's variance, in units of the noise
FEWEST_RANKED = 4  # trials of this study, before which no past model has a weight
DOUBT = 0.2  # quantile of the resampled agreement that is a model's weight
USED = 4  # models with the largest weights that count, so that a draw stays quick
SHRINKAGE = 4.0  # trials that speak for no relation between past and present values
LEAST_SCALE = 0.3  # of what a past model leaves open, in standard deviations of this study


class PastModel:
    """A Gaussian process over the trials of a past study, in the space of another."""

    def __init__(self, past: PastStudy, mapped: Mapped, encoding: Encoding) -> None:
        """LinAlgError if no model can be fitted."""
        self.name = past.name
        # what the past study did not vary, its model knows nothing of
        self._inputs = ~encoding.inputs_of(mapped.new)
        chosen = _chosen(past.values)
        rows = encoding.internal([mapped.params[place] for place in chosen.tolist()])
        x = encoding.encode(rows)[:, self._inputs]
        y = _normal_scores(past.values[chosen])
        weights = _noise_weights(past.values[chosen], past.deviations[chosen])
        weights += np.where(mapped.moved[chosen], MOVED_WEIGHT, 0.0)
        self._posterior = Posterior(fit(x, y, weights), x, y, weights)

    def mean(self, x: Array) -> Array:
        """Return what is expected at encoded configurations [N, width]; smaller is better."""
        return self._posterior.mean(x[:, self._inputs])

    def sample(self, x: Array, draws: int, rng: np.random.Generator) -> Array:
        """Draw functions of the past study at encoded configurations [N, width]: [draws, N]."""
        x = x[:, self._inputs]
        return np.stack([self._posterior.sample(x, rng) for _ in range(draws)])


@dataclass(frozen=True, slots=True)
class PriorMean:
    """What past models expect of this study, in units of its standardized values.

    Args:
        models: The models that count, with their weights; these add up to 1.
        slope: How much a difference between past values is worth here.
        intercept: What is expected where the past models expect nothing in particular.
        scale: Standard deviation of what they leave open.

    """

    models: tuple[tuple[PastModel, float], ...]
    slope: float
    intercept: float
    scale: float

    def __call__(self, x: Array) -> Array:
        """Return the mean [N] at encoded configurations [N, width]."""
        total = sum((weight * model.mean(x) for model, weight in self.models), np.zeros(len(x)))
        return self.intercept + self.slope * total


class PastModels:
    """The models of all past studies that one study learns from."""

    def __init__(self, warm_start: WarmStart, space: Space, encoding: Encoding) -> None:
        """Fitted at the first use, and once per process."""
        self._warm_start = warm_start
        self._space = space
        self._encoding = encoding
        self._fitted: list[PastModel] | None = None

    @property
    def models(self) -> list[PastModel]:
        """The models; without past studies of too few or useless trials."""
        if self._fitted is None:
            self._fitted = []
            for past in self._warm_start.studies:
                mapped = map_trials(past, self._space)
                if len(past.numbers) < FEWEST or not mapped.shared:
                    continue
                with suppress(LinAlgError, FloatingPointError), single_threaded():
                    self._fitted.append(PastModel(past, mapped, self._encoding))
        return self._fitted

    def weights(self, rows: Array, values: Array, own: Array | None = None) -> dict[str, float]:
        """Return past study → weight from 0 to 1, given this study's trials.

        Args:
            rows: Their parameters [N, p], in Optuna's internal representation.
            values: What they have reached [N]; smaller is better.
            own: What this study's own model expects of each without it [N]; None: it has none.

        """
        weights = _weights(self._predictions(self._encoding.encode(rows)), values, own).tolist()
        return dict(zip((model.name for model in self.models), weights, strict=True))

    def prior_mean(self, x: Array, values: Array, own: Array) -> PriorMean | None:
        """Return what past studies say of this one; None if they have nothing to say.

        Args:
            x: This study's trials, encoded [N, width].
            values: What they have reached, standardized [N]; smaller is better.
            own: What this study's own model expects of each without it [N].

        """
        if len(values) < FEWEST_RANKED:
            return None
        predictions = self._predictions(x)
        weights = _weights(predictions, values, own)
        used = [place for place in np.argsort(-weights, kind="stable")[:USED] if weights[place] > 0]
        if not used:
            return None
        shares = weights[used] / weights[used].sum()
        expected = shares @ predictions[used]
        (agreement,) = _weights(expected[None], values, own)
        centered, target = expected - expected.mean(), values - values.mean()
        spread = float(centered @ centered)
        covariance = float(centered @ target)
        if agreement <= 0 or covariance <= 0 or spread <= 0:
            return None
        slope = covariance / (spread * (1 + SHRINKAGE / len(values)))
        slope *= min(1.0, 2 * float(agreement))
        intercept = float(values.mean() - slope * expected.mean())
        open_part = values - intercept - slope * expected
        scale = float(np.clip(open_part.std(), LEAST_SCALE, 1.0))
        models = tuple(
            (self.models[place], float(share)) for place, share in zip(used, shares, strict=True)
        )
        return PriorMean(models, slope, intercept, scale)

    def _predictions(self, x: Array) -> Array:
        if not self.models:
            return np.empty((0, len(x)))
        return np.stack([model.mean(x) for model in self.models])


def _chosen(values: Array) -> NDArray[np.int64]:
    """Choose the trials of a model: half the best, half others, evenly spaced by value."""
    if len(values) <= POINTS:
        return np.arange(len(values))
    order = np.argsort(values, kind="stable")
    half = POINTS // 2
    spread = np.linspace(half, len(order) - 1, POINTS - half).astype(int)
    return np.sort(np.concatenate([order[:half], order[spread]]))


def _normal_scores(values: Array) -> Array:
    """Return standardized ranks: studies on other data agree in ranks, if in anything."""
    in_order = np.sort(values)
    first, last = (np.searchsorted(in_order, values, side) for side in ("left", "right"))
    scores = ndtri((first + last) / (2 * len(values)))
    return np.asarray((scores - scores.mean()) / (scores.std() + 1e-9))


def _noise_weights(values: Array, deviations: Array) -> Array:
    """Return how much noisier than a complete trial each is [N]: extrapolated values are unsure."""
    low, high = np.quantile(values, [0.25, 0.75])
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        variance = np.nan_to_num((1.349 * deviations / (high - low)) ** 2, nan=0.0)
    return np.asarray(1.0 + np.minimum(variance / NOISE, MAX_WEIGHT))


def _weights(predictions: Array, values: Array, own: Array | None) -> Array:
    """Return how surely each prediction [K, N] ranks the values [N] better than others do [K].

    That is a low quantile of Kendall's tau over resampled trials, where it is positive, times the
    share of the resamples in which it is above that of this study's own model.
    """
    weights = np.zeros(len(predictions))
    if not len(predictions) or len(values) < FEWEST_RANKED:
        return weights
    ranks = Ranks(values)
    of_own = np.full(RESAMPLES, -1.0) if own is None else ranks.agreement(own)
    for place, prediction in enumerate(predictions):
        of_past = ranks.agreement(prediction)
        sure = max(float(np.quantile(of_past, DOUBT)), 0.0)
        weights[place] = sure * float((of_past > of_own).mean())
    return weights
