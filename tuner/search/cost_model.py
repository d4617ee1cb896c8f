"""What a configuration costs: the seconds of one of its epochs, learned from trials that ended.

Where epochs differ much, as between networks of 8 and of 1,024 units, an expensive configuration
has to promise more than a cheap one to be tried first (expected improvement per second; Snoek,
Larochelle & Adams, NeurIPS 2012).
"""

from dataclasses import dataclass

import numpy as np

from tuner.search.gaussian_process import Array, Hyperparameters, Posterior, fit

SPREAD = 3.0  # ratio of slow to fast trials, below which costs are taken as equal
TAILS = (0.1, 0.9)  # quantiles that are compared: single slow trials are no trend
MIN_TRIALS = 5
POINTS = 120  # newest trials that it predicts from
FIT_POINTS = 100


@dataclass(frozen=True, slots=True)
class CostModel:
    """A Gaussian process over the logarithm of seconds."""

    hyperparameters: Hyperparameters
    middle: float  # of the logarithms
    scale: float

    @classmethod
    def fit(cls, x: Array, seconds: Array) -> "CostModel | None":
        """Fit to trials that ended first.

        Args:
            x: Encoded parameters [N, d].
            seconds: Seconds of an epoch [N]; NaN where not known.

        Returns:
            None if the seconds of too few trials are known, or if they hardly differ.

        """
        x, logs = _known(x, seconds)
        if len(logs) < MIN_TRIALS:
            return None
        low, high = np.quantile(logs, TAILS)
        if high - low < np.log(SPREAD):
            return None
        middle, scale = float(logs.mean()), float(logs.std())
        x, logs = x[-FIT_POINTS:], logs[-FIT_POINTS:]
        return cls(fit(x, (logs - middle) / scale, np.ones(len(x))), middle, scale)

    def predict(self, x: Array, seconds: Array, candidates: Array) -> Array:
        """Predict the logarithm of a candidate's seconds, relative to the mean [M].

        Args:
            x: Encoded parameters of the known trials [N, d].
            seconds: Their seconds [N]; NaN where not known.
            candidates: Encoded parameters [M, d].

        """
        x, logs = _known(x, seconds)
        x, logs = x[-POINTS:], logs[-POINTS:]
        if not len(logs):
            return np.zeros(len(candidates))
        posterior = Posterior(
            self.hyperparameters, x, (logs - self.middle) / self.scale, np.ones(len(x))
        )
        return self.scale * posterior.mean(candidates)


def _known(x: Array, seconds: Array) -> tuple[Array, Array]:
    is_known = np.isfinite(seconds) & (seconds > 0)
    return x[is_known], np.log(seconds[is_known])
