"""What an unfinished trial is expected to reach."""

from dataclasses import replace

import pytest

from tuner.cli.trial import print_trial
from tuner.commands.forecasting import forecast
from tuner.database.readers.attempts import LoggedAttempt
from tuner.trials import Cause, Direction, Report, Study, StudyState, Trial, TrialState

STUDY = Study(
    name="x",
    state=StudyState.ACTIVE,
    directions=("minimize",),
    metrics=("loss",),
    family="cnn",
    spec=None,
    max_trials=9,
)


def trial(number: int, state: TrialState, *values: float, direction: Direction) -> Trial:
    reports = tuple(Report(step, value) for step, value in enumerate(values, start=1))
    best = min(values) if direction == "minimize" else max(values)
    is_complete = state is TrialState.COMPLETE
    return Trial(number, state, {}, values=(best,) if is_complete else None, reports=reports)


def curves(direction: Direction) -> list[Trial]:
    """Three complete trials, which gain 0.4 after epoch 1 and 0.1 after epoch 3; a pruned one."""
    sign = 1 if direction == "minimize" else -1
    complete = [
        trial(
            n, TrialState.COMPLETE, *[sign * (s - d) for d in (0, 0, 0.3, 0.4)], direction=direction
        )
        for n, s in enumerate((0.7, 0.8, 0.9))
    ]
    return [*complete, trial(3, TrialState.PRUNED, sign * 0.95, direction=direction)]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_an_unfinished_trial_is_expected_to_go_on_as_others_did(direction: Direction) -> None:
    trials, study = curves(direction), replace(STUDY, directions=(direction,))
    sign = 1 if direction == "minimize" else -1

    expected = forecast(trials[3], trials, study)

    assert expected is not None
    assert expected.value == pytest.approx(sign * 0.55)
    assert expected.low < expected.value < expected.high
    assert expected.complete == 3


def test_a_forecast_stays_within_what_a_metric_can_be() -> None:
    study = replace(STUDY, directions=("maximize",), metrics=("accuracy",))
    trials = [
        trial(n, TrialState.COMPLETE, s, s, s + 0.3, direction="maximize")
        for n, s in enumerate((0.1, 0.3, 0.69))
    ]
    running = trial(3, TrialState.RUNNING, 0.95, direction="maximize")

    expected = forecast(running, [*trials, running], study)

    assert expected is not None
    assert expected.value == expected.high == 1.0


def test_a_forecast_of_percents_is_not_cut_at_one() -> None:
    study = replace(STUDY, directions=("maximize",), metrics=("accuracy",))
    trials = [
        trial(n, TrialState.COMPLETE, s, s, s + 4, direction="maximize")
        for n, s in enumerate((70.0, 75.0, 80.0))
    ]
    running = trial(3, TrialState.RUNNING, 78.0, direction="maximize")

    expected = forecast(running, [*trials, running], study)

    assert expected is not None
    assert expected.value == pytest.approx(82)


def test_nothing_is_forecast_of_what_is_complete_or_unknown() -> None:
    trials = curves("minimize")
    silent = Trial(4, TrialState.RUNNING, {})

    assert forecast(trials[0], trials, STUDY) is None
    assert forecast(silent, [*trials, silent], STUDY) is None
    assert forecast(trials[3], trials[2:], STUDY) is None  # one complete trial is no curve


def test_it_is_shown_with_its_interval(capsys: pytest.CaptureFixture[str]) -> None:
    trials = curves("minimize")
    print_trial(STUDY, trials[3], [], forecast(trials[3], trials, STUDY), as_json=False)

    shown = " ".join(capsys.readouterr().out.split())
    assert "at its end 0.55 expected, " in shown
    assert "in 80 % of cases, by the curves of 3 complete trials" in shown


def test_an_attempt_that_paused_at_a_rung_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    attempts = [
        LoggedAttempt(0, attempt, cause, message, None, None, None, None, None)
        for attempt, cause, message in [
            (1, None, None),
            (2, Cause.LOST, "its worker is gone"),
            (3, None, None),
        ]
    ]
    print_trial(STUDY, curves("minimize")[0], attempts, None, as_json=False)

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "attempt 1 paused at a rung" in lines
    assert "attempt 2 lost: its worker is gone" in lines
    assert not any(line.startswith("attempt 3") for line in lines)
