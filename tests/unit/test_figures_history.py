import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import plotly.graph_objects as go
import pytest

from tests.support import synthetic
from tuner.figures import history, theme
from tuner.trials import Direction, Trial, TrialState

STUDY = synthetic.study()


def draw(trials: Sequence[Trial]) -> go.Figure:
    return history.draw(history.info(trials, STUDY))


def _traces(trials: list[Trial], **changes: Any) -> dict[str, list[Any]]:
    traces: dict[str, list[Any]] = {}
    for trace in history.draw(history.info(trials, synthetic.study(**changes))).data:
        traces.setdefault(trace.name, []).append(trace)
    return traces


def test_every_trial_is_drawn_once_in_its_state() -> None:
    trials = synthetic.trials(60, running=3)
    traces = _traces(trials)
    for state, how_many in Counter(t.state for t in trials).items():
        assert sum(len(t.x) for t in traces[state.value]) == how_many
        assert {t.marker.color for t in traces[state.value]} == {theme.LIGHT.of(state)}
        assert sum(t.showlegend is not False for t in traces[state.value]) == 1


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_best_so_far_is_monotone_and_ends_at_the_best(direction: Direction) -> None:
    trials = synthetic.trials(60, direction=direction)
    study = synthetic.study(direction=direction)
    info = history.info(trials, study)
    line = [v for _, v in info.line]
    assert line == sorted(line, reverse=direction == "minimize")
    complete = [t.value for t in trials if t.state is TrialState.COMPLETE and t.value is not None]
    assert line[-1] == (max if direction == "maximize" else min)(complete)
    assert [x for x, _ in info.line] == sorted(x for x, _ in info.line)
    assert info.line[-1][0] == 59
    trace = next(
        t for t in history.draw(history.info(trials, study)).data if t.name == "best so far"
    )
    assert trace.line.shape == "hv"
    assert list(trace.y) == line


def test_trials_out_of_order_have_the_same_history() -> None:
    trials = synthetic.trials(40)
    shuffled = random.Random(1).sample(trials, len(trials))
    assert history.info(shuffled, STUDY).line == history.info(trials, STUDY).line


def test_by_finish_only_what_has_ended_is_drawn() -> None:
    trials = synthetic.trials(30, running=4)
    info = history.info(trials, STUDY, by="finish")
    assert len(info.all_points) == 26
    assert not info.points[TrialState.RUNNING]
    times = [p.x for p in info.points[TrialState.COMPLETE]]
    assert times == sorted(times)
    figure = history.draw(history.info(trials, STUDY, by="finish"))
    assert figure.layout.xaxis.title.text == "finished (UTC)"


def test_failed_and_not_finite_stand_in_the_strip() -> None:
    trials = [
        replace(t, state=TrialState.COMPLETE, values=(v,))
        for t, v in zip(synthetic.trials(4), (0.5, math.nan, math.inf, 0.7), strict=True)
    ]
    trials.append(replace(synthetic.trials(5)[4], state=TrialState.FAILED, values=None))
    info = history.info(trials, STUDY)
    assert [p.value for p in info.points[TrialState.COMPLETE]] == [0.5, 0.7]
    assert [p.trial.number for p in info.strip[TrialState.COMPLETE]] == [1, 2]
    assert [p.trial.number for p in info.strip[TrialState.FAILED]] == [4]
    assert [v for _, v in info.records] == [0.5, 0.7]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_far_worse_values_go_to_the_strip_on_the_worse_side(direction: Direction) -> None:
    trials = synthetic.trials(40, direction=direction)
    study = synthetic.study(direction=direction)
    info = history.info(trials, study)
    assert info.view is not None
    assert info.strip[TrialState.PRUNED]
    limit = info.view[0 if direction == "maximize" else 1]
    for point in info.strip[TrialState.PRUNED]:
        assert point.value is not None
        assert point.value < limit if direction == "maximize" else point.value > limit
    figure = history.draw(history.info(trials, study))
    assert (figure.layout.yaxis2.domain[0] == 0) == (direction == "maximize")


@pytest.mark.parametrize("state", [TrialState.FAILED, TrialState.PRUNED, TrialState.RUNNING])
def test_without_complete_trials(state: TrialState) -> None:
    trials = [
        replace(t, state=state, values=None if state is TrialState.FAILED else (0.4,))
        for t in synthetic.trials(5)
    ]
    info = history.info(trials, STUDY)
    assert info.nothing is None
    assert not info.line
    assert "best so far" not in _traces(trials)
    assert not history.table(info).rows


def test_nothing_says_why() -> None:
    assert history.info([], STUDY).nothing
    assert len(history.draw(history.info([], STUDY)).layout.annotations) == 1
    waiting = [Trial(0, TrialState.WAITING, {})]
    assert history.info(waiting, STUDY).nothing


def test_constant_values_have_one_record() -> None:
    trials = [replace(t, state=TrialState.COMPLETE, values=(0.5,)) for t in synthetic.trials(20)]
    info = history.info(trials, STUDY)
    assert [p.trial.number for p, _ in info.records] == [0]
    assert info.view is None
    history.draw(info)


def test_hostile_names_are_text() -> None:
    trials = [replace(t, params={"<b>%{x}</b>": "<i>"}) for t in synthetic.trials(20)]
    figure = history.draw(history.info(trials, synthetic.study(metric="<a href='x'>%{y}</a>")))
    assert figure.layout.yaxis.title.text == "&lt;a href='x'&gt;&#37;{y}&lt;/a&gt;"
    for trace in figure.data:
        assert "<a" not in (trace.hovertemplate or "")
        for row in trace.customdata if trace.customdata is not None else ():
            assert "<b>" not in str(row)
            assert "<i>" not in str(row)
    complete = next(t for t in figure.data if t.name == "complete")
    assert complete.customdata[0][2] == "&lt;b&gt;&#37;{x}&lt;/b&gt;: &lt;i&gt;"


@pytest.mark.slow
def test_5000_trials_are_quick() -> None:
    trials = synthetic.trials(5_000)
    figure = history.draw(history.info(trials, STUDY))
    few, all_ = (synthetic.calls(partial(draw, some)) for some in (trials[:500], trials))
    assert all_ < 15 * few
    assert sum(len(t.x) for t in figure.data) <= 8_000
    records = {p.trial.number for p, _ in history.info(trials, STUDY).records}
    numbers = next(t for t in figure.data if t.name == "complete")
    assert records <= set(numbers.customdata)
