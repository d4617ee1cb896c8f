"""Hints: who steers a study is heard by workers at once, and nothing depends on it."""

import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from tests.support.searching import LEASE, launch, spec
from tests.support.studies import quick
from tests.support.waiting import eventually
from tuner.commands import launching, preparing, reading
from tuner.database import claims, hints, leases, studies, study_limits, trials, workers
from tuner.database.engine import Database
from tuner.database.hints import ListeningDatabase
from tuner.settings import Settings
from tuner.trials import Cause, Limits, StudyState
from tuner.worker import loop
from tuner.worker.devices import Slot

WORKER = uuid.uuid4()


@pytest.fixture
def ear(database: Database) -> Iterator[ListeningDatabase]:
    """Hears what workers are told."""
    listening = ListeningDatabase(database, hints.WORK, listen=True)
    assert listening.fileno() is None  # nobody has asked for a connection yet
    touch(listening)
    yield listening
    listening.close()


def touch(database: Database) -> None:
    with database.statement() as connection:
        connection.execute(text("SELECT 1"))


def hears(ear: ListeningDatabase) -> set[int]:
    """Everything that was hinted at before this moment."""
    touch(ear)  # hints come before the answer
    return ear.read_hints()


def claim_one(connection: Connection, study: int, lease: float = LEASE) -> claims.Claim:
    claimed = claims.claim(
        connection,
        study,
        worker_id=WORKER,
        key=uuid.uuid4(),
        lease=lease,
        space_id=None,  # type: ignore[arg-type]
        params=[],
    )
    assert claimed is not None
    return claimed


def pause(connection: Connection, study: int) -> None:
    assert studies.set_state(connection, study, StudyState.PAUSED, allowed=[StudyState.ACTIVE])


def change_budget(connection: Connection, study: int) -> None:
    study_limits.set_limits(connection, study, Limits(max_trials=7), {})


def enqueue(connection: Connection, study: int) -> None:
    trials.enqueue(connection, study, {})


def requeue(connection: Connection, study: int) -> None:
    leases.requeue(connection, claim_one(connection, study), Cause.PREEMPTED)


def reap(connection: Connection, study: int) -> None:
    claim_one(connection, study, lease=0.0)
    assert leases.reap(connection)


@pytest.mark.parametrize(
    "act",
    [pause, change_budget, enqueue, requeue, reap, studies.delete],
    ids=lambda f: f.__name__,
)
def test_what_workers_act_upon_is_hinted_at(
    database: Database, ear: ListeningDatabase, act: Callable[[Connection, int], object]
) -> None:
    other = launch(database, spec("other"))
    study = launch(database, spec("this"))
    assert hears(ear) == {other, study}
    with database.transaction() as connection:
        workers.register(connection, WORKER, host="h", pid=1, slots=1, devices=["cpu"], version="1")
        act(connection, study)
    assert hears(ear) == {study}
    assert hears(ear) == set()


def test_each_channel_is_heard_alone(database: Database, ear: ListeningDatabase) -> None:
    with database.statement() as connection:
        hints.send(connection, hints.TRIALS, [1, 2])
        assert hears(ear) == set()
        hints.send(connection, hints.WORK, [2, 3])
    assert hears(ear) == {2, 3}


def test_what_was_rolled_back_is_not_hinted_at(database: Database, ear: ListeningDatabase) -> None:
    study = launch(database, spec())
    assert hears(ear) == {study}
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        pause(connection, study)
        _ = 1 / 0
    assert hears(ear) == set()


@pytest.mark.parametrize("noticed_by", ["listening", "a statement"])
def test_a_lost_connection_is_not_listened_to_and_the_next_one_is(
    database: Database, ear: ListeningDatabase, noticed_by: str
) -> None:
    with ear.statement() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with database.statement() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})
        if noticed_by == "a statement":
            with pytest.raises(OperationalError):
                connection.execute(text("SELECT 1"))
    eventually(lambda: ear.read_hints() == set() and ear.fileno() is None)
    touch(ear)
    assert ear.fileno() is not None
    with database.statement() as connection:
        hints.send(connection, hints.WORK, [5])
    assert hears(ear) == {5}


def test_listening_can_be_turned_off(database: Database) -> None:
    deaf = ListeningDatabase(database, hints.WORK, listen=False)
    touch(deaf)
    assert deaf.fileno() is None
    launch(database, spec())
    assert hears(deaf) == set()
    deaf.close()


@pytest.mark.parametrize("listen", [True, False], ids=["listening", "polling"])
def test_an_idle_worker_is_woken_by_a_launch(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listen: bool
) -> None:
    """Without hints it would wait for ever, so long are its own pauses."""
    settings = Settings(home=tmp_path, listen=listen)
    monkeypatch.setattr(loop, "LISTENING_POLL", 1e6)
    monkeypatch.setattr(loop, "POLL", 1e6 if listen else 0.1)
    prepared = preparing.prepare_study(database, quick(tmp_path, trials=3, epochs=1), settings)
    listener = ListeningDatabase(database, hints.TRIALS, listen=True)
    touch(listener)

    def launch_then_stop() -> None:
        mine = Database(database.url)
        try:
            eventually(lambda: is_there(mine))
            launching.launch(mine, prepared)
            eventually(lambda: reading.find(mine, "quick").state is StudyState.FINISHED)
        finally:
            mine.close()
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=launch_then_stop)
    thread.start()
    loop.Worker(database, settings, [Slot("cpu", 1)]).run()
    thread.join()
    study = reading.find(database, "quick")
    assert study.state is StudyState.FINISHED
    assert hears(listener) == {study.id}
    listener.close()


def is_there(database: Database) -> bool:
    with database.statement() as connection:
        return bool(workers.alive(connection, within=60.0))
