"""A trial's files and its stored end: what another attempt would need stays until that is known."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import eventually
from tests.integration.searching import LEASE, launch, search, spec
from tuner.artifacts import ARTIFACTS_FOLDER, CHECKPOINT_FOLDER
from tuner.database.engine import Database
from tuner.errors import DatabaseUnreachableError
from tuner.search.claim import Held
from tuner.settings import Settings
from tuner.trials import Cause, TrialState
from tuner.worker.loop import Worker


@pytest.fixture
def worker(database: Database, tmp_path: Path) -> Worker:
    of = spec()
    study_id = launch(database, of)
    made = Worker(database, Settings(home=tmp_path, listen=False), [])
    made._searches[study_id] = search(made._database, study_id, of)
    return made


def held(worker: Worker) -> tuple[Held, Path, Path]:
    """A trial with a network's checkpoint and a folder that own code has saved."""
    (searching,) = worker._searches.values()
    claimed = searching.claim(worker.id, LEASE)
    assert claimed is not None
    folder = worker._folders(claimed)[0]
    for name in (CHECKPOINT_FOLDER, ARTIFACTS_FOLDER):
        (folder / name).mkdir(parents=True)
    checkpoint = folder / "epoch-0001.0123456789abcdef.checkpoint"
    checkpoint.touch()
    return claimed, checkpoint, folder / CHECKPOINT_FOLDER


@pytest.mark.parametrize(
    ("state", "cause", "left"),
    [
        (TrialState.COMPLETE, None, (False, True)),  # what own code has saved is its result
        (TrialState.PRUNED, None, (False, False)),
        (TrialState.FAILED, Cause.DIVERGED, (False, False)),
        (TrialState.FAILED, Cause.TIMEOUT, (True, True)),  # `tuner retry` goes on from there
    ],
)
def test_files_go_once_the_end_is_stored(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, state: TrialState, cause: Cause | None,
    left: tuple[bool, bool],
) -> None:  # fmt: skip
    trial, checkpoint, own = held(worker)
    statement = worker._database.statement
    result: dict[str, Any] = {"cause": cause} if cause else {"values": [0.5]}

    def unreachable() -> Any:
        raise DatabaseUnreachableError

    monkeypatch.setattr(worker._database, "statement", unreachable)
    worker._finish(None, trial, state, **result)  # type: ignore[arg-type] - no lease is lost
    assert worker._outbox
    assert checkpoint.exists()
    assert own.exists()
    monkeypatch.setattr(worker._database, "statement", statement)
    eventually(worker._outbox.deliver)
    assert (checkpoint.exists(), own.exists()) == left
    worker._database.close()
