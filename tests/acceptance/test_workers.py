"""Workers as processes: exact budgets, and nothing lost when one of them is killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.support.commands import tuner
from tests.support.studies import quick, slow
from tests.support.waiting import STUCK, eventually
from tuner.commands import reading
from tuner.database import schema
from tuner.database.embedded.places import find
from tuner.database.engine import Database
from tuner.errors import DatabaseError, StudyNotFoundError
from tuner.settings import Settings
from tuner.trials import StudyState, Trial, TrialState
from tuner.worker import executors as executors_module
from tuner.worker.devices import Slot
from tuner.worker.loop import Worker

DONE = {TrialState.COMPLETE, TrialState.PRUNED}


@contextmanager
def workers(
    number: int, environment: dict[str, str], *arguments: str
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Worker processes with one executor each; none survives the block."""
    command = [sys.executable, "-m", "tuner", "worker", "--workers", "1", *arguments]
    started = [
        subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) for _ in range(number)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def running(database: Database, name: str, pid: int) -> list[Trial]:
    """The trials that a worker trains now and has reported on."""
    study = reading.find(database, name)
    return [
        t
        for t in reading.load_trials(database, study)
        if t.state is TrialState.RUNNING and t.reports and str(t.worker).endswith(f":{pid}")
    ]


def executors(worker: int) -> list[psutil.Process]:
    """The executor processes of a worker."""
    return psutil.Process(worker).children(recursive=True)


def test_four_workers_finish_exactly_fifty_trials(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    file = quick(tmp_path, "fifty", trials=50, epochs=1)
    assert tuner("launch", str(file), environment=environment).returncode == 0
    with workers(4, environment, "--until-done") as started:
        for process in started:
            assert process.wait(STUCK) == 0
    study = reading.find(database, "fifty")
    trials = reading.load_trials(database, study)
    assert [t.number for t in trials] == list(range(50))
    assert {t.state for t in trials} <= DONE
    assert (study.state, study.issued) == (StudyState.FINISHED, 50)
    assert len({t.worker for t in trials}) == 4


def test_killing_a_worker_in_the_middle_loses_no_trial(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    environment = {**environment, "TUNER_LEASE_SECONDS": "2"}
    file = slow(tmp_path, trials=2)
    assert tuner("launch", str(file), environment=environment).returncode == 0
    with workers(2, environment) as (victim, _):
        eventually(lambda: running(database, "slow", victim.pid))
        lost = running(database, "slow", victim.pid)[0]
        orphans = executors(victim.pid)
        assert orphans
        victim.kill()
        victim.wait()
        _, alive = psutil.wait_procs(orphans, timeout=STUCK)
        assert not alive
        study = reading.find(database, "slow")

        def requeued() -> bool:
            trial = reading.load_trials(database, study)[lost.number]
            return trial.state is TrialState.WAITING and len(trial.reports) >= len(lost.reports)

        eventually(requeued)
    # somebody else takes it over, with its number; two epochs are enough to see it end
    resumed = tuner("run", str(file), "--set", "budget.patience=1", "--set", "budget.target=0.2",
                    environment=environment, cwd=tmp_path)  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    trials = reading.load_trials(database, study)
    assert trials[lost.number].attempt >= 2 or trials[1 - lost.number].state in DONE
    assert study.issued == 2


def test_a_killed_executor_is_replaced_and_its_trial_tried_again(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    file = slow(tmp_path, trials=1)
    assert tuner("launch", str(file), environment=environment).returncode == 0
    with workers(1, environment) as (worker,):
        eventually(lambda: running(database, "slow", worker.pid))
        first = executors(worker.pid)
        os.kill(first[0].pid, signal.SIGKILL)
        eventually(lambda: [t.attempt for t in running(database, "slow", worker.pid)] == [2])
        assert executors(worker.pid)[0].pid != first[0].pid
        worker.send_signal(signal.SIGTERM)  # drains: the trial goes back to the queue
        assert worker.wait(STUCK) == 0
    trial = reading.load_trials(database, reading.find(database, "slow"))[0]
    assert (trial.state, trial.attempt, trial.worker) == (TrialState.WAITING, 2, None)


def test_pausing_a_study_stops_its_trials_everywhere(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    file = slow(tmp_path, trials=3)
    assert tuner("launch", str(file), environment=environment).returncode == 0
    with workers(1, environment) as (worker,):
        eventually(lambda: running(database, "slow", worker.pid))
        assert tuner("pause", "slow", environment=environment).returncode == 0
        study = reading.find(database, "slow")
        eventually(lambda: reading.load_trials(database, study)[0].state is TrialState.WAITING)
        assert tuner("resume", "slow", environment=environment).returncode == 0
        eventually(lambda: running(database, "slow", worker.pid))
        assert running(database, "slow", worker.pid)[0].attempt == 2
        command = [sys.executable, "-m", "tuner", "logs", "slow", "0", "--follow"]
        following = subprocess.Popen(command, env=environment)
        assert tuner("delete", "slow", "--yes", environment=environment).returncode == 2
        assert tuner("stop", "slow", environment=environment).returncode == 0
        # the attempt and the study have ended, and with them what there is to follow
        assert following.wait(STUCK) == 0


def test_a_crash_of_postgresql_in_the_middle_costs_no_trial(
    environment: dict[str, str], home: Path, tmp_path: Path
) -> None:
    """Killed twice under a run: training goes on meanwhile, what it reported arrives afterwards."""
    del environment["TUNER_DATABASE_URL"]
    environment["TUNER_HOME"] = str(home)
    file = quick(tmp_path, "crashed", trials=16, epochs=4)
    with closing(schema.open_database(Settings(home=home))) as database:
        command = [sys.executable, "-m", "tuner", "run", str(file), "--workers", "1", "--json"]
        run = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        for finished in (2, 6):
            eventually(partial(_has_finished, database, finished))
            places = find(home)
            assert places is not None
            pid_file = places.data / "postmaster.pid"
            os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
        output, _ = run.communicate(timeout=STUCK)
        assert run.returncode == 0
        study = reading.find(database, "crashed")
        trials = reading.load_trials(database, study)
    assert sum(json.loads(output)["counts"].values()) == 16
    assert [t.number for t in trials] == list(range(16))
    assert {t.state for t in trials} <= DONE
    assert study.issued == 16
    for trial in trials:
        steps = [r.step for r in trial.reports]
        assert steps == list(range(1, len(steps) + 1))
        assert trial.state is TrialState.PRUNED or len(steps) == 4


def _has_finished(database: Database, number: int) -> bool:
    try:
        study = reading.find(database, "crashed")
        trials = reading.load_trials(database, study)
    except (DatabaseError, StudyNotFoundError):  # down, or not launched yet
        return False
    return sum(t.state.is_finished for t in trials) >= number


def test_worn_executors_are_replaced(
    environment: dict[str, str],
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = quick(tmp_path, trials=5, epochs=1)
    assert tuner("launch", str(file), environment=environment).returncode == 0
    monkeypatch.setattr(executors_module, "MAX_COHORTS", 2)
    started: list[int] = []
    start = executors_module.start

    def counting(slot: Slot, **options: bool) -> executors_module.Executor:
        executor = start(slot, **options)
        started.append(executor.process.pid)
        return executor

    monkeypatch.setattr(executors_module, "start", counting)
    settings = Settings(home=Path(environment["TUNER_HOME"]))
    slot = Slot("cpu", 1)
    Worker(database, settings, [slot], only=["quick"], until_done=True).run()
    trials = reading.load_trials(database, reading.find(database, "quick"))
    assert len(trials) == 5
    assert {t.state for t in trials} <= DONE
    assert len(started) == 3
    assert not any(psutil.pid_exists(pid) for pid in started)
