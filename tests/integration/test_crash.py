"""PostgreSQL is killed under load: what was acknowledged is there, once, and work goes on."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from tests.support.searching import LEASE, Trainer, launch, search, spec
from tests.support.waiting import STUCK, eventually
from tuner.database import embedded, hints, schema, studies
from tuner.database.engine import Database
from tuner.database.hints import ListeningDatabase
from tuner.database.readers import feed
from tuner.errors import DatabaseUnreachableError
from tuner.search.claim import ClaimedTrial
from tuner.trials import Report, TrialState
from tuner.worker.outbox import Outbox

TRIALS = 120
WORKERS = 4
KILLS = (25, 60)  # at so many acknowledged finishes


def postmaster(home: Path) -> psutil.Process:
    pid_file = home / "postgres" / "data" / "postmaster.pid"
    return psutil.Process(int(pid_file.read_text().split()[0]))


class Load:
    """Workers that claim, report and finish, and note what was acknowledged."""

    def __init__(self, database: Database, study_id: int) -> None:
        self.database = database
        self.study_id = study_id
        self.acknowledged: dict[int, float] = {}
        self._lock = threading.Lock()

    def trainer(self) -> tuple[Trainer, ListeningDatabase]:
        of = spec(more="sampler: random\npruner: rungs", trials=TRIALS)
        mine = ListeningDatabase(self.database, hints.WORK, listen=False)
        return Trainer(mine, search(mine, self.study_id, of)), mine

    def work(self, trainer: Trainer, mine: ListeningDatabase) -> Trainer:
        outbox = Outbox(mine, keep=LEASE)
        while (trial := self._claim(trainer)) is not None:
            for step in (1, 2, 3):
                report = Report(step, 0.5)
                write = partial(trainer.search.report, trial=trial, lease=LEASE)
                outbox.report(trial.claim.id, report, write, _never)
            outbox.end(trial.claim.id, partial(self._finish, trainer, trial), _never)
            eventually(outbox.deliver)
        return trainer

    def _claim(self, trainer: Trainer) -> ClaimedTrial | None:
        claimed: list[ClaimedTrial | None] = []

        def answered() -> bool:
            try:
                claimed.append(trainer.claim())
            except DatabaseUnreachableError:
                return False
            return True

        eventually(answered)
        return claimed[0]

    def _finish(
        self,
        trainer: Trainer,
        trial: ClaimedTrial,
        connection: Connection,
        /,
        *,
        reports: Sequence[Report],
    ) -> None:
        value = trial.number / TRIALS
        trainer.search.finish(connection, trial, TrialState.COMPLETE, [value], reports=reports)
        with self._lock:
            assert trial.number not in self.acknowledged
            self.acknowledged[trial.number] = value


def _never() -> None:
    pytest.fail("a lease was lost")


def ask(database: Database, query: str) -> Any:
    with database.statement() as connection:
        return connection.execute(text(query)).scalar_one()


def answers(database: Database) -> bool:
    try:
        return bool(ask(database, "SELECT 1"))
    except DatabaseUnreachableError:
        return False


def test_a_kill_of_postgresql_under_load_loses_no_told_trial(home: Path) -> None:
    hold = embedded.hold(home, linger=0)
    database = Database(make_url(hold.url))
    schema.upgrade(database)
    of = spec(more="sampler: random\npruner: rungs", trials=TRIALS)
    load = Load(database, launch(database, of))
    reset = "SELECT pg_stat_get_bgwriter_stat_reset_time()"
    era = ask(database, reset)
    ready = [load.trainer() for _ in range(WORKERS)]  # while the server is there
    with ThreadPoolExecutor(WORKERS) as pool:
        working = [pool.submit(load.work, *pair) for pair in ready]
        for kill_at in KILLS:
            eventually(
                lambda at=kill_at: len(load.acknowledged) >= at,  # type: ignore[misc]
                progress=lambda: len(load.acknowledged),
            )
            server = postmaster(home)
            server.kill()
            server.wait(timeout=STUCK)
        trainers = [worker.result() for worker in working]

    eventually(lambda: answers(database))  # the last kill may have come after the last trial
    with database.statement() as connection:
        table = feed.load(connection, load.study_id)
        study = studies.by_id(connection, load.study_id)
    assert study.issued == TRIALS
    assert [t.number for t in table] == list(range(TRIALS))
    complete = {t.number: t.value for t in table if t.state is TrialState.COMPLETE}
    assert complete == load.acknowledged
    # a report waits for no disk, so a crash forgets it; its worker does not
    assert {tuple(r.step for r in t.reports) for t in table if t.number in complete} == {(1, 2, 3)}
    # of a claim whose worker could not wait for its answer any longer the lease will end
    assert {t.state for t in table} <= {TrialState.COMPLETE, TrialState.RUNNING}
    # ids of transactions were given out again: readers have noticed and seen it all
    assert ask(database, reset) != era
    for trainer in trainers:
        trainer.search.refresh()
        values = {t.number: t.values for t in trainer.search._history.trials if t.values}
        assert values == {number: [value] for number, value in complete.items()}
    database.close()
    hold.release()
