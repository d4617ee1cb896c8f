"""How many statements and flushed commits a worker's trial costs."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2.extensions
import pytest
from sqlalchemy import event, text

from tests.support.searching import LEASE, Trainer, launch, search, spec
from tuner.database.engine import Database
from tuner.database.prepared_statements import PreparedStatement
from tuner.database.readers import feed
from tuner.search import claim
from tuner.trials import Report

_WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE)\b")


@contextmanager
def sent(database: Database) -> Iterator[list[str]]:
    """Every statement that the block sends, those that the driver adds among them."""
    statements: list[str] = []

    def statement(connection: Any, _: object, statement: str, *__: object) -> None:
        if not driver(connection).autocommit and is_idle(connection):
            statements.append("BEGIN")
        statements.append(statement)

    def end(connection: Any) -> None:
        if not is_idle(connection):  # else the driver has nothing to send
            statements.append("COMMIT or ROLLBACK")

    listeners = {"before_cursor_execute": statement, "commit": end, "rollback": end}
    for name, listener in listeners.items():
        event.listen(database.engine, name, listener)
    yield statements
    for name, listener in listeners.items():
        event.remove(database.engine, name, listener)


def driver(connection: Any) -> Any:
    return connection.connection.driver_connection


def is_idle(connection: Any) -> bool:
    return bool(
        driver(connection).info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE
    )


def flushed(statements: list[str], prepared: dict[str, str]) -> int:
    """How many of them commit something with a flush to disk."""
    texts = [prepared.get(s.split("(")[0].removeprefix("EXECUTE "), s) for s in statements]
    return sum(bool(_WRITES.search(t)) and "'synchronous_commit', 'off'" not in t for t in texts)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("pruner", ["median", "rungs"])
@pytest.mark.parametrize("fresh", [0.0, 60.0], ids=["reads along each time", "rarely"])
def test_a_trial_costs_seven_statements_and_two_flushes(
    database: Database, sampler: str, pruner: str, fresh: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "STALE", 0.0)  # however long reading takes
    of = spec(more=f"sampler: {sampler}\npruner: {pruner}\nsearch: {{depth: 2, kernel: 3}}")
    trainer = Trainer(database, search(database, launch(database, of), of))
    trainer.search.refresh()
    monkeypatch.setattr(claim, "FRESH", fresh)
    with sent(database) as before:
        for number in range(15):  # beyond the startup trials
            trial = trainer.claim()
            assert trial is not None
            trainer.report(trial, 1, 0.5)
            trainer.finish(trial, values=[number / 20])
    prepared = {s.split()[1]: s for s in before if s.startswith("PREPARE")}
    costs = []
    for _ in range(5):
        # a claim right after a finish knows what the finish has read along
        monkeypatch.setattr(claim, "FRESH", 60.0)
        with sent(database) as statements:
            trial = trainer.claim()
            assert trial is not None
            monkeypatch.setattr(claim, "FRESH", fresh)
            for step in range(1, 6):
                trainer.report(trial, step, 0.1 * step)
            trainer.finish(trial)
        costs.append((len(statements), flushed(statements, prepared)))
    assert costs == [(7, 2)] * 5


@pytest.mark.parametrize("flush", [False, True])
def test_reports_are_flushed_where_a_crash_would_not_be_noticed(
    database: Database, flush: bool
) -> None:
    of = spec(more="sampler: random\npruner: none")
    trainer = Trainer(database, search(database, launch(database, of), of))
    trial = trainer.claim()
    assert trial is not None
    with sent(database) as statements, database.statement() as connection:
        for report in (Report(1, 0.5), Report(2, 0.6)):
            trainer.search.report(connection, trial, [report], lease=LEASE, flush=flush)
    prepared = {s.split()[1]: s for s in statements if s.startswith("PREPARE")}
    executed = [s for s in statements if not s.startswith("PREPARE")]
    assert flushed(executed, prepared) == (2 if flush else 0)
    with database.statement() as connection:
        (stored,) = feed.load(connection, trainer.search.study.id)
    assert [(r.step, r.value) for r in stored.reports] == [(1, 0.5), (2, 0.6)]


def test_what_others_did_is_read_along(database: Database) -> None:
    of = spec(more="sampler: random")
    study_id = launch(database, of)
    trainer, other = (Trainer(database, search(database, study_id, of)) for _ in range(2))
    trainer.search.refresh()
    theirs = other.claim()
    assert theirs is not None
    other.report(theirs, 1, 0.25)
    other.finish(theirs)
    trainer.search._known_at = float("-inf")
    mine = trainer.claim()
    assert mine is not None
    trainer.search._known_at = float("-inf")
    with sent(database) as statements:
        trainer.report(mine, 1, 0.5)
    # besides, once, the distributions of a space that is new
    assert [s for s in statements if "tuner.spaces" not in s] == statements[:1]
    read_along = trainer.search._history.get(theirs.number)
    assert read_along is not None
    assert (read_along.state.name, read_along.values) == ("COMPLETE", [0.5])
    assert read_along.intermediate_values == {1: 0.25}


def test_a_connection_that_died_at_rest_is_replaced(database: Database) -> None:
    with database.statement() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    other = Database(database.url)
    with other.statement() as connection:
        # waits until the process is gone
        connection.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})
    other.close()
    with database.statement() as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != pid


def test_a_prepared_statement_that_is_gone_is_prepared_again(database: Database) -> None:
    """As it is where a pooler gives each statement another connection."""
    statement = PreparedStatement("SELECT CAST(:number AS integer) + 1")
    with database.statement() as connection:
        assert statement.run(connection, {"number": 1}).scalar_one() == 2
        connection.execute(text("DEALLOCATE ALL"))
        assert statement.run(connection, {"number": 2}).scalar_one() == 3
        connection.info.clear()
        assert statement.run(connection, {"number": 3}).scalar_one() == 4
    with database.transaction() as connection:
        assert statement.run(connection, {"number": 4}).scalar_one() == 5


def test_two_workers_at_once_draw_from_their_own_numbers(database: Database) -> None:
    of = spec(more="sampler: random")
    study_id = launch(database, of)
    trainers = [Trainer(database, search(database, study_id, of)) for _ in range(2)]
    for trainer in trainers:
        trainer.search.refresh()
    trials = [trainer.claim() for trainer in trainers]  # both expected the number 0
    lone_search = search(database, study_id, of)
    assert [h.number for h in trials if h is not None] == [0, 1]
    for h in trials:
        assert h is not None
        params = lone_search._proposer.propose(h.number).params
        assert lone_search._proposer.complete(params) == h.params
