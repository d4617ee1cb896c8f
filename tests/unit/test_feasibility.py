"""What samplers learn of constraints, and of several objectives of trials that were pruned."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from tuner.database import attributes
from tuner.database.readers.columns import Columns, Reports
from tuner.search.constraint_values import ConstraintValues
from tuner.search.feasibility import FeasibilityModel, fit_constraints
from tuner.search.history import History
from tuner.search.observations import Observer
from tuner.search.record import new_row
from tuner.search.sampler import Proposer
from tuner.study_file.parameters import FloatParameter
from tuner.study_file.space import Space
from tuner.study_file.study import Sampler
from tuner.trials import Direction, TrialState

XY = Space(parameters={"x": FloatParameter(low=-5, high=5), "y": FloatParameter(low=-5, high=5)})
START = datetime(2026, 1, 1, tzinfo=UTC)


class Study:
    """A study in one process."""

    def __init__(self, sampler: str, directions: Sequence[Direction] = ("minimize",)) -> None:
        self.history = History(1)
        spec = Sampler.model_validate({"name": sampler, "startup_trials": 8})
        self.proposer = Proposer(XY, spec, directions, 0, self.history)
        self.trials: list[tuple[Mapping[str, Any], float]] = []  # parameters, worst constraint

    @property
    def observer(self) -> Observer:
        return self.proposer._observer

    def add(
        self,
        params: Mapping[str, Any],
        values: Sequence[float] | None,
        constraints: Mapping[str, float],
        state: TrialState = TrialState.COMPLETE,
        reports: Sequence[Sequence[float]] = (),
    ) -> None:
        """`reports` are one value per objective."""
        space, number = self.proposer.distributions(params), len(self.trials)
        internal = [space[name].to_internal_repr(params[name]) for name in space]
        row = new_row(number + 1, number, state, internal, values=values)._replace(
            steps=list(range(1, len(reports) + 1)),
            report_values=[first for first, *_ in reports],
            measured=[others for _, *others in reports],
            started_at=START,
            finished_at=None if state is TrialState.RUNNING else START + timedelta(seconds=number),
            system_attrs=attributes.encode_constraints(constraints),
        )
        self.history.add(row, space)
        self.trials.append((params, max(constraints.values(), default=0.0)))

    def run(self, trials: int, constraint: Callable[[float, float], float]) -> None:
        """Minimize the distance from the origin."""
        for _ in range(trials):
            params = self.proposer.propose(len(self.trials)).params
            x, y = float(str(params["x"])), float(str(params["y"]))
            self.add(params, [x * x + y * y], {"c": constraint(x, y)})


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_the_best_feasible_trial_is_found_where_the_best_is_not(sampler: str) -> None:
    study = Study(sampler)
    study.run(45, lambda x, y: 3.0 - x)  # x must be at least 3; the optimum is at (3, 0)
    feasible = [params for params, worst in study.trials if worst <= 0]
    best = min(float(p["x"]) ** 2 + float(p["y"]) ** 2 for p in feasible)
    assert best < (9.5 if sampler == "gp" else 12.0)
    late = [worst <= 0 for _, worst in study.trials[20:]]
    assert sum(late) >= 8  # a fifth of the space


def test_generations_move_to_what_is_feasible() -> None:
    study = Study("nsga2")
    study.run(160, lambda x, y: 3.0 - x)
    feasible = [worst <= 0 for _, worst in study.trials]
    assert sum(feasible[100:]) >= 1.5 * sum(feasible[:60])


def test_without_a_feasible_trial_the_model_looks_for_one_first() -> None:
    study = Study("gp")
    study.run(40, lambda x, y: (x - 4.0) ** 2 + (y - 4.0) ** 2 - 0.25)  # 0.8 % of the space
    assert any(worst <= 0 for _, worst in study.trials)


def test_the_probability_of_feasibility_is_high_where_trials_were_feasible() -> None:
    x = np.linspace(0, 1, 21)[:, None]
    columns = {"c": x[:, 0] - 0.5, "constant": np.full(21, -1.0)}
    model = FeasibilityModel(columns, x, fit_constraints(columns, x))
    probability = np.exp(model.log_feasibility(np.array([[0.1], [0.5], [0.9]])))
    assert probability[0] > 0.99
    assert 0.2 < probability[1] < 0.8
    assert probability[2] < 0.01


def test_values_that_are_not_known_or_infinite_are_no_obstacle() -> None:
    x = np.linspace(0, 1, 9)[:, None]
    columns = {"c": np.array([np.nan, -1, -1, np.inf, 1e300, -1e300, 2, 3, np.nan])}
    model = FeasibilityModel(columns, x, fit_constraints(columns, x))
    assert np.isfinite(model.log_feasibility(x)).all()
    nothing = FeasibilityModel({"c": np.full(9, np.nan)}, x, {})
    assert nothing.log_feasibility(x).tolist() == [0.0] * 9


def test_constraints_are_noted_as_trials_come_and_in_columns() -> None:
    study = Study("gp")
    study.add({"x": 0.0, "y": 0.0}, [1.0], {"a": 0.5, "b": -1.0})
    study.add({"x": 0.0, "y": 1.0}, [1.0], {"a": -0.5})
    study.add({"x": 0.0, "y": 2.0}, [1.0], {})
    values = study.observer.constraints
    assert values.are_feasible(np.arange(5)).tolist() == [False, True, False, False, False]
    of = values.of(np.arange(3))
    np.testing.assert_equal(of, {"a": [0.5, -0.5, np.nan], "b": [-1.0, np.nan, np.nan]})

    loaded = ConstraintValues()
    assert loaded.are_feasible(np.arange(3)).all()  # a study without constraints
    numbers, none = np.array([4, 7]), np.empty((2, 0))
    stored = {"7": {"constraints:a": "0.25"}, "4": {"constraints:a": "-0.25"}}
    loaded.load(
        Columns(
            *(TrialState.COMPLETE, False, 1, numbers, numbers, none, none),
            *(numbers, numbers, {}, stored),
        )
    )
    assert loaded.are_feasible(np.array([4, 7, 9])).tolist() == [True, False, False]


def test_pruned_trials_teach_all_objectives() -> None:
    study = Study("gp", ("maximize", "minimize"))
    for number, (accuracy, size) in enumerate(((0.8, 100.0), (0.6, 200.0), (0.7, 50.0))):
        # accuracy rises by 0.1 from each rung to the next, the second objective doubles
        reports = [(accuracy - 0.1, size / 2), (accuracy - 0.1, size / 2), (accuracy, size)]
        study.add({"x": 0.0, "y": float(number)}, [accuracy, size], {}, reports=reports)
    study.add({"x": 1.0, "y": 0.0}, None, {}, TrialState.PRUNED, [(0.5, 10.0)])
    study.add({"x": 1.0, "y": 1.0}, None, {}, TrialState.RUNNING, [(0.4, 30.0)])
    study.add({"x": 1.0, "y": 2.0}, None, {}, TrialState.RUNNING, [])
    study.add({"x": 1.0, "y": 3.0}, None, {}, TrialState.PRUNED, [(0.4, np.nan)])  # not reported

    observations = study.observer.observations()

    assert observations.numbers.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(
        observations.values, [[-0.8, 100], [-0.6, 200], [-0.7, 50], [-0.6, 20], [-0.5, 60]]
    )
    assert (observations.deviations > 0).any(1).tolist() == [False, False, False, True, True]


def test_what_was_read_in_columns_teaches_as_what_came_by_rows() -> None:
    rows = Study("gp", ("maximize", "minimize"))
    for number in range(4):
        reports = [(0.1 * number, 5.0 + number), (0.2 * number, 6.0 + number)]
        rows.add({"x": 0.0, "y": float(number)}, None, {}, TrialState.PRUNED, reports)
    columns = Study("gp", ("maximize", "minimize"))
    numbers = np.arange(4)
    space = columns.proposer.distributions({"x": 0.0, "y": 0.0})
    reported = np.array([(0.1 * n, 5.0 + n, 0.2 * n, 6.0 + n) for n in range(4)]).reshape(8, 2)
    columns.observer.load(
        Columns(
            *(TrialState.PRUNED, False, 1, numbers + 1, numbers),
            *(np.column_stack([np.zeros(4), numbers]), None, numbers, numbers, {}, {}),
        ),
        space,
        Reports(numbers.repeat(2), np.tile([1, 2], 4), reported[:, 0], reported[:, 1:]),
    )
    np.testing.assert_allclose(
        columns.observer.observations().values, rows.observer.observations().values
    )


def test_two_objectives_find_a_front_with_both_ends() -> None:
    study = Study("gp", ("minimize", "minimize"))
    points = []
    for number in range(40):
        params = study.proposer.propose(number).params
        x, y = float(str(params["x"])), float(str(params["y"]))
        points.append((x, y))
        study.add(params, [(x - 2) ** 2 + y**2, (x + 2) ** 2 + y**2], {})
    # the front is the line from (-2, 0) to (2, 0); of random points an eighth is as near
    assert min((x - 2) ** 2 + y**2 for x, y in points) < 1
    assert min((x + 2) ** 2 + y**2 for x, y in points) < 1
    assert sum(abs(x) < 2.7 and abs(y) < 0.7 for x, y in points[15:]) >= 12
