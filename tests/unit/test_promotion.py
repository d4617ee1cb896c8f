"""Which trials pause at a rung, and which of them go on later."""

import math
from collections import Counter

import numpy as np
import pytest
from optuna.trial import TrialState as OptunaState

from tests.support.synthetic import calls
from tuner.database.readers.columns import Reports
from tuner.errors import SpecError
from tuner.families import resolve
from tuner.search.history import History
from tuner.search.pruners import NoPruner, make
from tuner.search.record import new_row
from tuner.search.sampler import Proposer
from tuner.study_file.load import loads
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.search_checks import notes_on_promotion
from tuner.study_file.space import Space
from tuner.study_file.study import Pruner, Sampler
from tuner.trials import Direction, TrialState

EPOCHS = 27


def pruner(direction: Direction = "maximize", **settings: object) -> NoPruner:
    spec = Pruner.model_validate({"name": "rungs", "resume": True, **settings})
    return make(spec, direction, last_step=EPOCHS)


def reach(of: NoPruner, step: int, **values: float) -> list[int]:
    """Report values of trials at a step, in this order; returns those that pause."""
    paused = []
    for name, value in values.items():
        number = int(name.removeprefix("t"))
        of.observe(number, step, value)
        if of.should_prune(number, step, value):
            of.pause([number])
            paused.append(number)
    return paused


def due(of: NoPruner, *, is_last: bool = False) -> list[int]:
    return list(of.promotable(is_last=is_last))


def test_of_three_trials_the_best_goes_on_whenever_it_came() -> None:
    rungs = pruner()

    assert reach(rungs, 1, t0=0.5, t1=0.9) == [0, 1]
    assert due(rungs) == []
    assert reach(rungs, 1, t2=0.7) == [2]
    assert due(rungs) == [1]


def test_a_trial_that_is_among_the_best_at_once_does_not_pause() -> None:
    rungs = pruner()

    assert reach(rungs, 1, t0=0.5, t1=0.6, t2=0.9) == [0, 1]
    assert due(rungs) == []


def test_lower_is_better_where_the_study_says_so() -> None:
    rungs = pruner("minimize")
    reach(rungs, 1, t0=0.5, t1=0.2, t2=0.7)

    assert due(rungs) == [1]


def test_a_promoted_trial_is_not_promoted_again_and_leaves_its_rung_no_room() -> None:
    rungs = pruner()
    reach(rungs, 1, t0=0.5, t1=0.9, t2=0.7)
    rungs.promote(1)

    assert due(rungs) == []
    assert reach(rungs, 1, t3=0.95, t4=0.1) == [3, 4], "of five, one has gone on"
    assert reach(rungs, 1, t5=0.2) == [5]
    assert due(rungs) == [3], "of six, a second may"


def test_higher_rungs_come_first_and_the_best_of_each() -> None:
    rungs = pruner()
    reach(rungs, 1, **{f"t{n}": 0.9 - n / 100 for n in range(9)})
    assert due(rungs) == [0, 1, 2]
    for number in due(rungs):
        rungs.promote(number)
    reach(rungs, 3, t0=0.91, t1=0.92, t2=0.5)
    reach(rungs, 1, t9=0.95, t10=0.3, t11=0.2)

    assert due(rungs) == [1, 9]


def test_what_was_due_is_so_no_more_once_a_better_one_has_gone_on() -> None:
    rungs = pruner()
    reach(rungs, 1, t0=0.5, t1=0.9, t2=0.7)
    assert due(rungs) == [1]

    assert reach(rungs, 1, t3=0.95) == [], "one of four goes on: the best"
    assert due(rungs) == []


def test_the_last_one_to_come_is_not_lost_although_others_have_gone_on() -> None:
    rungs = pruner()
    reach(rungs, 1, t0=0.5, t1=0.6, t2=0.7)
    assert reach(rungs, 1, t3=0.9) == [3], "one of four has gone on"
    assert due(rungs) == []
    assert due(rungs, is_last=True) == [3]
    rungs.promote(3)
    assert due(rungs, is_last=True) == [], "but not the second best"


def test_a_reread_trial_counts_once() -> None:
    """As a worker learns of it: its own report, then the database's; its pause, then a load."""
    rungs = pruner()
    reach(rungs, 1, t0=0.5, t1=0.9, t2=0.7)
    reports = Reports(np.array([0, 1, 2]), np.array([1, 1, 1]), np.array([0.5, 0.9, 0.7]))
    rungs.load(reports, complete=False)
    rungs.pause([0, 1, 2])

    assert due(rungs) == [1]


def test_killed_and_complete_trials_are_not_promoted() -> None:
    rungs = pruner()
    reach(rungs, 1, t0=0.5, t1=0.9, t2=0.7)
    rungs.load(Reports(np.array([1]), np.array([1]), np.array([0.9])), complete=False)

    assert due(rungs) == []
    assert reach(rungs, 1, t3=0.1, t4=0.2, t5=0.3) == [3, 4, 5]
    assert due(rungs) == [2], "the second best of six, for the best is gone"


def test_a_promotion_whose_pause_was_not_seen_takes_its_place() -> None:
    rungs = pruner()
    rungs.observe(0, 1, 0.9)
    rungs.promote(0)  # it runs in a second attempt
    assert reach(rungs, 1, t1=0.5, t2=0.95) == [1, 2]
    assert due(rungs) == []


def test_a_trial_that_starts_over_passes_its_rungs_again() -> None:
    rungs = pruner()
    reach(rungs, 1, t0=0.5, t1=0.9, t2=0.7)
    rungs.promote(1)
    assert reach(rungs, 1, t1=0.1) == []
    assert reach(rungs, 2, t1=0.2) == []
    assert reach(rungs, 3, t1=0.3) == [1]
    rungs.observe(1, 1, 0.4)
    assert not rungs.should_prune(1, 1, 0.4)


def test_values_that_are_no_numbers_never_go_on() -> None:
    rungs = pruner()
    reach(rungs, 1, t0=math.nan, t1=math.nan, t2=math.nan)

    assert due(rungs) == due(rungs, is_last=True) == []


@pytest.mark.parametrize("name", ["rungs", "hyperband"])
@pytest.mark.parametrize("trials", [1, 2, 3, 10, 40, 100])
def test_a_study_ends_with_the_best_of_each_rung_at_the_next(trials: int, name: str) -> None:
    """All draws first, then what is due, one trial at a time: as a single worker does it."""
    rungs = pruner(name=name)
    at: Counter[int] = Counter()
    complete = []

    def train(number: int, step: int) -> None:
        while True:
            rungs.observe(number, step, number / 1000)
            if step == EPOCHS:
                complete.append(number)
                return
            if rungs.should_prune(number, step, number / 1000):
                rungs.pause([number])
                at[number] = step
                return
            step += 1

    for number in range(trials):
        train(number, 1)
    for _ in range(5 * trials):
        while promoted := due(rungs):
            rungs.promote(promoted[0])
            train(promoted[0], at[promoted[0]] + 1)
        if not (last := due(rungs, is_last=True)):
            break
        rungs.promote(last[0])
        train(last[0], at[last[0]] + 1)

    assert due(rungs, is_last=True) == []
    assert trials - 1 in complete, "values rise with the number: the best"
    assert len(complete) == len(set(complete))
    if name == "rungs":
        assert len(complete) <= trials // 27 + 3


def test_an_answer_costs_the_same_after_100_000_trials() -> None:
    def study(trials: int) -> NoPruner:
        rungs = pruner()
        numbers = np.arange(trials)
        values = np.random.default_rng(0).random(trials)
        rungs.load(Reports(numbers, np.ones(trials, np.int64), values), complete=False)
        rungs.pause(numbers.tolist())
        for number in due(rungs)[: trials // 3 - 3]:
            rungs.promote(number)
        return rungs

    def answer(rungs: NoPruner) -> None:
        for number in range(10**6, 10**6 + 50):
            reach(rungs, 1, **{f"t{number}": 0.5})
            for promoted in due(rungs):
                rungs.promote(promoted)

    short, long = study(1_000), study(100_000)

    assert calls(lambda: answer(long)) <= 1.2 * calls(lambda: answer(short))


def test_user_code_is_told_what_a_promoted_trial_resumes_from() -> None:
    def notes(family: str, **pruner: object) -> list[str]:
        spec = ResolvedSpec.model_construct(
            family=family, pruner=Pruner.model_validate({"name": "rungs", **pruner})
        )
        return list(notes_on_promotion(spec))

    assert notes("cnn", resume=True) == notes("function") == []
    assert "`trial.checkpoint`" in notes("function", resume=True)[0]
    assert "`TUNER_CHECKPOINT`" in notes("command", resume=True)[0]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            "pruner: {name: median, resume: true}",
            "x.yaml:4: pruner.resume: needs rungs, and `median` has none; use rungs or hyperband",
        ),
        (
            "objective: {metric: [accuracy, latency]}\npruner: {name: rungs, resume: true}",
            "x.yaml:5: pruner.resume: is not possible with several metrics; remove it, or optimize "
            "one",
        ),
    ],
)
def test_what_cannot_be_promoted_is_refused(lines: str, sentence: str) -> None:
    with pytest.raises(SpecError) as refused:
        resolve(loads(f"name: a\nfamily: cnn\ndata: digits\n{lines}", name="x.yaml"))
    assert str(refused.value) == sentence


def test_a_study_stored_by_an_earlier_version_prunes() -> None:
    stored = {"name": "rungs", "min_epochs": 1, "reduction": 3, "startup_trials": 5}

    assert not make(Pruner.model_validate(stored), "maximize").pauses


class Paused:
    """A study whose trials TPE is shown, as they pause and go on."""

    def __init__(self) -> None:
        self.history = History(1)
        space = Space.model_validate({"parameters": {"x": {"type": "float", "low": 0, "high": 1}}})
        spec = Sampler.model_validate({"name": "tpe"})
        self.proposer = Proposer(space, spec, ["minimize"], 0, self.history)
        self.space = self.proposer.distributions({"x": 0.5})

    def note(self, number: int, state: TrialState, *reports: float) -> None:
        row = new_row(number + 1, number, state, [number / 10])._replace(
            attempt=1, steps=list(range(1, len(reports) + 1)), report_values=list(reports)
        )
        self.history.add(row, self.space)

    def shown(self) -> dict[int, OptunaState]:
        trials = self.proposer._storage.get_all_trials(0)
        return {trial.number: trial.state for trial in trials}


def test_tpe_learns_from_paused_trials_until_they_go_on() -> None:
    study = Paused()
    study.note(0, TrialState.PAUSED, 0.5)
    study.note(1, TrialState.COMPLETE, 0.5)
    study.note(2, TrialState.WAITING)

    assert study.shown() == {0: OptunaState.PRUNED, 1: OptunaState.COMPLETE}
    study.note(0, TrialState.RUNNING, 0.5, 0.4)
    assert study.shown() == {0: OptunaState.RUNNING, 1: OptunaState.COMPLETE}
    study.note(0, TrialState.PAUSED, 0.5, 0.4, 0.3)
    assert study.shown()[0] is OptunaState.PRUNED
    study.note(0, TrialState.COMPLETE, 0.5, 0.4, 0.3)
    assert study.shown()[0] is OptunaState.COMPLETE
