"""Every line of the log names what it is about."""

import logging
from collections.abc import Iterator

import pytest

from tuner import logs


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger of ours; what a test configures is undone."""
    root = logging.getLogger("tuner")
    before = root.handlers[:], root.level, root.propagate
    yield logging.getLogger("tuner.worker.loop")
    root.handlers[:], root.level, root.propagate = before


def test_lines_carry_worker_study_and_trial(
    log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info")
    with logs.log_context(worker="host:1"):
        with logs.log_context(study=3, trial=7):
            log.warning("lease lost")
        log.info("idle")
    log.info("outside")
    log.debug("too quiet")
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.endswith("WARNING tuner.worker.loop worker=host:1 study=3 trial=7 lease lost")
    assert second.endswith("INFO tuner.worker.loop worker=host:1 idle")
    assert third.endswith("INFO tuner.worker.loop outside")
