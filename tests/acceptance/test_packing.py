"""Trials that would not fit into memory together take turns; none is lost by it."""

from pathlib import Path

import pytest

from tests.acceptance.studies import quick
from tests.conftest import tuner
from tuner import commands
from tuner.database import devices
from tuner.database.engine import Database
from tuner.settings import Settings
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
            together.append(sum(e.study_id is not None and e.waiting is None for e in others))
        send(executor, message)

    monkeypatch.setattr(Executor, "send", counting)
    monkeypatch.setattr(admission, "memory", lambda _: (GIB // 2**10, GIB))
    worker.run()
    study = commands.find(database, "quick")
    trials = commands.load_trials(database, study)
    assert len(trials) == len(together) == 6
    assert all(t.state.is_finished and t.cause is None for t in trials)
    assert all(t.user_attrs["peak_bytes"] > 0 for t in trials)
    # of the first nothing was known; those that ran beside it had started by then
    assert together[2:] == [0] * 4
    with database.statement() as connection:
        assert devices.peaks(connection, study.id) == {
            t.number: ("cpu", t.user_attrs["peak_bytes"]) for t in trials
        }
