"""Machines whose clocks are hours off: time is the database's."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.lab import Lab, taken_over
from tests.support.postgres import separate_server
from tests.support.waiting import STUCK, eventually

FAKETIME = shutil.which("faketime")
OFFSETS = ("+2h", "-2h")


def clock(offset: str) -> dict[str, str]:
    """The environment of a program that sees another date."""
    assert FAKETIME is not None
    completed = subprocess.run(
        [FAKETIME, "-f", "+0s", "printenv", "LD_PRELOAD"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return {"LD_PRELOAD": completed.stdout.strip(), "FAKETIME": offset}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with separate_server() as server:
        lab = Lab(server, "clocks", tmp_path)
        yield lab
        lab.kill()


@pytest.mark.skipif(FAKETIME is None, reason="faketime is not installed")
def test_workers_two_hours_ahead_and_behind(lab: Lab) -> None:
    """None takes a trial whose lease has not ended, and one that dies is still noticed."""
    for offset in OFFSETS:  # an hour, which is over where a clock is two hours ahead
        lab.start_worker(**clock(offset), TUNER_LEASE_SECONDS="3600")
    lab.launch("idle")
    lab.check("idle")
    assert {t.attempt for t in lab.trials("idle")} == {1}
    for worker in lab.workers:
        worker.terminate()
        assert worker.wait(STUCK) == 0
        lab.told.add(worker.pid)
    for offset in OFFSETS:
        lab.start_worker(**clock(offset))
    lab.launch("epoch")
    executor, number = lab.reached("epoch")
    lab.worker_of(executor).kill()
    eventually(lambda: taken_over(lab, "epoch", number))
    lab.check("epoch")
    now = datetime.now(UTC)
    for trial in (*lab.trials("idle"), *lab.trials("epoch")):
        assert trial.started_at is not None
        assert trial.finished_at is not None
        assert now - timedelta(hours=1) < trial.started_at < trial.finished_at <= now
    lab.close()
