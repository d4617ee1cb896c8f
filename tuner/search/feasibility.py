"""Whether a configuration will keep the study's constraints: what trials have shown, and a model.

Each constraint has a Gaussian process over its values, of which 0 or less is feasible. The
probability that all are kept multiplies the expected improvement (Gardner et al., ICML 2014;
Gelbart, Snoek & Adams, UAI 2014); as long as no trial is feasible, it alone decides.
"""

import json
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from tuner.database import attributes
from tuner.database.readers.columns import Columns, Floats, Integers
from tuner.search.gaussian_process import Hyperparameters, Posterior, fit
from tuner.search.record import Record
from tuner.trials import TrialState

CLIP = 3.0  # typical distances from the bound beyond which a value is no worse


class ConstraintValues:
    """The constraints of complete and pruned trials, noted as trials end."""

    def __init__(self) -> None:
        self._by_number: dict[int, Mapping[str, float]] = {}
        self._worst = np.empty(0)  # of each trial's values; NaN where there is none

    def __bool__(self) -> bool:
        """Whether any trial has a constraint."""
        return bool(self._by_number)

    def load(self, finished: Columns) -> None:
        """Take note of many finished trials."""
        if self._by_number:
            for number in finished.numbers.tolist():
                self._forget(number)
        for number, stored in finished.system_attrs.items():
            self._set(int(number), finished.state, stored)

    def note(self, record: Record) -> None:
        """Take note of a trial's constraints."""
        self._forget(record.number)
        row = record.row
        if attributes.has_constraints(row.system_attrs):
            self._set(record.number, row.state, json.loads(row.system_attrs))

    def _set(self, number: int, state: str, stored: Mapping[str, str]) -> None:
        if state in (TrialState.COMPLETE, TrialState.PRUNED):
            values = attributes.decode_constraints(stored)
            if values:
                if number >= len(self._worst):
                    more = max(number + 1, 2 * len(self._worst)) - len(self._worst)
                    self._worst = np.append(self._worst, np.full(more, math.nan))
                self._by_number[number], self._worst[number] = values, max(values.values())

    def _forget(self, number: int) -> None:
        if self._by_number.pop(number, None) is not None:
            self._worst[number] = math.nan

    def are_feasible(self, numbers: Integers) -> NDArray[np.bool_]:
        """Whether each of these trials is known to keep all constraints, if there are any."""
        if not self._by_number:
            return np.ones(len(numbers), bool)
        known = numbers < len(self._worst)
        return known & (self._worst[np.where(known, numbers, 0)] <= 0)

    def of(self, numbers: Integers) -> dict[str, Floats]:
        """Return name → values of these trials; NaN where they are not known."""
        of_trials = [self._by_number.get(number, {}) for number in numbers.tolist()]
        names = sorted({name for values in of_trials for name in values})
        return {
            name: np.array([values.get(name, math.nan) for values in of_trials]) for name in names
        }


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
