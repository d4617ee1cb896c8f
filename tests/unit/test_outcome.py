"""How `tuner run` ends: what it counts, and what it says where there is nothing to export."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tuner.cli import outcome
from tuner.trials import Study, StudyState, TrialState

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
STUDY = Study(
    name="my study", state=StudyState.PAUSED, directions=("maximize",), metrics=("accuracy",),
    family="function", spec=None, max_trials=10, created_at=BEGIN,
)  # fmt: skip
COUNTS = dict.fromkeys(TrialState, 0)


def ended(seconds: float) -> Study:
    return replace(STUDY, finished_at=BEGIN + timedelta(seconds=seconds))


def test_studies_take_from_the_first_launch_to_the_last_end() -> None:
    assert outcome._seconds([ended(7.5)]) == 7.5
    assert outcome._seconds([ended(7.5), ended(20), ended(3)]) == 20
    assert outcome._seconds([ended(7.5), STUDY]) is None


def test_what_is_named_where_trials_have_failed() -> None:
    failed = {**COUNTS, TrialState.FAILED: 2}
    assert outcome._how_to_continue(STUDY, "tuner run s.yaml --name x", failed) == (
        "`tuner trials 'my study' --state failed` lists the failed trials. Once the cause is "
        "fixed, `tuner retry 'my study'` queues them again and `tuner run s.yaml --name x` "
        "continues"
    )
    assert outcome._how_to_continue(STUDY, "tuner run s.yaml", COUNTS) == (
        "Continue with `tuner run s.yaml`"
    )
