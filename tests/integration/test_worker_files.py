"""A trial's files and its stored end: what another attempt would need stays until that is known."""

import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from tests.support.searching import LEASE, launch, search, spec
from tests.support.waiting import eventually
from tuner.artifacts import ARTIFACTS_FOLDER, CHECKPOINT_FOLDER
from tuner.database import leases, studies
from tuner.database.engine import Database
from tuner.database.readers import feed
from tuner.errors import DatabaseUnreachableError, SpecError
from tuner.search.claim import ClaimedTrial
from tuner.settings import Settings
from tuner.training.cohort import Decision
from tuner.trials import Cause, Report, StudyState, TrialState
from tuner.worker.devices import Slot
from tuner.worker.executors import Executor
from tuner.worker.loop import Worker
from tuner.worker.messages import Decided, Finished, Reported, receive_from_worker


@pytest.fixture
def worker(database: Database, tmp_path: Path) -> Worker:
    of = spec()
    study_id = launch(database, of)
    created = Worker(database, Settings(home=tmp_path, listen=False), [])
    created._studies.searches[study_id] = search(created._database, study_id, of)
    return created


def claim_trial(worker: Worker) -> tuple[ClaimedTrial, Path, Path]:
    """A trial with a network's checkpoint and a folder that user code saved."""
    (searching,) = worker._studies.searches.values()
    claimed = searching.claim(worker.id, LEASE)
    assert claimed is not None
    folder = worker._trials.recorder.folders(claimed)[0]
    for name in (CHECKPOINT_FOLDER, ARTIFACTS_FOLDER):
        (folder / name).mkdir(parents=True)
    checkpoint = folder / "epoch-0001.0123456789abcdef.checkpoint"
    checkpoint.touch()
    return claimed, checkpoint, folder / CHECKPOINT_FOLDER


@pytest.mark.parametrize(
    ("state", "cause", "remains"),
    [
        (TrialState.COMPLETE, None, (False, True)),  # what user code saved is its result
        (TrialState.PRUNED, None, (False, False)),
        (TrialState.FAILED, Cause.DIVERGED, (False, False)),
        (TrialState.FAILED, Cause.TIMEOUT, (True, True)),  # `tuner retry` goes on from there
    ],
)
def test_files_go_once_the_end_is_stored(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, state: TrialState, cause: Cause | None,
    remains: tuple[bool, bool],
) -> None:  # fmt: skip
    trial, checkpoint, own = claim_trial(worker)
    statement = worker._database.statement
    result: dict[str, Any] = {"cause": cause} if cause else {"values": [0.5]}

    def unreachable() -> Any:
        raise DatabaseUnreachableError

    monkeypatch.setattr(worker._database, "statement", unreachable)
    worker._trials.recorder.finish(None, trial, state, **result)  # type: ignore[arg-type] - no lease is lost
    assert worker._outbox
    assert checkpoint.exists()
    assert own.exists()
    monkeypatch.setattr(worker._database, "statement", statement)
    eventually(worker._outbox.deliver)
    assert (checkpoint.exists(), own.exists()) == remains
    worker._database.close()


@pytest.fixture
def executor() -> Iterator[tuple[Executor, Any]]:
    """An executor whose process is this test: what the worker sends it is read at the other end."""
    ours, theirs = Pipe()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    leash, guards = socket.socketpair()
    yield Executor(Slot("cpu", 1), process, ours, leash, ready=True), theirs
    process.communicate(b"\n")
    for end in (ours, theirs, leash, guards):
        end.close()


@pytest.mark.parametrize("last", [True, False], ids=["it had reported all", "it goes on"])
def test_what_a_lost_attempt_reported_late_is_not_missing(
    worker: Worker, executor: tuple[Executor, Any], last: bool
) -> None:
    """An executor that has lost its trial may report and save after the next attempt was claimed,
    and before that one looks for a checkpoint.
    """
    ours, theirs = executor
    (searching,) = worker._studies.searches.values()
    first, _, _ = claim_trial(worker)
    worker._trials.assign(ours, searching, first)
    receive_from_worker(theirs)
    worker._trials._on_reports(ours, Reported({first.number: Report(1, 0.1)}, 0))
    assert receive_from_worker(theirs) == Decided({first.number: Decision.GO_ON})
    with worker._database.statement() as connection:
        leases.requeue(connection, first.claim, Cause.LOST)
    worker._trials._leave(ours, first)
    second = searching.claim(worker.id, LEASE)
    assert second is not None
    assert (second.number, second.claim.attempt) == (first.number, 2)
    other = Executor(ours.slot, ours.process, ours.connection, ours.leash, ready=True)
    worker._trials.assign(other, searching, second)
    receive_from_worker(theirs)

    worker._trials._on_reports(ours, Reported({first.number: Report(2, 0.2)}, 0))
    assert receive_from_worker(theirs) == Decided({first.number: Decision.STOP})
    # with that answer it saves a checkpoint of step 2, and the second attempt goes on from there
    expected = [(1, 0.1), (2, 0.2)]
    if not last:
        worker._trials._on_reports(other, Reported({first.number: Report(3, 0.3)}, 0))
        expected.append((3, 0.3))
    worker._trials._on_finished(other, Finished(first.number, 0.3, {}, 0))
    eventually(worker._outbox.deliver)
    with worker._database.statement() as connection:
        (trial,) = feed.load(connection, searching.study.id)
    assert (trial.state, trial.attempt) == (TrialState.COMPLETE, 2)
    assert [(r.step, r.value) for r in trial.reports] == expected
    worker._database.close()


def test_a_study_that_is_stopped_while_the_database_is_away_stops_its_trials_later(
    worker: Worker, executor: tuple[Executor, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = executor
    (searching,) = worker._studies.searches.values()
    worker._pool.executors.append(ours)
    worker._trials.assign(ours, searching, claim_trial(worker)[0])
    assert ours.assignment is not None
    with worker._database.statement() as connection:
        studies.set_state(
            connection, searching.study.id, StudyState.STOPPED, allowed=[StudyState.ACTIVE]
        )

    def unreachable(*_: object) -> None:
        raise DatabaseUnreachableError

    with monkeypatch.context() as patch:
        patch.setattr(studies, "by_id", unreachable)
        with pytest.raises(DatabaseUnreachableError):
            worker._look_at_studies()
    assert not ours.assignment.is_stopping  # it may have finished on its own
    worker._look_at_studies()
    assert ours.assignment.is_stopping
    assert worker._studies.searches == {}
    worker._database.close()


def test_a_trial_that_is_claimed_while_the_worker_is_told_to_stop_goes_back_unstarted(
    worker: Worker, executor: tuple[Executor, Any]
) -> None:
    ours, theirs = executor
    (searching,) = worker._studies.searches.values()
    trial, _, _ = claim_trial(worker)
    worker.drain()  # by a signal, after the claim
    worker._trials.assign(ours, searching, trial)
    assert ours.assignment is None
    assert not theirs.poll()
    eventually(worker._outbox.deliver)
    with worker._database.statement() as connection:
        (stored,) = feed.load(connection, searching.study.id)
    assert (stored.state, stored.attempt) == (TrialState.WAITING, 1)
    worker._database.close()


def test_a_study_of_a_newer_tuner_is_not_served_and_ends_no_worker(
    worker: Worker, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    of = spec("newer")
    content = {**of.as_json(), "sampler": {**of.sampler.model_dump(), "of_tomorrow": True}}
    with database.transaction() as connection:
        newer = studies.create(
            connection, "newer", ["maximize"], family="cnn", spec=content, limits=of.limits
        )
        plain = studies.create(
            connection, "plain", ["maximize"], family="cnn", spec=of.as_json(), limits=of.limits
        )
    logging.getLogger("tuner").propagate = True
    for _ in range(3):
        worker._look_at_studies()
    assert plain in worker._studies.searches
    assert newer not in worker._studies.searches
    # as a set: where a command line has run in this process, a handler of its own repeats it
    (warning,) = {message for message in caplog.messages if "newer is not served" in message}
    assert "does not know sampler.of_tomorrow. Upgrade tuner" in warning
    worker._studies._only = frozenset(["newer"])
    with pytest.raises(SpecError, match="Upgrade tuner"):  # it would wait for it for ever
        worker._look_at_studies()
