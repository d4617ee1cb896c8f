import math
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support import synthetic
from tuner.figures import text
from tuner.report import findings
from tuner.trials import Cause, Report, Trial, TrialState, best_trial

STUDY = synthetic.study()


def _trial(number: int, state: TrialState, epochs: int, value: float | None = 0.5) -> Trial:
    return Trial(
        number,
        state,
        {},
        values=None if value is None else (value,),
        reports=tuple(Report(i + 1, 0.5) for i in range(epochs)),
    )


def test_savings_count_pruning_and_early_stopping_apart() -> None:
    trials = [
        _trial(0, TrialState.COMPLETE, 20),
        _trial(1, TrialState.COMPLETE, 15),
        _trial(2, TrialState.PRUNED, 1),
        _trial(3, TrialState.PRUNED, 4),
        _trial(4, TrialState.FAILED, 7),
        _trial(5, TrialState.RUNNING, 2),
    ]
    savings = findings.measure_savings(STUDY, trials)
    assert savings == findings.Savings(run=40, full=80, pruned=35, stopped_early=5)
    assert savings.share == pytest.approx(35 / 80)


def test_no_savings_without_epochs_or_results() -> None:
    assert findings.measure_savings(STUDY, []) is None
    assert findings.measure_savings(replace(STUDY, spec=None), synthetic.trials(5)) is None


def test_counts_fill_the_bar_up_to_the_budget() -> None:
    counts = findings.count_by_state(STUDY, synthetic.trials(20, running=2))
    assert counts.finished == 18
    assert sum(share for _, _, share in counts.bar) == pytest.approx(50)
    assert sum(n for _, n, _ in counts.bar) == 20
    more_than_the_budget = findings.count_by_state(STUDY, synthetic.trials(60))
    assert sum(share for _, _, share in more_than_the_budget.bar) == pytest.approx(100)


def test_the_best_is_finite() -> None:
    trials = [
        _trial(i, TrialState.COMPLETE, 1, v)
        for i, v in enumerate((0.1, math.inf, math.nan, 0.3, 0.3, -math.inf))
    ]
    best = best_trial(trials, STUDY.direction)
    assert best is not None
    assert best.number == 3
    assert [t.number for t in findings.rank_best(STUDY, trials)] == [3, 4, 0]
    assert [
        t.number for t in findings.rank_best(synthetic.study(direction="minimize"), trials)
    ] == [
        0,
        3,
        4,
    ]


def test_failures_are_grouped_with_the_latest_message() -> None:
    failed = [
        replace(
            _trial(i, TrialState.FAILED, 0, None),
            cause=cause,
            message=f"message {i}",
            finished_at=synthetic.START + timedelta(seconds=10 - i),
        )
        for i, cause in enumerate([Cause.LOST, Cause.DIVERGED, Cause.DIVERGED, None])
    ]
    failures = findings.group_failures(failed)
    assert [(f.cause, f.how_many, f.message, f.numbers) for f in failures] == [
        ("diverged", 2, "message 1", "1, 2"),
        ("worker lost", 1, "message 0", "0"),
        ("not recorded", 1, "message 3", "3"),
    ]
    many = [replace(failed[0], number=i) for i in range(30)]
    assert findings.group_failures(many)[0].numbers.endswith("11 and 18 more")


def test_every_cause_has_words() -> None:
    assert set(findings.CAUSES) == {c.value for c in Cause}


def test_how_the_best_was_found() -> None:
    trials = synthetic.trials(40)
    best = best_trial(trials, STUDY.direction)
    assert best is not None
    assert findings.describe_best(STUDY, trials, best) == [
        "Finished 2026-11-03 09:36 UTC, as number 35 of 40, 6 min 14 s after the start.",
        "Trained 20 epochs in 39 s; reached its value after epoch 8.",
        "Ahead of the next, trial 5, by 0.0003552, and of the median complete trial by 0.04586.",
    ]


def test_how_found_with_little_to_say() -> None:
    trial = _trial(0, TrialState.COMPLETE, 0)
    assert findings.describe_best(STUDY, [trial], trial) == []
    twin = replace(trial, number=1, attempt=2)
    assert findings.describe_best(STUDY, [trial, twin], trial) == [
        "Level with trial 1, which came later."
    ]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("digits", "tuner export digits\ntuner run exports/digits/reproduce.yaml"),
        (
            "my study; rm -rf ~",
            "tuner export 'my study; rm -rf ~'\n"
            "tuner run 'exports/my study; rm -rf ~/reproduce.yaml'",
        ),
    ],
)
def test_the_commands_are_safe_to_paste(name: str, command: str) -> None:
    trial = _trial(0, TrialState.COMPLETE, 1)
    assert findings.commands_to_reproduce(synthetic.study(name=name), trial) == command


def test_nothing_to_reproduce() -> None:
    assert findings.commands_to_reproduce(STUDY, None) is None
    trial = _trial(0, TrialState.COMPLETE, 1)
    assert findings.commands_to_reproduce(replace(STUDY, spec=None), trial) is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "–"),
        (-1, "0.0 s"),
        (4.24, "4.2 s"),
        (48, "48 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (18_720, "5 h 12 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations(seconds: float | None, expected: str) -> None:
    assert text.duration(seconds) == expected
