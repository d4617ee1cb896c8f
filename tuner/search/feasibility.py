"""A model of whether a configuration will keep the study's constraints.

Each constraint has a Gaussian process over its values, of which 0 or less is feasible. The
probability that all are kept multiplies the expected improvement (Gardner et al., ICML 2014;
Gelbart, Snoek & Adams, UAI 2014); as long as no trial is feasible, it alone decides.
"""

from collections.abc import Mapping

import numpy as np
from scipy.special import log_ndtr

from tuner.database.readers.columns import Floats, Integers
from tuner.search.gaussian_process import Hyperparameters, Posterior, fit

CLIP = 3.0  # typical distances from the bound beyond which a value is no worse


class FeasibilityModel:
    """A model of all constraints, made for one draw."""

    def __init__(
        self,
        columns: Mapping[str, Floats],
        x: Floats,
        fitted: Mapping[str, Hyperparameters],
    ) -> None:
        """Learn from trials.

        Args:
            columns: Name → values of a constraint [N].
            x: The trials' encoded parameters [N, d].
            fitted: What `fit_constraints` has returned.

        """
        self._bounds: list[float] = []
        self._posteriors: list[Posterior] = []
        for name, column in columns.items():
            if (learned := _learn(column)) is not None:
                known, targets, bound = learned
                hyperparameters = fitted.get(name) or Hyperparameters.prior_mode(x.shape[1])
                noise = np.ones(len(known))
                self._posteriors.append(Posterior(hyperparameters, x[known], targets, noise))
                self._bounds.append(bound)

    def log_feasibility(self, candidates: Floats) -> Floats:
        """Return the logarithm of the probability that encoded candidates are feasible [M]."""
        total = np.zeros(len(candidates))
        for bound, posterior in zip(self._bounds, self._posteriors, strict=True):
            mean, deviation = posterior.predict(candidates)
            total += log_ndtr((bound - mean) / deviation)
        return total


def fit_constraints(columns: Mapping[str, Floats], x: Floats) -> dict[str, Hyperparameters]:
    """Fit each constraint; the arguments are as those of `FeasibilityModel`."""
    fitted: dict[str, Hyperparameters] = {}
    for name, column in columns.items():
        if (learned := _learn(column)) is not None:
            known, targets, _ = learned
            fitted[name] = fit(x[known], targets, np.ones(len(known)))
    return fitted


def _learn(column: Floats) -> tuple[Integers, Floats, float] | None:
    """Return the trials whose value is known, standardized values, and 0 on their scale.

    None if there is nothing to learn: no two values that differ.
    """
    known = np.flatnonzero(~np.isnan(column))
    distances = np.abs(column[known])
    distances = distances[np.isfinite(distances) & (distances > 0)]
    scale = float(np.median(distances)) if len(distances) else 1.0
    clipped = np.clip(column[known] / scale, -CLIP, CLIP)
    mean, deviation = (float(clipped.mean()), float(clipped.std())) if len(known) else (0.0, 0.0)
    if deviation < 1e-6:
        return None
    return known, (clipped - mean) / deviation, -mean / deviation
