"""The live view: what it shows of a study, without a terminal and without a database."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from tuner.cli import live
from tuner.trials import Study, StudyState, Trial, TrialState

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
STUDY = Study(
    name="digits [red]", state=StudyState.ACTIVE, directions=("maximize",), metrics=("accuracy",),
    family="cnn", spec=None, max_trials=10, id=1,
)  # fmt: skip


def trial(number: int, state: TrialState, value: float | None = None) -> Trial:
    start = NOW - timedelta(seconds=60 - number)
    end = start + timedelta(seconds=5) if state.is_finished else None
    return Trial(
        number=number, state=state, params={"learning_rate": 0.0123456, "optimizer": "[b]sgd"},
        values=None if value is None else (value,), started_at=start, finished_at=end,
    )  # fmt: skip


@pytest.fixture
def render(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Clock":
            return NOW  # type: ignore[return-value]

    monkeypatch.setattr(live, "datetime", Clock)

    def show(study: Study, *trials: Trial) -> str:
        console = Console(file=io.StringIO(), width=100, record=True)
        view = live.LiveView(None, [study], console)  # type: ignore[arg-type]
        view._studies[0]._trials = {t.number: t for t in trials}
        console.print(view._render())
        view._end.close()
        view._ended.close()
        return console.export_text()

    return show


def test_an_empty_study(render: Any) -> None:
    text = render(STUDY)
    assert "digits [red]" in text
    assert "0/10" in text
    assert "starting" in text


def test_a_running_study(render: Any) -> None:
    text = render(
        STUDY,
        trial(0, TrialState.COMPLETE, 0.5),
        trial(1, TrialState.COMPLETE, 0.9),
        trial(2, TrialState.PRUNED, 0.1),
        trial(3, TrialState.FAILED),
        trial(4, TrialState.RUNNING),
    )
    assert "4/10" in text
    assert "running 1  complete 2  pruned 1  failed 1" in text
    assert "4.0 trials/min" in text
    assert "1 min 30 s left" in text
    assert "accuracy 0.9  trial 1" in text
    assert "learning_rate 0.01235" in text
    assert "optimizer [b]sgd" in text
    assert "history  ▁█  best so far  ▁█" in text


def test_a_study_without_a_limit(render: Any) -> None:
    text = render(replace(STUDY, max_trials=None), trial(0, TrialState.COMPLETE, 0.5))
    assert "1/∞" in text
    assert "left" not in text


def test_without_a_terminal_a_line_says_what_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(live.time, "monotonic", lambda: now)
    progress = live._StudyProgress(replace(STUDY, name="a", max_trials=1))
    assert progress.next_line(named=False) is None  # nothing has begun
    progress._trials = {0: trial(0, TrialState.RUNNING)}
    assert progress.next_line(named=True) == "a: 0/1 trial, 1 running"
    now += 60
    assert progress.next_line(named=True) is None  # nothing has changed
    progress._trials = {0: trial(0, TrialState.RUNNING), 1: trial(1, TrialState.RUNNING)}
    assert progress.next_line(named=True) == "a: 0/1 trial, 2 running"
    progress._trials = {0: trial(0, TrialState.COMPLETE, 0.5)}
    assert progress.next_line(named=True) is None  # it is too soon
    line = "a: 1/1 trial, 1 complete; best accuracy 0.5 (trial 0)"
    assert progress.next_line(named=True, is_last=True) == line
    assert progress.next_line(named=True, is_last=True) is None


def test_sparklines() -> None:
    assert live.sparkline([]) == ""
    assert live.sparkline([1.0]) == "▁"
    assert live.sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert live.sparkline([0.0, float("nan"), 1.0]) == "▁█"
    assert len(live.sparkline([float(n) for n in range(500)])) == live.SPARK_WIDTH
