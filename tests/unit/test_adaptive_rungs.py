"""Rungs that follow from what trials have shown."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tuner.errors import SpecError
from tuner.families import resolve
from tuner.report.findings import describe_method
from tuner.search.history import History
from tuner.search.pruners import NoPruner, RungPruner, make
from tuner.search.pruners.adaptive import AdaptiveRungPruner
from tuner.search.pruners.yields import (
    Evidence,
    Yields,
    candidates,
    correlations,
    startup_steps,
)
from tuner.search.record import Record, new_row
from tuner.study_file.load import loads
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.study import Pruner
from tuner.trials import Study, StudyState, TrialState

START = datetime(2026, 1, 1, tzinfo=UTC)
AUTO = {"name": "rungs", "min_epochs": "auto", "reduction": "auto"}


def evidence(*correlations: float, startup: float = 0.0) -> Yields:
    return Yields(Evidence((1, 3, 9), 27, correlations, startup))


EVERY = candidates((1, 3, 9), first_is_fixed=False, ratio_is_fixed=False)


def test_candidates_are_the_sets_of_rungs_that_the_study_leaves_open() -> None:
    assert sorted(EVERY) == [(1,), (1, 3), (1, 3, 9), (1, 9), (3,), (3, 9), (9,)]
    first = candidates((1, 3, 9), first_is_fixed=False, ratio_is_fixed=True)
    assert first == [(1, 3, 9), (3, 9), (9,)]
    ratio = candidates((2, 6, 18), first_is_fixed=True, ratio_is_fixed=False)
    assert sorted(ratio) == [(2,), (2, 6), (2, 6, 18), (2, 18)]


def test_where_ranks_agree_all_rungs_stay() -> None:
    assert evidence(0.9, 0.9, 0.95).best_of(EVERY, (1, 3, 9)) == (1, 3, 9)


def test_where_the_first_epochs_are_misleading_the_first_rung_is_later() -> None:
    assert evidence(0.9, -0.9, 0.95).best_of(EVERY, (1, 3, 9)) == (9,)
    assert evidence(0.0, 0.95, 0.95).best_of(EVERY, (1, 3, 9))[0] == 3


def test_what_trials_cost_before_their_first_epoch_makes_early_rungs_pay_less() -> None:
    cheap, expensive = evidence(0.4, 0.9, 0.95), evidence(0.4, 0.9, 0.95, startup=20.0)

    assert cheap.of((1, 3, 9)) > cheap.of((3, 9))
    assert expensive.of((1, 3, 9)) < expensive.of((3, 9))


def test_the_yield_of_perfect_ranks_is_the_inverse_of_the_cost() -> None:
    # 1 epoch each, a third 2 more, a ninth 6 more, a 27th 18 more
    assert evidence(0.99999, 0.99999, 0.99999).of((1, 3, 9)) == pytest.approx(1 / 3, rel=0.01)
    assert evidence(0.99999, 0.99999, 0.99999).of((9,)) == pytest.approx(1 / 15, rel=0.01)


def test_correlations_are_those_of_ranks_also_where_only_the_best_went_on() -> None:
    rng = np.random.default_rng(0)
    before = rng.standard_normal(2_000)
    after = 0.8 * before + 0.6 * rng.standard_normal(2_000)
    final = -(0.9 * after + math.sqrt(0.19) * rng.standard_normal(2_000))
    selected = np.where(before < np.quantile(before, 1 / 3), after, np.nan)
    end = np.where(np.isnan(selected), np.nan, final)

    assert correlations(np.array([before, after])) == pytest.approx([0.8], abs=0.05)
    assert correlations(np.array([before, selected])) == pytest.approx([0.8], abs=0.08)
    assert correlations(np.array([np.exp(before), np.exp(selected), end])) == pytest.approx(
        [0.8, -0.9], abs=0.08
    )


def test_few_or_equal_values_say_nothing_of_a_correlation() -> None:
    unknown = [math.nan] * 9
    assert correlations(np.array([[1.0] * 9, unknown])) == (0.8,)
    assert correlations(np.array([[1.0] * 9, [2.0] * 9])) == (0.8,)
    assert correlations(np.array([unknown, unknown])) == (0.8,)


def test_what_trials_cost_before_their_first_step_is_the_line_through_their_medians() -> None:
    steps = np.repeat([1, 3, 9], 5)
    seconds = 40.0 + 10.0 * steps + np.tile([-1.0, 0.0, 0.0, 0.0, 1.0], 3)

    assert startup_steps(steps, seconds) == pytest.approx(4.0)
    assert startup_steps(steps, np.full(15, 7.0)) == 0.0
    assert startup_steps(steps, np.full(15, math.nan)) == 0.0
    assert startup_steps(steps[:5], seconds[:5]) == 0.0


# The pruner


class Bench:
    """A study in one process, whose trials run one after the other."""

    def __init__(self, pruner: NoPruner) -> None:
        self.pruner = pruner
        self.history = History(1)
        if pruner.watcher is not None:
            self.history.watch(pruner.watcher)
        self.lengths: list[int] = []

    def run(self, curve: Callable[[int], float], epochs: int = 27) -> None:
        number = len(self.lengths)
        values: list[float] = []
        state = TrialState.COMPLETE
        for epoch in range(1, epochs + 1):
            values.append(curve(epoch))
            self.pruner.observe(number, epoch, values[-1])
            if epoch < epochs and self.pruner.should_prune(number, epoch, values[-1]):
                state = TrialState.PRUNED
                break
        row = new_row(number + 1, number, state, [], values=[min(values)])._replace(
            steps=list(range(1, len(values) + 1)),
            report_values=values,
            started_at=START + timedelta(hours=number),
            finished_at=START + timedelta(hours=number, seconds=len(values)),
        )
        self.history.add(row, {})
        self.lengths.append(len(values))


def adaptive(direction: str = "minimize", **spec: object) -> AdaptiveRungPruner:
    pruner = make(
        Pruner.model_validate({**AUTO, **spec}),
        "minimize" if direction == "minimize" else "maximize",
        last_step=27,
    )
    assert isinstance(pruner, AdaptiveRungPruner)
    return pruner


def late(end: float) -> Callable[[int], float]:
    """A curve that begins the higher, the lower it ends."""
    start = 2.0 - end
    return lambda epoch: start + (end - start) * math.sqrt(epoch / 27)


def test_late_bloomers_move_the_first_rung_and_are_found() -> None:
    rng = np.random.default_rng(0)
    ends = rng.random(300)
    moved, fixed = Bench(adaptive()), Bench(make(Pruner(), "minimize", last_step=27))
    for end in ends.tolist():
        moved.run(late(end))
        fixed.run(late(end))

    assert moved.pruner._rungs_now == (9,)  # type: ignore[attr-defined]
    assert min(moved.lengths[150:]) == 9
    whole = [end for end, length in zip(ends, moved.lengths, strict=True) if length == 27]
    assert min(whole) < 0.02
    missed = [end for end, length in zip(ends, fixed.lengths, strict=True) if length == 27]
    assert min(whole) < min(missed)


def test_usual_curves_keep_the_rungs_and_their_costs() -> None:
    rng = np.random.default_rng(1)
    bench = Bench(adaptive())
    for _ in range(200):
        end, rate = rng.random(), rng.uniform(0.3, 1.0)
        bench.run(lambda epoch, end=end, rate=rate: end + 0.3 * epoch**-rate)

    assert bench.pruner._rungs_now[0] == 1  # type: ignore[attr-defined]
    assert np.mean(bench.lengths) < 6
    assert np.mean([length == 27 for length in bench.lengths]) < 0.1


def test_a_worker_that_reads_it_all_at_once_decides_alike() -> None:
    rng = np.random.default_rng(0)
    bench = Bench(adaptive())
    for end in rng.random(120).tolist():
        bench.run(late(end))
    again = adaptive()
    assert again.watcher is not None
    for number in range(120):
        record = bench.history.record(number)
        assert record is not None
        for step, value in zip(record.row.steps or (), record.row.report_values or (), strict=True):
            again.observe(number, step, value)
        again.watcher.note(Record(record.row, {}))
    again.observe(120, 1, 0.5)
    again.should_prune(120, 1, 0.5)

    assert again._rungs_now == bench.pruner._rungs_now  # type: ignore[attr-defined]
    assert again._before == bench.pruner._before  # type: ignore[attr-defined]


def test_it_says_which_rungs_there_are_and_why() -> None:
    bench = Bench(adaptive())
    rng = np.random.default_rng(0)
    for end in rng.random(60).tolist():
        bench.run(lambda epoch, end=end: end + 1 / epoch)
    pruner = bench.pruner
    number = next(n for n in range(60, 99) if not pruner._is_explored(n, 1))  # type: ignore[attr-defined]
    pruner.observe(number, 1, 9.0)

    assert pruner.should_prune(number, 1, 9.0)
    assert pruner.explain(number, 1, 9.0).startswith(
        "rung at epoch 1: 9 ranks 61st of 61; the best"
    )
    assert pruner.explain(number, 1, 9.0).endswith("by 55 ended trials)")


# The study file

HEAD = "name: x\nfamily: cnn\ndata: digits\n"


def spec_of(text: str) -> ResolvedSpec:
    return resolve(loads(HEAD + text, name="s.yaml"))


def test_auto_is_stored_and_rungs_by_hand_stay_the_default() -> None:
    spec = spec_of("pruner: {min_epochs: auto, reduction: auto}\n")

    assert ResolvedSpec.from_json(spec.as_json()).pruner == spec.pruner
    assert type(make(spec.pruner, "minimize", last_step=27)) is AdaptiveRungPruner
    assert type(make(spec_of("").pruner, "minimize", last_step=27)) is RungPruner
    study = Study(
        name="x",
        state=StudyState.ACTIVE,
        directions=("maximize",),
        metrics=("accuracy",),
        family="cnn",
        spec=spec.as_json(),
        max_trials=1,
    )
    assert dict(describe_method(study))["pruning"] == "rungs, chosen by what trials have shown"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "pruner: {name: hyperband, reduction: auto}\n",
            "pruner.reduction: cannot be auto with `hyperband`, only with `rungs` that prune at "
            "once",
        ),
        (
            "pruner: {min_epochs: auto, resume: true}\n",
            "pruner.min_epochs: cannot be auto with `resume: true`, only with `rungs` that prune "
            "at once",
        ),
        (
            "pruner: {min_epochs: auto}\nobjective: {metric: [accuracy, latency]}\n",
            "pruner.min_epochs: cannot be auto with several metrics; write a number, or optimize "
            "one",
        ),
        (
            "pruner: {reduction: auto}\nbudget: {fidelity: data}\n",
            "pruner.reduction: cannot be auto beside `budget.fidelity`, whose levels follow from "
            "it",
        ),
    ],
)
def test_where_rungs_cannot_be_chosen(text: str, sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(text)

    assert str(caught.value).partition(": ")[2] == sentence
