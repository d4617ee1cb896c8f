"""What TPE is shown of a long study with several objectives."""

import numpy as np

from tuner.database.readers.columns import NO_REPORTS, Columns
from tuner.search import sample
from tuner.search.history import History
from tuner.search.leading_fronts import KEPT, LeadingFronts
from tuner.search.sampler import Proposer
from tuner.study_file.parameters import FloatParameter
from tuner.study_file.space import Space
from tuner.study_file.study import Sampler
from tuner.trials import TrialState


def test_better_fronts_come_first_and_infeasible_trials_last() -> None:
    fronts = LeadingFronts([1.0, -1.0])  # minimize, maximize
    values = np.array([[1.0, 5.0], [0.0, 1.0], [2.0, 4.0], [0.5, 9.0], [3.0, np.nan]])
    fronts.extend([10, 11, 12, 13, 14], np.array([0.0, 0.0, 0.0, 2.0, 0.0]), values)
    assert fronts.best(9) == [10, 11, 12, 14, 13]
    assert LeadingFronts([1.0, 1.0]).best(3) == []


def test_the_front_is_never_lost_however_many_trials_come() -> None:
    rng = np.random.default_rng(0)
    fronts = LeadingFronts([1.0, 1.0])
    values = 1 + rng.random((5_000, 2))
    values[7], values[3_000] = (0.0, 3.0), (0.5, 0.5)
    for start in range(0, 5_000, 100):
        part = slice(start, start + 100)
        fronts.extend(range(start, start + 100), np.zeros(100), values[part])
    assert fronts.best(2) == [7, 3_000]
    assert len(fronts.best(10_000)) <= 2 * KEPT


def test_a_sample_of_a_long_study_is_bounded_and_has_the_front() -> None:
    space = Space(parameters={"x": FloatParameter(low=0, high=1)})
    proposer = Proposer(space, Sampler(name="tpe"), ["minimize", "minimize"], 0, History(1))
    count = 20_000
    numbers, rng = np.arange(count), np.random.default_rng(0)
    values = 1 + rng.random((count, 2))
    values[5] = (0.0, 0.0)
    columns = Columns(
        *(TrialState.COMPLETE, False, 1, numbers + 1, numbers, rng.random((count, 1)), values),
        *(numbers, numbers, {}, {}),
    )
    proposer._sample.load(columns, proposer.distributions({"x": 0.5}), NO_REPORTS)
    shown = proposer._sample.numbers()
    assert 5 in shown
    assert len(shown) <= sample.NEWEST + KEPT
