"""What an unfinished trial would reach, by the curves of the study's other trials."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.database.readers.columns import Reports
from tuner.search.learning_curves import LearningCurves
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Study, Trial, TrialState
from tuner.winner.confirmations import within_range

DECILE = 1.2816  # standard deviations from the middle to either end of an 80 % interval
MIN_COMPLETE = 2  # trials, without which no curve is known


@dataclass(frozen=True, slots=True)
class Forecast:
    """The final value of a trial as its curve and those of others let expect it.

    Args:
        value: The expected value.
        low: The lower end of its 80 % interval.
        high: The upper end.
        complete: The number of complete trials.

    """

    value: float
    low: float
    high: float
    complete: int


def forecast(trial: Trial, trials: Sequence[Trial], study: Study) -> Forecast | None:
    """Forecast the first objective of a trial of the study.

    None if it is complete, has reported nothing, or too few other trials are complete.
    """
    ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.PAUSED)
    own = [other for other in trials if other.state in ended and other.reports]
    complete = [other for other in own if other.state is TrialState.COMPLETE and other.values]
    place = next((row for row, other in enumerate(own) if other.number == trial.number), None)
    if place is None or trial.state is TrialState.COMPLETE or len(complete) < MIN_COMPLETE:
        return None
    sign = 1.0 if study.direction == "minimize" else -1.0
    by_level = study.spec is not None and bool(ResolvedSpec.from_json(study.spec).fidelities)
    curves = LearningCurves(by_level=by_level)
    curves.reserve(len(own))
    reports = [(row, report) for row, other in enumerate(own) for report in other.reports]
    finals = [
        sign * other.values[0] if other.state is TrialState.COMPLETE and other.values else np.nan
        for other in own
    ]
    numbers = np.arange(len(own))
    curves.set(
        numbers,
        Reports(
            np.array([row for row, _ in reports]),
            np.array([report.step for _, report in reports]),
            sign * np.array([report.value for _, report in reports]),
        ),
        np.array(finals),
    )
    expected = curves.extrapolate(numbers)
    value, reach = sign * expected.values[place], DECILE * expected.deviations[place]
    interval = (value - reach, value + reach)
    values = [report.value for _, report in reports]
    low, high = within_range(interval, study.metric, values)
    return Forecast(min(max(value, low), high), low, high, len(complete))
