"""Trials that would not fit into memory together take turns; none is lost by it."""

from pathlib import Path

import pytest

from tests.support.commands import tuner
from tests.support.studies import quick
from tuner.commands import reading
from tuner.database import devices
from tuner.database.engine import Database
from tuner.settings import Settings
from tuner.trials import TrialState
from tuner.worker import admission
from tuner.worker.devices import Slot
from tuner.worker.executors import Executor
from tuner.worker.loop import Worker
from tuner.worker.messages import FromWorker, Train

GIB = 2**30


def test_on_a_small_machine_trials_take_turns_once_their_size_is_known(
    environment: dict[str, str],
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = quick(tmp_path, trials=6, epochs=1)
    assert tuner("launch", str(file), environment=environment).returncode == 0
    worker = Worker(
        database,
        Settings(home=Path(environment["TUNER_HOME"])),
        [Slot("cpu", 1), Slot("cpu", 1)],
        only=["quick"],
        until_done=True,
    )
    together: list[int] = []
    send = Executor.send

    def counting(executor: Executor, message: FromWorker) -> None:
        if isinstance(message, Train):
            others = worker._pool.executors
            assignments = [e.assignment for e in others if e.assignment is not None]
            together.append(sum(not assignment.is_waiting for assignment in assignments))
        send(executor, message)

    monkeypatch.setattr(Executor, "send", counting)
    monkeypatch.setattr(admission, "memory", lambda _: (GIB // 2**10, GIB))
    worker.run()
    study = reading.find(database, "quick")
    trials = reading.load_trials(database, study)
    assert len(trials) == len(together) == 6
    assert all(t.state.is_finished and t.cause is None for t in trials)
    assert all(t.user_attrs["peak_bytes"] > 0 for t in trials)
    # of the first nothing was known; those that ran beside it had started by then
    assert together[2:] == [0] * 4
    with database.statement() as connection:
        assert devices.peaks(connection, study.id) == {
            t.number: ("cpu", t.user_attrs["peak_bytes"]) for t in trials
        }


TOGETHER = """
name: together
family: function
function: together:train
objective: {metric: value, direction: maximize}
search: {x: {low: 0.0, high: 1.0}}
budget: {trials: 4, epochs: 2}
pruner: none
resources: {per_gpu: auto}
"""
MEETING = """
import time
from pathlib import Path

def train(trial):
    trial.report(0.1, 1)
    Path(f"in-{trial.number}").touch()
    looks = 0
    while trial.number == 1 and not Path("in-2").exists():  # alone it would wait for ever
        looks += 1
        assert looks < 12_000
        time.sleep(0.01)
    return trial.params["x"]
"""


def test_a_trial_starts_beside_another_once_its_size_is_known(
    environment: dict[str, str],
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the CPU, under a GPU's name: the worker's part is the same."""
    file = tmp_path / "together.yaml"
    file.write_text(TOGETHER)
    (tmp_path / "together.py").write_text(MEETING)
    assert tuner("launch", str(file), environment=environment).returncode == 0
    slots = [Slot("cpu", 2, name="cuda:0", spare=n) for n in range(4)]
    worker = Worker(
        database,
        Settings(home=Path(environment["TUNER_HOME"])),
        slots,
        only=["together"],
        until_done=True,
        allow_code=True,
    )
    started: list[int] = []
    start = worker._pool.start

    def counting(slot: Slot) -> None:
        assert slot.spare == 0 or (tmp_path / "in-0").exists()  # before that nothing was known
        started.append(slot.spare)
        start(slot)

    monkeypatch.setattr(worker._pool, "start", counting)
    monkeypatch.setattr(admission, "memory", lambda _: (64 * GIB, 64 * GIB))
    worker.run()
    trials = reading.load_trials(database, reading.find(database, "together"))
    assert [(t.state, t.cause) for t in trials] == [(TrialState.COMPLETE, None)] * 4
    assert {t.user_attrs["device"] for t in trials} == {"cuda:0"}
    assert started == [0, 1]  # two cores: no third executor
