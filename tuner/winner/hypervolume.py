"""The hypervolume of several objectives: how much the front beats a reference point by.

The reference point is the file's (`objective.reference`). What the file leaves out is the worst
value among the first `FIRST` trials that were complete, and a tenth of the range of their values
beyond it. These do not change while the study goes on, so neither does the point, and hypervolumes
of one study can be compared over time. A study that has ended with fewer trials takes all of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.trial_tables import metric_names
from tuner.trials import Study, StudyState, Trial, TrialState

FIRST = 10  # complete trials
MARGIN = 0.1  # of the range of their values
BLOCK = 256  # trials that are compared with the front at once


@dataclass(frozen=True, slots=True)
class CompleteTrials:
    """Complete trials with finite values, in the order of their ends.

    Args:
        numbers: Their numbers [N].
        values: Of all objectives [N, objectives].
        is_feasible: Whether they violate no constraint [N].

    """

    numbers: NDArray[np.int64]
    values: NDArray[np.float64]
    is_feasible: NDArray[np.bool_]

    @classmethod
    def of(cls, trials: Sequence[Trial], study: Study) -> "CompleteTrials":
        """Select them from a study's trials."""
        complete = [
            trial
            for trial in trials
            if trial.state is TrialState.COMPLETE
            and trial.values is not None
            and len(trial.values) == len(study.directions)
            and all(map(math.isfinite, trial.values))
        ]
        complete.sort(key=lambda t: (t.finished_at.timestamp() if t.finished_at else 0.0, t.number))
        return cls(
            np.array([trial.number for trial in complete], np.int64),
            np.array([t.values for t in complete]).reshape(-1, len(study.directions)),
            np.array([trial.is_feasible for trial in complete], bool),
        )

    def select(self, mask: NDArray[np.bool_]) -> "CompleteTrials":
        """Select some of them."""
        return CompleteTrials(self.numbers[mask], self.values[mask], self.is_feasible[mask])


def reference_point(trials: CompleteTrials, study: Study) -> tuple[float, ...] | None:
    """Return the reference point; None with one objective, and before it is known."""
    if len(study.directions) < 2:
        return None
    fixed = read_reference(study)
    first = trials.values[:FIRST]
    is_settled = len(first) == FIRST or (len(first) > 0 and study.state is not StudyState.ACTIVE)
    reference: list[float] = []
    names = metric_names(study)
    for name, direction, values in zip(names, study.directions, first.T, strict=True):
        if name in fixed:
            reference.append(fixed[name])
            continue
        if not is_settled:
            return None
        low, high = float(values.min()), float(values.max())
        margin = MARGIN * (high - low) or MARGIN * abs(high) or MARGIN
        reference.append(low - margin if direction == "maximize" else high + margin)
    return tuple(reference)


def read_reference(study: Study) -> dict[str, float]:
    """Read the values that the study file sets, by objective."""
    objective = (study.spec or {}).get("objective") or {}
    return {name: float(value) for name, value in (objective.get("reference") or {}).items()}


def over_time(
    trials: CompleteTrials, study: Study, reference: Sequence[float]
) -> NDArray[np.float64]:
    """Return the hypervolume after each trial [N].

    Trials that violate a constraint, or are not better than the reference point in every objective,
    add nothing.
    """
    import moocore  # here: the command line is to start at once

    sign = np.array([-1.0 if d == "maximize" else 1.0 for d in study.directions])
    bound, points = sign * np.array(reference), sign * trials.values
    counts = trials.is_feasible & (points < bound).all(1)
    front, volumes = np.empty((0, len(bound))), np.zeros(len(points))
    for start in range(0, len(points), BLOCK):
        block = np.flatnonzero(counts[start : start + BLOCK]) + start
        beaten = (front[:, None] <= points[block]).all(2).any(0)
        for row in block[~beaten].tolist():
            point = points[row]
            if (front <= point).all(1).any():
                continue
            front = np.vstack([front[~(point <= front).all(1)], point])
            volumes[row] = moocore.hypervolume(front, ref=bound)
    return np.maximum.accumulate(volumes)


def hypervolume(trials: Sequence[Trial], study: Study) -> float | None:
    """Return the hypervolume of all trials; None if there is no reference point yet."""
    complete = CompleteTrials.of(trials, study)
    reference = reference_point(complete, study)
    if reference is None:
        return None
    return float(over_time(complete, study, reference).max(initial=0.0))
