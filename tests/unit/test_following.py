"""What `tuner logs --follow` prints of a text that grows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tuner import artifacts
from tuner.cli import logs
from tuner.cli.logs import Lines
from tuner.errors import overwritten
from tuner.settings import Settings
from tuner.trials import Study, StudyState, Trial, TrialState


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb\n", "a\nb\n"),
        ("10 %\r20 %\r100 %\ndone\n", "100 %\ndone\n"),
        ("10 %\r20 %\r", "20 %"),  # what writes its \r behind the bar
        ("\r10 %\r20 %\n", "20 %\n"),
        ("windows\r\nlines\r\n", "windows\nlines\n"),
        ("\r\n\r\r", "\n"),
    ],
)
def test_of_a_progress_bar_its_end_stays(text: str, expected: str) -> None:
    assert overwritten(text) == expected


def test_a_line_is_printed_when_it_is_whole() -> None:
    lines = Lines(is_terminal=False)
    chunks = [b"one\ntw", b"o\n 5 %\r10", b" %\r", b"99 %\r", b"\n\xc3", b"\xa4\x1b[31m\trest"]
    assert [lines.add(chunk) for chunk in chunks] == [
        "one\n", "two\n", "", "", "99 %\n", "",
    ]  # fmt: skip
    assert lines.end() == "ä\\x1b[31m\trest\n"
    assert lines.end() == ""


def test_on_a_terminal_a_progress_bar_moves() -> None:
    lines = Lines(is_terminal=True)
    assert lines.add(b"one\n 5 %\r") == "one\n 5 %"
    assert lines.add(b"50 %") == "\r\x1b[K50 %"
    assert lines.add(b"\r100 %\nnext") == "\r\x1b[K100 %\n"
    assert lines.add(b"\n") == "next\n"


def test_a_bar_that_moves_for_hours_is_not_kept() -> None:
    lines = Lines(is_terminal=False)
    for step in range(10_000):
        assert lines.add(f"\r{step} of 10000".encode()) == ""
    assert len(lines._open) < 20


def test_attempts_that_have_ended_meanwhile_are_printed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second attempt and the third have come and gone while the first was looked at."""
    settings = Settings(home=tmp_path)
    study = Study(
        name="a", state=StudyState.FINISHED, directions=("maximize",), metrics=("x",),
        family="function", spec=None, max_trials=1, id=7,
    )  # fmt: skip
    for attempt in (1, 2, 3):
        folder = artifacts.attempt_folder(settings, 7, 0, attempt)
        folder.mkdir(parents=True)
        (folder / artifacts.LOG_FILE).write_text(f"attempt {attempt}\n")
    ended = Trial(number=0, state=TrialState.COMPLETE, params={}, attempt=3, worker="host:1")
    monkeypatch.setattr(logs.reading, "load_trial", lambda *_: ended)
    monkeypatch.setattr(logs.reading, "find", lambda *_: study)
    first = replace(ended, state=TrialState.RUNNING, attempt=1)
    database: Any = None
    logs._LogFollower(settings, database, study, first).run(None)
    assert capsys.readouterr().out == "attempt 1\nattempt 2\nattempt 3\n"
