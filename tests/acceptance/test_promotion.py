"""Trials that pause at a rung and are promoted, in real workers: nothing is trained twice."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import ok, tuner
from tests.support.studies import quick
from tests.support.waiting import STUCK, eventually
from tuner.commands import reading
from tuner.database.engine import Database
from tuner.database.readers import attempts
from tuner.trials import StudyState, Trial, TrialState

EPOCHS, TRIALS = 9, 9
# A trial is worth less the higher its number, so the best third is known late. Each epoch that is
# trained is a line of the ledger.
MODULE = """
import time
from pathlib import Path

def train(trial):
    saved = trial.checkpoint.latest
    begun = int((saved / "epoch").read_text()) if saved else 0
    for epoch in range(begun + 1, 10):
        with open("ledger", "a") as file:
            file.write(f"{trial.number} {epoch}\\n")
        trial.report(epoch / 100 - trial.number, epoch)
        if Path("hold").exists() and (trial.number, trial.attempt) == (0, 2):
            Path("held").touch()
            while True:
                time.sleep(0.01)
        if trial.params["saves"]:
            with trial.checkpoint.save() as folder:
                (folder / "epoch").write_text(str(epoch))
        if trial.should_stop():
            return
"""
STUDY = """
name: own
family: function
function: code_of_mine:train
objective: {metric: value, direction: maximize}
search: {x: {low: 0.0, high: 1.0}, saves: SAVES}
budget: {trials: 9, epochs: 9}
sampler: random
pruner: {name: rungs, resume: true}
resources: {workers: 1, max_attempts: 9}
"""


@pytest.fixture
def file(tmp_path: Path, environment: dict[str, str]) -> Path:
    """The study file, beside its code."""
    environment["TUNER_LEASE_SECONDS"] = "2"
    environment["TUNER_ALLOW_CODE"] = "true"
    (tmp_path / "code_of_mine.py").write_text(MODULE)
    (tmp_path / "own.yaml").write_text(STUDY.replace("SAVES", "true"))
    return tmp_path / "own.yaml"


@pytest.fixture
def workers() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that end with the test."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for worker in started:
        worker.kill()
        worker.wait()


def start(environment: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tuner", "worker", "--workers", "1"]
    return subprocess.Popen(command, env=environment, cwd=folder)


def ledger(folder: Path) -> Counter[tuple[int, int]]:
    """(number, epoch) → how often it was trained."""
    lines = (folder / "ledger").read_text().splitlines()
    return Counter((int(n), int(epoch)) for n, epoch in map(str.split, lines))


def check(database: Database, name: str = "own") -> list[Trial]:
    """Check that the study is over and its budget exact; returns its trials."""
    study = reading.find(database, name)
    trials = reading.load_trials(database, study)
    assert study.state is StudyState.FINISHED
    assert study.issued == len(trials)
    assert {t.state for t in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in trials:
        steps = [report.step for report in trial.reports]
        assert steps == list(range(1, len(steps) + 1))
        is_complete = trial.state is TrialState.COMPLETE
        assert len(steps) == EPOCHS if is_complete else len(steps) in (1, 3), trial
    return trials


def test_networks_go_on_from_their_checkpoint(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    file = quick(tmp_path, trials=TRIALS, epochs=EPOCHS)
    text = file.read_text().replace("startup_trials: 3", "resume: true")
    file.write_text(text.replace("workers: 1", "workers: 2"))
    best = ok("run", str(file), "--json", environment=environment, cwd=tmp_path)["best"]
    trials = check(database, "quick")
    assert best["metric"]["validation"] == best["metric"]["validation_from_weights"]
    resumed = [t for t in trials if t.attempt > 1]
    assert resumed, "more than one of nine is among the best third only later"
    with database.statement() as connection:
        listed = attempts.of_study(connection, reading.find(database, "quick").id)
    outcomes = Counter(a.outcome for a in listed)
    assert outcomes["paused"] == sum(t.attempt - 1 for t in trials)
    artifacts = tmp_path / "home" / "artifacts"
    assert list(artifacts.rglob("*.checkpoint")) == [], "nobody needs them any more"
    again = tuner("run", str(file), environment=environment, cwd=tmp_path)
    assert again.returncode == 0, again.stderr


def test_no_epoch_of_user_code_is_trained_twice(
    environment: dict[str, str], database: Database, file: Path, tmp_path: Path
) -> None:
    assert tuner("run", str(file), environment=environment, cwd=tmp_path).returncode == 0
    trials = check(database)
    trained = ledger(tmp_path)
    assert max(trained.values()) == 1
    assert set(trained) == {(t.number, report.step) for t in trials for report in t.reports}
    assert [t.attempt for t in trials] == [3, 2, 2, 1, 1, 1, 1, 1, 1]
    assert [len(t.reports) for t in trials] == [9, 3, 3, 1, 1, 1, 1, 1, 1]


def test_code_that_saves_nothing_starts_over_when_it_is_promoted(
    environment: dict[str, str], database: Database, file: Path, tmp_path: Path
) -> None:
    file.write_text(file.read_text().replace("saves: true", "saves: false"))
    assert tuner("run", str(file), environment=environment, cwd=tmp_path).returncode == 0
    trials = check(database)
    first_epochs = {n: times for (n, epoch), times in ledger(tmp_path).items() if epoch == 1}
    assert first_epochs == {t.number: t.attempt for t in trials}
    assert first_epochs[0] == 3


def test_a_killed_worker_of_a_promoted_trial_costs_at_most_its_epoch(
    environment: dict[str, str],
    database: Database,
    file: Path,
    tmp_path: Path,
    workers: list[subprocess.Popen[bytes]],
) -> None:
    (tmp_path / "hold").touch()
    assert tuner("launch", str(file), environment=environment, cwd=tmp_path).returncode == 0
    workers.append(start(environment, tmp_path))
    eventually((tmp_path / "held").exists)
    os.kill(workers[0].pid, signal.SIGKILL)
    workers += [start(environment, tmp_path) for _ in range(2)]
    eventually(lambda: reading.find(database, "own").state is StudyState.FINISHED)
    for worker in workers[1:]:
        worker.terminate()
        assert worker.wait(STUCK) == 0
    trials = check(database)
    repeated = {key: times for key, times in ledger(tmp_path).items() if times > 1}
    assert repeated == {(0, 2): 2}, "its checkpoint was one of epoch 1"
    # killed once, paused at the first rung, and at the second unless two others were there before
    assert trials[0].attempt in (3, 4)
