"""Ctrl-C, SIGTERM and a closed terminal at any instant of `tuner run`: paused, and it goes on."""

import os
import pty
import subprocess
import sys
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, Signals

import pytest

from tests.support.commands import tuner
from tests.support.striking import striking
from tests.support.studies import quick
from tests.support.waiting import STUCK, eventually
from tuner.commands import reading
from tuner.database.engine import Database
from tuner.errors import StudyNotFoundError
from tuner.trials import StudyState, TrialState

# as long as `hold` is there, trials wait for it, or for being told to stop
MODULE = """
import time
from pathlib import Path

def train(trial):
    for step in range(1, 4):
        trial.report(trial.params["x"], step=step)
        if Path("hold").exists():
            Path(f"held-{trial.number}").touch()
            while Path("hold").exists() and not trial.should_stop():
                time.sleep(0.01)
    return trial.params["x"]
"""
STUDY = """
name: own
family: function
function: code_of_mine:train
objective: {metric: accuracy, direction: maximize}
search: {x: {low: 0.0, high: 1.0}}
budget: {trials: 2, epochs: 3}
pruner: none
resources: {workers: 1}
"""
# the program that follows, with its standard input as the terminal that its signals come from
IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
CONFIRM = "confirm: {top: 2, seeds: 2, margin: 0.01}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The study file, beside its code."""
    (tmp_path / "code_of_mine.py").write_text(MODULE)
    (tmp_path / "own.yaml").write_text(STUDY)
    return tmp_path / "own.yaml"


def state_of(database: Database, name: str) -> StudyState | None:
    try:
        return reading.find(database, name).state
    except StudyNotFoundError:
        return None


def last_line(completed: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in completed.stderr, completed.stderr
    assert "Exception ignored" not in completed.stderr, completed.stderr
    return completed.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("number", "point"),
    [
        (SIGTERM, "tuner.cli.app"),
        (SIGINT, "sqlalchemy"),
        (SIGINT, "tuner.cli.interrupts:install:after"),
        (SIGTERM, "tuner.database.engine:connect:before"),
        (SIGHUP, "tuner.user_code.source:fingerprint:before"),
    ],
)
def test_before_the_launch_nothing_is_there(
    environment: dict[str, str],
    database: Database,
    file: Path,
    tmp_path: Path,
    number: Signals,
    point: str,
) -> None:
    struck = striking(environment, tmp_path / "strike", point, number)
    completed = tuner("run", str(file), environment=struck, cwd=tmp_path)
    assert last_line(completed) == "error: interrupted"
    assert completed.returncode == 128 + number
    assert state_of(database, "own") is None


@pytest.mark.parametrize(
    ("point", "numbers"),
    [
        ("tuner.database.studies:create:before", [SIGTERM]),
        ("tuner.commands.launching:launch_all:after", [SIGHUP, SIGTERM]),  # as systemd sends them
        ("optuna", [SIGTERM]),
        ("tuner.worker.loop:Worker._register:before", [SIGHUP]),
        ("tuner.worker.pool:Pool.start:after", [SIGTERM]),
        ("tuner.worker.loop:Worker._claim_for:after", [SIGINT, SIGINT]),
    ],
)
def test_from_the_launch_on_the_study_is_paused(
    environment: dict[str, str],
    database: Database,
    file: Path,
    tmp_path: Path,
    point: str,
    numbers: list[Signals],
) -> None:
    (tmp_path / "hold").touch()
    struck = striking(environment, tmp_path / "strike", point, *numbers)
    completed = tuner("run", str(file), environment=struck, cwd=tmp_path)
    assert "`own` paused after 0 of 2 trials. Continue with " in last_line(completed)
    assert completed.returncode == 128 + numbers[0]
    assert state_of(database, "own") is StudyState.PAUSED
    trials = reading.load_trials(database, reading.find(database, "own"))
    assert {trial.state for trial in trials} <= {TrialState.WAITING}


def test_a_confirmation_is_paused_and_a_closed_reader_is_no_traceback(
    environment: dict[str, str], database: Database, file: Path, tmp_path: Path
) -> None:
    file.write_text(STUDY + CONFIRM)
    point = "tuner.commands.confirming:Confirmation._queue:after"
    struck = striking(environment, tmp_path / "strike", point, SIGTERM)
    completed = tuner("run", str(file), environment=struck, cwd=tmp_path)
    assert last_line(completed).startswith("confirmation paused. Continue with ")
    assert completed.returncode == 128 + SIGTERM
    assert state_of(database, "own") is StudyState.FINISHED
    assert state_of(database, "own-confirm") is StudyState.PAUSED

    # its reader leaves in the middle of the confirmation, as `tee` does with the terminal
    (tmp_path / "hold").touch()
    command = [sys.executable, "-m", "tuner", "run", str(file)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, cwd=tmp_path, **pipes) as process:
        eventually(lambda: list(tmp_path.glob("held-*")))
        process.stdout.close()
        process.stderr.close()
        process.send_signal(SIGHUP)
        assert process.wait(STUCK) == 128 + SIGHUP
    assert state_of(database, "own-confirm") is StudyState.PAUSED

    # and in the midst of the export, what is half-written goes
    (tmp_path / "hold").unlink()
    point = "tuner.export.manifest:write:before"
    struck = striking(environment, tmp_path / "strike", point, SIGHUP)
    completed = tuner("run", str(file), environment=struck, cwd=tmp_path)
    assert "`own` finished after 2 of 2 trials; the steps after it were interrupted" in last_line(
        completed
    )
    assert completed.returncode == 128 + SIGHUP
    assert list((tmp_path / "exports").iterdir()) == []
    completed = tuner("run", str(file), environment=environment, cwd=tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert (tmp_path / "exports" / "own" / "result.json").exists()


def test_a_closed_terminal_pauses_and_running_again_goes_on(
    environment: dict[str, str], database: Database, file: Path, tmp_path: Path
) -> None:
    """Standard output is a terminal of its own, which closes; standard error is read to its end."""
    (tmp_path / "hold").touch()
    ours, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", IN_TERMINAL, sys.executable, "-m", "tuner", "run", str(file)],
        env=environment, cwd=tmp_path, text=True,
        stdin=terminal, stdout=terminal, stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(terminal)
        eventually((tmp_path / "held-0").exists)
        os.close(ours)
        error = process.communicate(timeout=STUCK)[1]
    assert process.returncode == 128 + SIGHUP
    assert "Traceback" not in error
    assert "`own` paused after 0 of 2 trials. Continue with " in error.splitlines()[-1]
    assert state_of(database, "own") is StudyState.PAUSED
    (tmp_path / "hold").unlink()
    completed = tuner("run", str(file), "--json", environment=environment, cwd=tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert state_of(database, "own") is StudyState.FINISHED


def test_weights_that_are_measured_and_a_second_ctrl_c(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    """The first comes while the weights are measured, the second while that is undone."""
    file = quick(tmp_path, "digits", trials=1, epochs=1)
    point = "tuner.export.evaluation:evaluate:before"
    struck = striking(environment, tmp_path / "strike", point, SIGINT, SIGINT)
    completed = tuner("run", str(file), environment=struck, cwd=tmp_path)
    assert completed.returncode == 128 + SIGINT
    assert "Traceback" not in completed.stderr
    assert state_of(database, "digits") is StudyState.FINISHED
    completed = tuner("run", str(file), environment=environment, cwd=tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert [folder.name for folder in (tmp_path / "exports").glob("[!.]*")] == ["digits"]


def test_while_the_embedded_server_starts(
    environment: dict[str, str], home: Path, file: Path, tmp_path: Path
) -> None:
    del environment["TUNER_DATABASE_URL"]
    in_own_home = {**environment, "TUNER_HOME": str(home)}
    point = "tuner.database.embedded.client:_receive:before"
    struck = striking(in_own_home, tmp_path / "strike", point, SIGTERM)
    completed = tuner("run", str(file), environment=struck, cwd=tmp_path)
    assert last_line(completed) == "error: interrupted"
    assert completed.returncode == 128 + SIGTERM
    completed = tuner("list", environment=in_own_home)
    assert (completed.returncode, "own" in completed.stdout) == (0, False), completed.stderr
