import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import plotly.graph_objects as go
import pytest

from tests.support import synthetic
from tuner.figures import curves, history, theme
from tuner.trials import Report, Trial, TrialState

STUDY = synthetic.study()


def draw(trials: Sequence[Trial]) -> go.Figure:
    return curves.draw(curves.info(trials, STUDY))


def test_one_line_trace_a_state_with_gaps_between_the_curves() -> None:
    trials = synthetic.trials(40, running=2)
    figure = curves.draw(curves.info(trials, STUDY))
    lines = [t for t in figure.data if t.mode == "lines" and not t.name.startswith("best")]
    assert len({t.name for t in lines}) == len(lines)
    expected = Counter(t.state.value for t in trials if t.reports)
    expected["complete"] -= 1  # the best has a trace of its own
    for trace in lines:
        assert list(trace.x).count(None) == expected[trace.name] - 1
        assert trace.connectgaps is False
        assert [x is None for x in trace.x] == [n is None for n in trace.customdata]
    assert {t.name for t in lines} == {"complete", "pruned", "failed", "running"}


def test_the_best_stands_out_and_the_pruned_are_faint() -> None:
    figure = curves.draw(curves.info(synthetic.trials(40), STUDY))
    by_name = {t.name: t for t in figure.data}
    best = figure.data[-1]
    assert best.name == "best: trial 28"
    assert best.line.color == theme.LIGHT.best
    assert best.line.width > by_name["complete"].line.width
    assert by_name["pruned"].opacity < by_name["complete"].opacity


def test_every_pruned_trial_ends_in_a_mark() -> None:
    trials = synthetic.trials(40)
    pruned = [t for t in trials if t.state is TrialState.PRUNED]
    marks = next(t for t in curves.draw(curves.info(trials, STUDY)).data if t.name == "pruned here")
    assert list(zip(marks.x, marks.y, strict=True)) == [
        (t.reports[-1].step, t.reports[-1].value) for t in pruned
    ]
    assert marks.showlegend is False


def test_values_that_are_not_finite_are_gaps() -> None:
    reports = tuple(Report(i + 1, v) for i, v in enumerate((0.1, math.nan, math.inf, 0.4)))
    trial = Trial(0, TrialState.RUNNING, {}, reports=reports)
    curve = curves.info([trial], STUDY).curves[TrialState.RUNNING][0]
    assert curve.values == [0.1, None, None, 0.4]


def test_a_curve_of_one_point_is_a_mark() -> None:
    trials = [
        Trial(i, TrialState.COMPLETE, {}, values=(0.1 * i,), reports=(Report(1, 0.1 * i),))
        for i in range(3)
    ]
    figure = curves.draw(curves.info(trials, STUDY))
    assert [len(t.x) for t in figure.data if t.mode == "markers"] == [2, 1]


def test_nothing_says_why() -> None:
    assert curves.info([], STUDY).nothing
    assert len(curves.draw(curves.info([], STUDY)).layout.annotations) == 1
    failed = [Trial(0, TrialState.FAILED, {})]
    assert curves.info(failed, STUDY).nothing
    assert not curves.table(curves.info([], STUDY)).rows


def test_only_pruned_trials() -> None:
    trials = [replace(t, state=TrialState.PRUNED) for t in synthetic.trials(10) if t.reports]
    info = curves.info(trials, STUDY)
    assert info.best is None
    assert info.count == len(trials)
    curves.draw(info)


def test_long_curves_keep_their_ends_and_their_best_point() -> None:
    reports = tuple(Report(i, 0.5 + 0.4 * (i == 777)) for i in range(1, 1001))
    trial = Trial(0, TrialState.COMPLETE, {}, values=(0.9,), reports=reports)
    best = curves.info([trial], STUDY).best
    assert best is not None
    assert len(best.steps) <= curves.MAX_CURVE
    assert {1, 777, 1000} <= set(best.steps)


@pytest.mark.slow
@pytest.mark.parametrize("prune", [True, False])
def test_5000_trials_of_20_epochs_are_quick_and_thin(prune: bool) -> None:
    trials = synthetic.trials(5_000, prune=prune, fail=prune)
    figure = curves.draw(curves.info(trials, STUDY))
    few, all_ = (synthetic.calls(partial(draw, some)) for some in (trials[:500], trials))
    assert all_ < 15 * few
    assert sum(len(t.x) for t in figure.data if t.mode == "lines") <= 8_000
    info = curves.info(trials, STUDY)
    assert info.count < info.total
    numbers = {c.number for part in info.curves.values() for c in part}
    assert info.best is not None
    records = {p.trial.number for p, _ in history.info(trials, STUDY).records}
    assert records <= numbers | {info.best.number}


def test_the_limit_holds_for_points_and_gaps() -> None:
    trials = synthetic.trials(200, prune=False, fail=False)
    info = curves.info(trials, STUDY, limit=500)
    points = sum(len(c.steps) + 1 for part in info.curves.values() for c in part)
    assert info.best is not None
    assert points + len(info.best.steps) <= 500


def test_the_table_counts_all_trials_at_an_epoch() -> None:
    trials = synthetic.trials(40)
    first = curves.table(curves.info(trials, STUDY)).rows[0]
    assert first[:2] == ("1", str(sum(bool(t.reports) for t in trials)))


def test_a_hostile_metric_is_text() -> None:
    figure = curves.draw(curves.info(synthetic.trials(20), synthetic.study(metric="<b>%{x}</b>")))
    for trace in figure.data:
        assert "&lt;b&gt;&#37;{x}&lt;/b&gt;" in trace.hovertemplate
