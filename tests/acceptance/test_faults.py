"""What training code may do to its executor: every trial ends once, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.commands import tuner
from tests.support.waiting import STUCK, eventually
from tuner.commands import reading
from tuner.database.engine import Database
from tuner.settings import Settings
from tuner.trials import Cause, Study, StudyState, Trial, TrialState
from tuner.worker import executors
from tuner.worker.devices import Slot
from tuner.worker.loop import Worker

MARK = "FAULTS_MARK"  # environment variable of all that a test starts
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's /proc")

STUDY = """
name: faults
family: function
function: faults:train
objective: {{metric: value, direction: maximize}}
search: {{x: {{low: 0.0, high: 1.0}}}}
budget: {{trials: {trials}, epochs: 3}}
sampler: random
pruner: none
resources: {{device: cpu, max_attempts: 2, workers: 1}}
"""

# One fault a trial, by its number; the trials after it must not notice.
MISBEHAVING = r"""
import os, signal, subprocess, sys, time
from pathlib import Path

PIDS = Path(__file__).with_name("pids")

def leave_processes():
    for detach in (False, True):
        if os.fork() == 0:
            if detach:  # a daemon: a session of its own, and no parent
                os.setsid()
                if os.fork():
                    os._exit(0)
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            with PIDS.open("a") as file:
                file.write(f"{os.getpid()}\n")
            time.sleep(600)
    while not PIDS.exists() or len(PIDS.read_text().split()) < 2:
        time.sleep(0.01)

def write_garbage():
    for stream in (1, 2):
        os.write(stream, os.urandom(1 << 20))
        os.write(stream, b"\xff\xfe\x00\x1b[2J" * 1000)
    print("\ud800 \x1b]0;title\x07", flush=True)

def close_output():
    sys.stdout.close()
    sys.stderr = None
    os.close(1)
    os.close(2)

def ignore_signals():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

def look_for_what_was_left():
    for pid in map(int, PIDS.read_text().split()):
        assert not Path(f"/proc/{pid}").exists(), "the trial before has left a process behind"

def spoil_the_conversation():
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"\0\0\0\4junk")
        except OSError:
            pass

FAULTS = [leave_processes, look_for_what_was_left, write_garbage, close_output, ignore_signals,
          lambda: os._exit(5), spoil_the_conversation]

def train(trial):
    trial.report(0.5, 1)
    if trial.number < len(FAULTS):
        FAULTS[trial.number]()
    trial.report(0.6, 2)
    trial.report(0.7, 3)
    return trial.params["x"]
"""

# Deaf to every signal, with a daemon that is deaf too; only its first attempt.
DEAF = r"""
import os, signal, time

def train(trial):
    trial.report(0.1, 1)
    if trial.number == 0 and trial.attempt == 1:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                open("daemon", "w").close()
                time.sleep(600)
            os._exit(0)
        while not trial.should_stop():
            time.sleep(0.05)
            trial.report(0.2, 2)
        return None
    trial.report(0.3, 3)
    return 1.0
"""

FILLING = r"""
import os

def train(trial):
    for step in (1, 2, 3):
        with trial.checkpoint.save() as folder:
            size = 2 * 2**20 if trial.number == 1 else 1000
            (folder / "model").write_bytes(os.urandom(size))
        trial.report(0.1 * step, step)
    return 1.0
"""


@pytest.fixture
def marked(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment of a test after which no process may be left that it has started."""
    mark = uuid.uuid4().hex
    yield {**environment, MARK: mark}
    try:
        eventually(lambda: not carrying(mark))
    finally:
        for process in carrying(mark):
            process.kill()


def carrying(mark: str) -> list[psutil.Process]:
    """The processes whose environment has the mark."""
    processes = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if environment.get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
            processes.append(process)
    return processes


def write(folder: Path, module: str, trials: int) -> Path:
    (folder / "faults.py").write_text(module)
    path = folder / "faults.yaml"
    path.write_text(STUDY.format(trials=trials))
    return path


def outcome(database: Database) -> tuple[Study, list[Trial]]:
    study = reading.find(database, "faults")
    return study, reading.load_trials(database, study)


def temporary(home: Path) -> list[Path]:
    """What was written aside and never renamed."""
    return [p for p in (home / "artifacts").rglob("*") if p.name.startswith(".")]


@on_linux
def test_what_a_trial_does_to_its_process_harms_no_other(
    marked: dict[str, str], database: Database, tmp_path: Path
) -> None:
    file = write(tmp_path, MISBEHAVING, trials=9)
    completed = tuner("run", str(file), environment=marked, cwd=tmp_path)
    assert completed.returncode == 0, completed.stderr
    study, trials = outcome(database)
    assert (study.state, study.issued) == (StudyState.FINISHED, 9)
    assert [t.number for t in trials] == list(range(9))
    ends = [(t.state, t.cause, t.message) for t in trials]
    lost = (TrialState.FAILED, Cause.LOST)
    assert ends[5] == (*lost, "the executor exited with code 5")
    assert ends[6][:2] == lost
    assert [t.attempt for t in trials] == [1, 1, 1, 1, 1, 2, 2, 1, 1]
    for number in (0, 1, 2, 3, 4, 7, 8):
        assert ends[number] == (TrialState.COMPLETE, None, None)
        assert [r.step for r in trials[number].reports] == [1, 2, 3]
    assert temporary(Path(marked["TUNER_HOME"])) == []
    logs = tuner("logs", "faults", "2", environment=marked)
    assert logs.returncode == 0
    assert "\x1b]" not in logs.stdout


@on_linux
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_code_that_is_deaf_to_signals_ends_with_its_worker(
    marked: dict[str, str], database: Database, tmp_path: Path, how: signal.Signals
) -> None:
    marked = {**marked, "TUNER_LEASE_SECONDS": "2"}
    file = write(tmp_path, DEAF, trials=2)
    assert tuner("launch", str(file), environment=marked).returncode == 0
    command = [sys.executable, "-m", "tuner", "worker", "--workers", "1", "--allow-code"]
    worker = subprocess.Popen(command, env=marked, stderr=subprocess.DEVNULL)
    try:
        eventually((tmp_path / "daemon").exists)
        started = carrying(marked[MARK])
        assert len(started) >= 4  # worker, guard, executor, daemon
        worker.send_signal(how)
        assert worker.wait(STUCK) == (0 if how is signal.SIGTERM else -how)
        _, alive = psutil.wait_procs(started, timeout=STUCK)
        assert alive == []
    finally:
        worker.kill()
        worker.wait()
    completed = tuner("run", str(file), environment=marked, cwd=tmp_path)
    assert completed.returncode == 0, completed.stderr
    study, trials = outcome(database)
    assert (study.state, study.issued) == (StudyState.FINISHED, 2)
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 2
    assert trials[0].attempt == 2


@pytest.fixture
def small_disk(marked: dict[str, str]) -> Iterator[Path]:
    """The folder of artifacts on a file system of one mebibyte."""
    folder = Path(marked["TUNER_HOME"]) / "artifacts"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@on_linux
def test_a_full_disk_fails_the_trial_that_fills_it_and_leaves_nothing_half_written(
    marked: dict[str, str], small_disk: Path, database: Database, tmp_path: Path
) -> None:
    file = write(tmp_path, FILLING, trials=4)
    run: dict[str, Any] = {"environment": marked, "cwd": tmp_path}
    completed = tuner("run", str(file), **run)
    assert completed.returncode == 0, completed.stderr
    study, trials = outcome(database)
    assert (study.state, study.issued) == (StudyState.FINISHED, 4)
    complete = TrialState.COMPLETE
    assert [t.state for t in trials] == [complete, TrialState.FAILED, complete, complete]
    assert "no space left on the device" in (trials[1].message or "")
    assert temporary(Path(marked["TUNER_HOME"])) == []


LEAKING = """
KEPT = []

def train(trial):
    KEPT.append(b"x" * (64 << 20))
    trial.report(trial.params["x"], 3)
"""


@on_linux
def test_an_executor_that_keeps_ever_more_memory_is_replaced(
    marked: dict[str, str],
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = write(tmp_path, LEAKING, trials=5)
    assert tuner("launch", str(file), environment=marked).returncode == 0
    monkeypatch.setenv(MARK, marked[MARK])
    monkeypatch.setitem(executors.MAX_GROWTH, "cpu", 100 << 20)  # over the first trial's
    began: list[int] = []
    start = executors.start

    def counting(slot: Slot, *, warm: bool = True) -> executors.Executor:
        executor = start(slot, warm=warm)
        began.append(executor.process.pid)
        return executor

    monkeypatch.setattr(executors, "start", counting)
    settings = Settings(home=Path(marked["TUNER_HOME"]))
    only = {"only": ["faults"], "until_done": True, "allow_code": True}
    Worker(database, settings, [Slot("cpu", 1)], **only).run()  # type: ignore[arg-type]
    _, trials = outcome(database)
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 5
    assert len(began) == 2  # the third trial was one too many
