"""How a worker's writes reach the database: together where they can, a trial's in their order."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from tests.support.searching import LEASE, Trainer, launch, search, spec
from tests.support.waiting import eventually
from tuner.database import hints, results
from tuner.database.engine import Database
from tuner.database.hints import ListeningDatabase
from tuner.database.readers import feed
from tuner.errors import DatabaseUnreachableError, LeaseLostError
from tuner.search.claim import ClaimedTrial
from tuner.trials import Report, Trial, TrialState
from tuner.worker import outbox
from tuner.worker.outbox import Outbox


class Sender:
    """A trial whose reports go through an outbox."""

    def __init__(self, database: Database) -> None:
        of = spec(more="sampler: random\npruner: median")
        self.study_id = launch(database, of)
        self.database = ListeningDatabase(database, hints.WORK, listen=False)
        self.trainer = Trainer(self.database, search(self.database, self.study_id, of))
        trial = self.trainer.claim()
        assert trial is not None
        self.trial: ClaimedTrial = trial
        self.outbox = Outbox(self.database, keep=LEASE)
        self.sent: list[Sequence[int]] = []  # the steps that went together
        self.lost = 0

    def report(self, *steps: int, value: float = 0.5) -> None:
        for step in steps:
            report = Report(step, value + step, {"loss": -float(step)})
            self.outbox.report(self.trial.claim.id, report, self._report, self._on_lost)

    def _report(self, connection: Any, /, *, reports: Sequence[Report]) -> None:
        self.sent.append([report.step for report in reports])
        self.trainer.search.report(connection, self.trial, reports, lease=LEASE)

    def end(self) -> None:
        write = partial(
            self.trainer.search.finish, trial=self.trial, state=TrialState.COMPLETE, values=[0.5]
        )
        self.outbox.end(self.trial.claim.id, write, self._on_lost)

    def _on_lost(self) -> None:
        self.lost += 1

    def stored(self) -> Trial:
        with self.database.statement() as connection:
            (trial,) = feed.load(connection, self.study_id)
        return trial


@pytest.fixture
def sender(database: Database, monkeypatch: pytest.MonkeyPatch) -> Sender:
    monkeypatch.setattr(outbox, "PERIOD", 3_600.0)  # nothing is due on its own
    monkeypatch.setattr(outbox, "LONGEST", 3_600.0)
    return Sender(database)


def test_reports_that_follow_each_other_go_together(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "PERIOD", 0.05)
    sender.report(1)
    assert sender.sent == [[1]]  # the first one waits for nothing
    assert sender.outbox.pause() == float("inf")
    sender.report(2, 3, 4)
    assert 0.0 < sender.outbox.pause() <= 1.0
    eventually(sender.outbox.deliver)
    assert sender.sent == [[1], [2, 3, 4]]
    assert [(r.step, r.value, r.metrics) for r in sender.stored().reports] == [
        (step, 0.5 + step, {"loss": -float(step)}) for step in range(1, 5)
    ]


def test_the_end_takes_the_last_reports_along(sender: Sender) -> None:
    sender.report(1, 2, 3)
    assert sender.sent == [[1]]
    sender.end()
    assert not sender.outbox
    assert sender.sent == [[1]]  # one statement: the result is never there without them
    trial = sender.stored()
    assert trial.state is TrialState.COMPLETE
    assert [r.step for r in trial.reports] == [1, 2, 3]


def test_what_else_is_written_comes_after_the_reports(sender: Sender) -> None:
    sender.report(1, 2)
    sender.outbox.put(
        sender.trial.claim.id,
        lambda c: results.finish(c, sender.trial.claim, TrialState.PRUNED),
        sender._on_lost,
    )
    assert not sender.outbox
    assert sender.sent == [[1], [2]]
    assert [r.step for r in sender.stored().reports] == [1, 2]
    assert not sender.lost


def test_reports_of_an_outage_are_delivered_in_their_order(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement, calls = sender.database.statement, []

    def unreachable() -> Any:
        calls.append(None)
        raise DatabaseUnreachableError

    monkeypatch.setattr(sender.database, "statement", unreachable)
    sender.report(1, 2, 3)
    assert len(calls) == 1  # it is not asked again at once
    monkeypatch.setattr(sender.database, "statement", statement)
    eventually(sender.outbox.deliver)
    assert sender.sent == [[1, 2, 3]]
    sender.end()
    assert [r.step for r in sender.stored().reports] == [1, 2, 3]


def test_the_later_report_of_a_step_counts(sender: Sender) -> None:
    sender.report(1)
    sender.report(2)
    sender.report(2, value=7.0)
    sender.end()
    assert [(r.step, r.value) for r in sender.stored().reports] == [(1, 1.5), (2, 9.0)]


def test_a_lost_trials_last_reports_are_refused_with_its_end(sender: Sender) -> None:
    sender.report(1, 2)
    with sender.database.statement() as connection:
        results.finish(connection, sender.trial.claim, TrialState.FAILED)
    sender.end()
    assert sender.lost == 1
    trial = sender.stored()
    assert (trial.state, [r.step for r in trial.reports]) == (TrialState.FAILED, [1])
    with sender.database.statement() as connection, pytest.raises(LeaseLostError):
        results.report(connection, sender.trial.claim, [Report(3, 0.5)], lease=LEASE)


def test_what_earlier_attempts_reported_is_repeated_like_reports(sender: Sender) -> None:
    """A crash of the server forgets it as well."""
    reports = [Report(1, 0.1), Report(2, 0.2)]
    missing = partial(
        results.report_missing, claim=sender.trial.claim, reports=reports, lease=LEASE, flush=False
    )
    sender.outbox.put(sender.trial.claim.id, missing, sender._on_lost, is_asynchronous=True)
    sender.report(2, 3)
    with sender.database.statement() as connection:
        connection.exec_driver_sql("DELETE FROM tuner.reports")
    sender.database.engine.dispose()  # the next statement connects anew
    sender.end()
    eventually(sender.outbox.deliver)
    assert [(r.step, r.value) for r in sender.stored().reports] == [(1, 0.1), (2, 2.5), (3, 3.5)]
    assert not sender.lost
