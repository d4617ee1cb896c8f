"""How surely a prediction ranks results right: Kendall's tau over resampled results."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 64


class Ranks:
    """The ranks of some results."""

    def __init__(self, values: Array) -> None:
        """`values` [N] are the results; the resamples follow from their number."""
        count = len(values)
        rng = np.random.default_rng(count)
        shares = np.full(count, 1 / count)
        self._resamples = rng.multinomial(count, shares, RESAMPLES).astype(np.float64)
        self._order = np.sign(values[:, None] - values)
        self._pairs = self._sum(np.abs(self._order))

    def agreement(self, prediction: Array) -> Array:
        """Return tau between a prediction [N] and the results, in each resample.

        1: all pairs are ranked right, 0: no better than chance, -1: all wrong.
        """
        order = np.sign(prediction[:, None] - prediction)
        return self._sum(order * self._order) / np.maximum(self._pairs, 1.0)

    def _sum(self, pairs: Array) -> Array:
        return np.asarray(((self._resamples @ pairs) * self._resamples).sum(1))
