"""Pareto front, planes of two parameters, distribution, timeline, budget, importance."""

import math
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from tests.support import synthetic
from tuner.figures import (
    burndown,
    captions,
    contour,
    curves,
    edf,
    heat,
    history,
    importance,
    pairs,
    pareto,
    rank,
    rivals,
    slices,
    spending,
    spread,
    theme,
    timeline,
)
from tuner.figures.figure import Drawing
from tuner.trials import Direction, StudyState, Trial, TrialState

STUDY = synthetic.study()
TWO = replace(STUDY, directions=("maximize", "minimize"), metrics=("accuracy", "seconds"))
HOSTILE = "<b>%{x}</b>"


def two(how_many: int) -> list[Trial]:
    return [
        replace(t, values=(t.values[0], 10 * t.values[0] + t.number % 7))
        if t.state is TrialState.COMPLETE and t.values
        else t
        for t in synthetic.trials(how_many)
    ]


def test_the_front_is_kept_whole_where_points_are_thinned() -> None:
    whole = pareto.info(two(300), TWO)
    few = pareto.info(two(300), TWO, limit=20)
    assert few.front == whole.front
    assert len(few.front) + len(few.others) <= max(20, len(few.front))
    line = pareto.draw(whole).data[1]
    assert list(line.x) == sorted(line.x)


def test_what_violates_a_constraint_is_neither_on_the_front_nor_the_best() -> None:
    trials = two(60)
    front = [t.number for t in pareto.info(trials, TWO).front]
    worse = [replace(t, violates_constraint=t.number in front) for t in trials]
    info = pareto.info(worse, TWO)
    assert info.front
    assert not {t.number for t in info.front} & set(front)
    hollow, *_ = pareto.draw(info).data
    assert (hollow.name, sorted(hollow.customdata)) == (theme.INFEASIBLE, sorted(front))
    assert all(not p.trial.violates_constraint for p, _ in history.info(worse, STUDY).records)
    for best in (slices.info(worse, STUDY).best, curves.info(worse, STUDY).best):
        assert best is not None
        assert best.number not in front
    whole = pareto.info([replace(t, violates_constraint=True) for t in trials], TWO)
    assert not whole.front
    assert whole.nothing is None


def test_one_objective_has_no_front() -> None:
    assert pareto.info(synthetic.trials(40), STUDY).nothing


def plane(how_many: int = 200, **more: str) -> pairs.Info:
    return pairs.info(
        synthetic.trials(how_many),
        STUDY,
        log_params=synthetic.LOG,
        importances=synthetic.IMPORTANCES,
        **more,  # type: ignore[arg-type]
    )


def test_a_plane_has_the_most_important_parameters_unless_others_are_wanted() -> None:
    info = plane()
    assert info.axes is not None
    assert [axis.name for axis in info.axes] == ["learning_rate", "optimizer"]
    other = plane(x="dropout", y="nothing of that name")
    assert other.axes is not None
    assert [axis.name for axis in other.axes] == ["dropout", "learning_rate"]


def test_the_best_rank_is_that_of_the_best_value() -> None:
    info = plane()
    ranks = rank.ranks(info)
    assert ranks[int(np.argmax(info.reached))] == 1.0
    assert ranks[int(np.argmin(info.reached))] == 0.0
    colours = rank.draw(info).data[0].marker.color
    assert list(colours) == sorted(colours)  # the best are drawn last


def test_the_contour_is_blank_where_nothing_was_tried_and_near_the_values_elsewhere() -> None:
    info = plane(x="dropout", y="learning_rate")
    assert info.axes is not None
    gx, gy, z = contour.surface(info)
    assert np.isnan(z).any()
    finite = z[np.isfinite(z)]
    assert min(info.reached) <= finite.min() <= finite.max() <= max(info.reached)
    row, column = np.argwhere(np.isnan(z))[0]
    apart = [
        math.hypot(
            (x - gx[column]) / (info.axes[0].high - info.axes[0].low),
            (y - gy[row]) / (info.axes[1].high - info.axes[1].low),
        )
        for x, y in zip(info.x, info.y, strict=True)
    ]
    assert min(apart) > 0.05


def test_every_trial_is_in_one_cell_of_the_heat_map() -> None:
    info = plane()
    cells = heat.values_by_cell(info)
    assert sum(map(len, cells.values())) == len(info.trials)
    trace = heat.draw(info).data[0]
    assert sum(int(n) for row in trace.text for n in row if n) == len(info.trials)


@pytest.mark.parametrize("plane", [rank, contour, heat])
def test_planes_of_odd_studies(plane: Drawing[pairs.Info]) -> None:
    for trials in ([], synthetic.trials(2), synthetic.trials(1)):
        info = pairs.info(trials, STUDY)
        plane.draw(info)
        plane.table(info)
    hostile = [replace(t, params={HOSTILE: t.number, "b": 1.5}) for t in synthetic.trials(40)]
    figure = plane.draw(pairs.info(hostile, STUDY))
    assert "<b>" not in str(figure.layout.xaxis.title.text)
    equal = [replace(t, values=(0.5,)) if t.values else t for t in synthetic.trials(40)]
    plane.draw(pairs.info(equal, STUDY))


def test_the_distribution_is_exact_at_its_steps() -> None:
    reached = [float(i % 97) for i in range(5_000)]
    (curve,) = edf.info({"s": reached}, STUDY).curves
    assert len(curve.values) <= edf.MAX_STEPS
    assert curve.shares[-1] == 1.0
    for value, share in zip(curve.values, curve.shares, strict=True):
        assert abs(share - sum(v <= value for v in reached) / 5_000) < 1 / 90
    assert edf.info({"s": [math.nan]}, STUDY).nothing
    edf.table(edf.info({"a": reached, HOSTILE: [1.0]}, STUDY))


def test_lanes_hold_one_trial_at_a_time() -> None:
    trials = synthetic.trials(120, running=3)
    now = synthetic.START + timedelta(hours=2)
    info = timeline.info(trials, now)
    assert {b.trial.number for b in info.bars} == {t.number for t in trials}
    for lane in range(len(info.lanes)):
        bars = sorted((b for b in info.bars if b.lane == lane), key=lambda b: b.start)
        assert bars
        assert all(a.end <= b.start for a, b in pairwise(bars))
        assert {b.trial.worker for b in bars} == {info.lanes[lane][0]}
    running = [b for b in info.bars if b.trial.state is TrialState.RUNNING]
    assert {b.end for b in running} == {now}
    assert [t.name for t in timeline.draw(info).data] == [
        "complete",
        "pruned",
        "failed",
        "running",
    ]
    timeline.table(info)
    assert timeline.info([], now).nothing


def test_the_budget_burns_down_to_its_forecast() -> None:
    ended = [t.finished_at for t in synthetic.trials(30) if t.finished_at]
    active = synthetic.study(state=StudyState.ACTIVE, max_trials=60)
    info = burndown.info(ended, active)
    assert info.line[0][1] == 60
    assert info.line[-1][1] == 30
    assert [n for _, n in info.line] == sorted((n for _, n in info.line), reverse=True)
    assert info.forecast is not None
    assert info.forecast > max(ended)
    assert burndown.info(ended, synthetic.study(max_trials=60)).forecast is None
    free = burndown.info(ended, synthetic.study(max_trials=None))
    assert free.line[-1][1] == 30
    assert len(burndown.draw(free).data) == 1
    assert burndown.info([], active).nothing
    burndown.table(info)


def test_importance_has_a_baseline_for_each_parameter() -> None:
    luck = dict.fromkeys(synthetic.IMPORTANCES, 0.06) | {"optimizer": 0.3}
    info = importance.info(synthetic.IMPORTANCES, luck)
    names = [name for name, _ in info.bars]
    assert names[:4] == ["learning_rate", "dropout", "batch_size", "optimizer"]
    assert info.clear == [True, True, True, False, False, False, False]
    figure = importance.draw(info)
    (bar,) = figure.data
    assert len(set(bar.marker.color[:3])) == 1
    assert set(bar.marker.color[3:]) == {theme.LIGHT.waiting}
    lines = figure.layout.shapes
    assert [line.x0 for line in lines] == [0.06, 0.06, 0.06, 0.3, 0.06, 0.06, 0.06]
    assert [(line.y0 + line.y1) / 2 for line in lines] == pytest.approx(list(range(7)))
    rows = importance.table(info).rows
    assert rows[0] == ("learning_rate", "53 %", "up to 6 %", "yes")
    assert rows[3] == ("optimizer", "17 %", "up to 30 %", "no")
    assert "None is above" not in captions.of_importance(info)
    none = importance.info({"a": 0.1}, {"a": 0.2})
    assert "it takes more trials" in captions.of_importance(none)


def test_spending_is_all_of_the_time_in_few_bars() -> None:
    trials = synthetic.trials(60, running=2)
    now = synthetic.START + timedelta(hours=3)
    attempts = synthetic.attempts(trials)
    attempts.append(replace(attempts[0], outcome="lost"))
    for stretch in (1, 60, 100_000):
        far = [
            replace(
                a,
                started_at=synthetic.START + stretch * (a.started_at - synthetic.START),
                ended_at=a.ended_at and synthetic.START + stretch * (a.ended_at - synthetic.START),
            )
            for a in attempts
            if a.started_at
        ]
        info = spending.info(far, now)
        expected = sum(
            (max(a.ended_at or now, a.started_at) - a.started_at).total_seconds()
            for a in far
            if a.started_at
        )
        assert info.total() == pytest.approx(expected)
        assert len(info.bars) <= spending.MOST_BARS
        lost = info.total(TrialState.FAILED)
        assert lost > stretch * (trials[0].seconds or 0)
        spending.draw(info)
        assert len(spending.table(info).rows) == len(info.bars)
    assert spending.info([], now).nothing


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_best_so_far_of_rivals_only_improves(direction: Direction) -> None:
    study = synthetic.study(direction=direction)
    studies = [
        rivals.Rival(name, study, synthetic.trials(n, seed=n, direction=direction))
        for name, n in (("a", 40), (HOSTILE, 25), ("none", 0))
    ]
    for by in ("trials", "time"):
        info = rivals.info(studies, by)  # type: ignore[arg-type]
        for line, rival in zip(info.lines, studies, strict=True):
            values = [y for _, y in line.points]
            assert values == sorted(values, reverse=direction == "minimize")
            ended = [t for t in rival.trials if t.state.is_finished]
            end = len(ended) if by == "trials" else sum(t.seconds or 0 for t in ended)
            assert not line.points or line.points[-1][0] == pytest.approx(end)
        rivals.draw(info)
        assert len(rivals.table(info).rows) == 2
    boxes = spread.info(studies)
    assert [box.name for box in boxes.boxes] == ["a", HOSTILE]
    assert "<b>" not in str(spread.draw(boxes).layout.yaxis.ticktext)
    spread.table(boxes)
