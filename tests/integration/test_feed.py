"""Reading incrementally: nothing missed, nothing half-seen, nothing twice."""

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from sqlalchemy import Connection, TextClause, text

from tests.support.bench import LEASE, ROLLED_BACK, Bench, one_trial
from tuner.database import results, trials
from tuner.database.engine import Database
from tuner.database.readers import changes, columns, feed
from tuner.database.readers.columns import Columns, Reports
from tuner.database.readers.feed import Feed, TrialRow
from tuner.errors import DatabaseUnreachableError, LeaseLostError
from tuner.search.distributions import from_json, frozen
from tuner.search.history import History
from tuner.search.record import Record
from tuner.search.storage import Storage
from tuner.trials import Cause, Report, TrialState

WRITERS = 6


def poll(database: Database, reader: Feed) -> list[TrialRow]:
    with database.statement() as connection:
        return reader.poll(connection)


def from_rows(connection: Connection, bench: Bench) -> list[FrozenTrial]:
    """All trials as Optuna sees them, read in rows."""
    reader = Feed(bench.id)
    return [
        frozen(row, from_json(reader.spaces[row.space_id]) if row.space_id else {})
        for row in reader.poll(connection)
    ]


class Ran:
    """Watches how trials end well, with which reports."""

    def __init__(self) -> None:
        self.count: Counter[int] = Counter()
        self.reports: dict[int, list[tuple[int, float]]] = {}

    def load(self, finished: Columns, space: object, reports: Reports) -> None:
        if finished.state == TrialState.COMPLETE:
            for number in finished.numbers.tolist():
                own = reports.of(finished.numbers[finished.numbers == number])
                self.count[number] += 1
                self.reports[number] = list(
                    zip(own.steps.tolist(), own.values.tolist(), strict=True)
                )

    def note(self, record: Record) -> None:
        assert record.row.state in (TrialState.RUNNING, TrialState.WAITING)


@pytest.mark.parametrize("seed", range(3))
def test_a_readers_view_is_the_table_however_commits_interleave(
    database: Database, seed: int
) -> None:
    bench = Bench(database, max_trials=60)
    readers = [Feed(bench.id) for _ in range(2)]
    views: list[dict[int, TrialRow]] = [{} for _ in readers]
    ended: list[Counter[int]] = [Counter() for _ in readers]
    history, ran = History(bench.id, with_attributes=True), Ran()
    history.watch(ran)
    finished = threading.Event()

    def write(worker: int) -> None:
        rng = random.Random(f"{seed} {worker}")
        for _ in range(12):
            one_trial(bench, rng)

    def look(reader: Feed, view: dict[int, TrialRow], count: Counter[int]) -> None:
        for row in poll(database, reader):
            assert row.message != ROLLED_BACK
            view[row.number] = row
            if row.state == TrialState.COMPLETE:
                count[row.number] += 1

    def read(index: int) -> None:
        while not finished.is_set():
            look(readers[index], views[index], ended[index])

    def read_columns() -> None:
        while not finished.is_set():
            with database.statement() as connection:
                history.refresh(connection)
            assert history.trials is not None  # all of them, kept from now on

    with ThreadPoolExecutor(WRITERS + len(readers) + 1) as pool:
        reading = [pool.submit(read, index) for index in range(len(readers))]
        reading.append(pool.submit(read_columns))
        try:
            for future in [pool.submit(write, n) for n in range(WRITERS)]:
                future.result()
        finally:
            finished.set()
        for was_read in reading:
            was_read.result()
    with database.statement() as connection:
        table = feed.load(connection, bench.id)
    assert table
    for reader, view, count in zip(readers, views, ended, strict=True):
        look(reader, view, count)
        assert [reader.trial(view[number]) for number in sorted(view)] == table
        assert set(count.values()) <= {1}  # and no change comes twice
    with database.statement() as connection:
        history.refresh(connection)
        expected = from_rows(connection, bench)
    assert list(history.trials) == expected
    assert history.select([t.number for t in expected]) == expected
    complete = {t.number: t for t in expected if t.state is OptunaState.COMPLETE}
    assert ran.count == Counter(dict.fromkeys(complete, 1))
    assert ran.reports == {n: list(t.intermediate_values.items()) for n, t in complete.items()}


def test_a_long_transaction_elsewhere_brings_nothing_twice(database: Database) -> None:
    bench = Bench(database, max_trials=10)
    reader = Feed(bench.id)
    with database.transaction() as elsewhere:
        elsewhere.execute(text("SELECT pg_current_xact_id()"))
        for _ in range(3):
            bench.finish(bench.claim())
        assert [row.number for row in poll(database, reader)] == [0, 1, 2]
        assert poll(database, reader) == []
        bench.finish(bench.claim())
        assert [row.number for row in poll(database, reader)] == [3]
        assert poll(database, reader) == []


def test_new_reports_join_those_that_are_known(database: Database) -> None:
    bench = Bench(database, max_trials=10)
    reader = Feed(bench.id)
    claim = bench.claim()
    for step in range(1, 6):
        bench.do(results.report, claim, [Report(step, step / 10, {"loss": -step})], lease=LEASE)
        (row,) = poll(database, reader)
        assert [r.step for r in reader.trial(row).reports] == list(range(1, step + 1))
        assert [r.metrics["loss"] for r in reader.trial(row).reports][-1] == -step
    (same,) = poll(database, reader)
    assert same is poll(database, reader)[0]


def test_what_a_later_attempt_reports_again_is_read_again(database: Database) -> None:
    bench = Bench(database, max_trials=10)
    reader = Feed(bench.id)
    first = bench.claim()
    for step in (1, 2, 3):
        bench.do(results.report, first, [Report(step, 0.1)], lease=LEASE)
    poll(database, reader)
    bench.lose(first)
    second = bench.claim()
    poll(database, reader)
    bench.do(results.report, second, [Report(2, 0.9)], lease=LEASE)  # its checkpoint was of step 1
    (row,) = poll(database, reader)
    assert row.report_values == [0.1, 0.9, 0.1]


def test_a_write_that_reads_along_says_whether_it_hit(database: Database) -> None:
    bench = Bench(database, max_trials=10)
    history = History(bench.id)
    mine, others = bench.claim(), bench.claim()
    bench.finish(others)
    bench.do(results.report, mine, [Report(1, 0.5)], lease=LEASE, execute=history.after)
    assert [t.state for t in history.trials] == [OptunaState.RUNNING, OptunaState.COMPLETE]
    bench.lose(mine)
    with pytest.raises(LeaseLostError):
        bench.do(results.report, mine, [Report(2, 0.5)], lease=LEASE, execute=history.after)
    assert history.trials[0].state is OptunaState.WAITING  # learnt although nothing was written


def filled(database: Database) -> Bench:
    """A study with trials of all states, reports and attributes."""
    bench = Bench(database)
    storage = Storage(database)
    for number in range(12):
        claim = bench.claim(x=number / 12)
        for step in range(1, 1 + number % 4):
            bench.do(results.report, claim, [Report(step, number / step)], lease=LEASE)
        if number % 5 == 1:
            storage.set_trial_system_attr(claim.id, "note", {"n": number})
        if number % 4 == 0:
            bench.finish(claim, user_attrs={"device": f"cpu:{number}"})
        elif number % 4 == 1:
            bench.finish(claim, TrialState.PRUNED)
        elif number % 4 == 2:
            bench.finish(claim, TrialState.FAILED, cause=Cause.DIVERGED)
    bench.do(trials.enqueue, bench.id, {"x": 0.5})
    return bench


def test_columns_tell_what_rows_tell(database: Database) -> None:
    bench = filled(database)
    history = History(bench.id, with_attributes=True)
    with database.statement() as connection:
        history.refresh(connection)
        expected = from_rows(connection, bench)
    assert list(history.trials) == expected
    assert [history.get(number) for number in range(len(expected))] == expected


def test_a_first_look_that_fails_halfway_is_taken_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = filled(database)
    history = History(bench.id, with_attributes=True)

    def unreachable(*_: object) -> None:
        raise DatabaseUnreachableError

    with monkeypatch.context() as patch, database.statement() as connection:
        patch.setattr(changes, "_batch", unreachable)  # after what has ended was read
        with pytest.raises(DatabaseUnreachableError):
            history.refresh(connection)
    with database.statement() as connection:
        history.refresh(connection)
        assert list(history.trials) == from_rows(connection, bench)


def test_a_reader_goes_on_from_columns(database: Database) -> None:
    bench = filled(database)
    with database.statement() as connection:
        snapshot, _ = columns.finished(connection, bench.id, with_attributes=False)
    late = bench.claim()  # after the snapshot, the enqueued one
    bench.finish(late)
    reader = Feed(bench.id)
    reader.begin(snapshot)
    got = [(row.number, row.state) for row in poll(database, reader)]
    assert got == [(n, "running") for n in (3, 7, 11)] + [(12, "complete")]


def test_columns_of_reports_are_in_order(database: Database) -> None:
    bench = filled(database)
    with database.statement() as connection:
        reports = columns.reports(connection, bench.id)
    keys = list(zip(reports.numbers.tolist(), reports.steps.tolist(), strict=True))
    assert keys == sorted(keys)
    assert {number % 4 for number, _ in keys} == {1, 2}
    np.testing.assert_allclose(reports.values, [n / step for n, step in keys])


@pytest.mark.parametrize(
    "poll",
    [
        feed._poll(feed.NEW),
        changes._poll(feed.NEW, "", with_metrics=False),
        changes._poll(feed.NEW, "", with_metrics=True),
    ],
    ids=["rows", "columns", "metrics"],
)
def test_a_poll_reads_through_the_indexes(database: Database, poll: TextClause) -> None:
    bench = Bench(database)
    bench.fill(20_000)
    with database.statement() as connection:
        plan = connection.execute(
            text("EXPLAIN " + poll.text),
            {
                "study": bench.id,
                "xmax": "999999999",
                "in_progress": ["999999990", "999999991"],
                "running": [1, 2],
                "since": [5, 5],
                "with_metrics": False,
                "with_reports": True,
                "attributes": False,
                "details": False,
                "never": columns.NO_TIME,
                "wanted": ["latency"],
            },
        ).scalars()
        text_ = "\n".join(plan)
    assert "trials_study_id_changed" in text_
    assert "Seq Scan on trials" not in text_
    assert "Seq Scan on reports" not in text_
