import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import plotly.graph_objects as go
import pytest

from tests.support import synthetic
from tuner.figures import parallel
from tuner.trials import Direction, Trial, TrialState

STUDY = synthetic.study()


def draw(trials: Sequence[Trial]) -> go.Figure:
    return parallel.draw(parallel.info(trials, STUDY, log_params=synthetic.LOG))


def _info(how_many: int = 40) -> parallel.Info:
    return parallel.info(
        synthetic.trials(how_many),
        STUDY,
        log_params=synthetic.LOG,
        importances=synthetic.IMPORTANCES,
    )


def test_axes_are_ordered_by_importance_with_the_value_last() -> None:
    info = _info()
    assert [d.name for d in info.dimensions] == list(synthetic.IMPORTANCES)
    figure = parallel.draw(info)
    assert figure.data[0].dimensions[-1].label == "accuracy"


def test_log_parameters_lie_by_their_logarithm() -> None:
    info = _info()
    rate = next(d for d in info.dimensions if d.name == "learning_rate")
    assert rate.kind == "log"
    assert rate.positions == pytest.approx(
        [math.log10(float(t.params["learning_rate"] or 0)) for t in info.trials]
    )
    assert "0.001" in rate.ticks[1]


def test_numeric_categories_are_sorted_by_value() -> None:
    batch = next(d for d in _info().dimensions if d.name == "batch_size")
    assert batch.ticks == ([0, 1, 2, 3], ["32", "64", "128", "256"])


def test_trials_without_a_parameter_lie_below_its_axis() -> None:
    info = _info(200)
    momentum = next(d for d in info.dimensions if d.name == "momentum")
    missing = [
        p
        for p, t in zip(momentum.positions, info.trials, strict=True)
        if "momentum" not in t.params
    ]
    assert missing
    assert len(set(missing)) == 1
    assert momentum.ticks[1][0] == "not set"
    assert momentum.ticks[0][0] == missing[0]
    present = [
        p for p, t in zip(momentum.positions, info.trials, strict=True) if "momentum" in t.params
    ]
    assert missing[0] < min(present)
    for dimension in info.dimensions:
        low, high = dimension.range
        assert all(low <= p <= high for p in dimension.positions)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_best_is_drawn_last_and_strongest(direction: Direction) -> None:
    trials = synthetic.trials(40, direction=direction)
    info = parallel.info(trials, synthetic.study(direction=direction))
    reached = [t.value or 0.0 for t in info.trials]
    assert reached == sorted(reached, reverse=direction == "minimize")
    line = parallel.draw(info).data[0].line
    assert line.reversescale is (direction == "minimize")


def test_a_diverged_value_is_put_on_the_end_of_the_axis() -> None:
    trials = synthetic.trials(40, fail=False, prune=False)
    trials[3] = replace(trials[3], values=(-1e9,))
    objective = parallel.info(trials, STUDY).objective
    assert objective is not None
    assert objective.range[0] > 0
    assert objective.positions[0] == objective.range[0]
    assert objective.ticks[1][0].startswith("≤ ")


@pytest.mark.parametrize("state", [TrialState.FAILED, TrialState.PRUNED])
def test_without_complete_trials(state: TrialState) -> None:
    trials = [replace(t, state=state) for t in synthetic.trials(5)]
    for sample in (trials, []):
        assert parallel.info(sample, STUDY).nothing
        assert len(parallel.draw(parallel.info(sample, STUDY)).layout.annotations) == 1


def test_constants_and_not_finite_values() -> None:
    trials = [
        replace(t, state=TrialState.COMPLETE, values=(v,), params={"a": 1.0, "b": "x"})
        for t, v in zip(synthetic.trials(5), (0.5, 0.5, math.nan, math.inf, 0.5), strict=True)
    ]
    info = parallel.info(trials, STUDY)
    assert len(info.trials) == 3
    for dimension in info.dimensions:
        assert dimension.range[0] < dimension.range[1]
    parallel.draw(info)


def test_labels_are_escaped_and_ticks_are_plain() -> None:
    # Plotly reads markup in the labels of these axes, not in their ticks
    trials = [
        replace(t, params={"<b>x</b>": "<i>a</i>" if t.number % 2 else "b"})
        for t in synthetic.trials(20)
    ]
    dimension = parallel.draw(parallel.info(trials, STUDY)).data[0].dimensions[0]
    assert dimension.label == "&lt;b&gt;x&lt;/b&gt;"
    assert list(dimension.ticktext) == ["<i>a</i>", "b"]


def test_many_parameters_and_trials_are_cut() -> None:
    trials = [
        replace(t, params={f"p{i}": i * t.number for i in range(30)}) for t in synthetic.trials(40)
    ]
    info = parallel.info(trials, STUDY)
    assert len(info.dimensions) == parallel.MAX_AXES
    assert info.left_out == 18
    many = synthetic.trials(5_000, prune=False, fail=False)
    figure = parallel.draw(parallel.info(many, STUDY, log_params=synthetic.LOG))
    few, all_ = (synthetic.calls(partial(draw, some)) for some in (many[:500], many))
    assert all_ < 15 * few
    assert len(figure.data[0].line.color) == parallel.MAX_LINES


def test_the_table_has_the_best_first() -> None:
    table = parallel.table(_info())
    assert table.rows[0][0] == "28"
    assert len(table.rows) == 10
    assert "not set" in table.rows[0]
