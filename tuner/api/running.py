"""Launch studies from Python, and have a worker of this process train them."""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from tuner import processes
from tuner.api.connection import database
from tuner.api.experiments import Experiment
from tuner.api.studies import Study
from tuner.commands import confirming, experiments, launching, reading, steering
from tuner.errors import AllTrialsFailedError, BadInputError, ExecutorError, NothingToExportError
from tuner.settings import python_environment, settings
from tuner.study_file.plain import plain
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Study as Record
from tuner.trials import StudyState, TrialState

PERIOD = 0.5  # seconds between updates of what a notebook shows


def launch(
    definition: str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
) -> Study | Experiment:
    """Launch a study for workers elsewhere; `tuner.launch` documents it."""
    return _launch(definition, overrides, name, resume=False)


def run(
    definition: str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
    workers: int | None = None,
) -> Study | Experiment:
    """Launch a study and work on it here until it is done; `tuner.run` documents it."""
    launched = _launch(definition, overrides, name, resume=True)
    studies = [launched] if isinstance(launched, Study) else list(launched.studies.values())
    names = [study.name for study in studies]
    _work_on(names, launched, workers)
    _raise_if_all_failed(names)
    records = [reading.find(database(), name) for name in names]
    if all(record.state is StudyState.FINISHED for record in records):
        for record in records:
            _confirm(record, launched, workers)
    return launched


def _launch(
    definition: str | Path | Mapping[str, Any],
    overrides: Sequence[str],
    name: str | None,
    *,
    resume: bool,
) -> Study | Experiment:
    if not isinstance(definition, str | PathLike | Mapping):
        kind = type(definition).__name__
        raise BadInputError(f"a study is the path of a study file or its content, is a {kind}")
    # a mapping becomes text, so that overrides and errors are those of files
    file = json.dumps(plain(definition)) if isinstance(definition, Mapping) else Path(definition)
    overrides = [overrides] if isinstance(overrides, str) else overrides
    prepared = experiments.prepare(database(), file, settings(), overrides=overrides, name=name)
    launched = launching.launch_all(database(), prepared, resume=resume)
    experiment = prepared[0].experiment
    return Study(launched[0].study.name) if experiment is None else Experiment(experiment)


def _confirm(record: Record, view: Study | Experiment, workers: int | None) -> None:
    """Confirm the winner if the study file asks for it and some trial is complete."""
    request = ResolvedSpec.from_json(record.spec or {}).confirm
    if request is None:
        return

    def work(companion: Record) -> bool:
        _work_on([companion.name], view, workers)
        return False  # an interruption raises an exception here

    with contextlib.suppress(NothingToExportError):
        confirmation = confirming.Confirmation(database(), settings(), record, request)
        confirmation.run(work, lambda *_: None)


def _work_on(names: Sequence[str], view: Study | Experiment, workers: int | None) -> None:
    """Have a worker train these studies until they are done; a notebook shows `view` meanwhile."""
    options = [word for name in names for word in ("--study", name)]
    options += [] if workers is None else ["--workers", str(workers)]
    command = processes.command(
        "tuner.__main__", "worker", "--until-done", "--allow-code", *options
    )
    # a session of its own: this process handles a terminal's Ctrl-C
    with _Progress(view) as progress, tempfile.TemporaryFile("w+") as errors:
        worker = subprocess.Popen(
            command, env=python_environment(), stderr=errors, start_new_session=True
        )
        try:
            while worker.poll() is None:
                progress.show()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.wait(PERIOD)
        except BaseException:
            worker.terminate()  # it drains: running trials return to the queue
            worker.wait()
            for name in names:
                if reading.find(database(), name).state is StudyState.ACTIVE:
                    steering.pause(database(), name)
            raise
        if worker.returncode != 0:
            errors.seek(0)
            lines = [line for line in errors.read().splitlines() if line.strip()] or ["?"]
            raise ExecutorError(f"the worker ended with code {worker.returncode}: {lines[-1]}")


def _raise_if_all_failed(names: Sequence[str]) -> None:
    """AllTrialsFailedError if no trial of these studies has a result, and some trial failed."""
    overviews = [reading.load_overview(database(), name) for name in names]
    for overview in overviews:
        if overview.counts[TrialState.COMPLETE] + overview.counts[TrialState.PRUNED]:
            return
    for overview in overviews:
        if overview.counts[TrialState.FAILED]:
            try:
                reading.load_best(database(), overview.study)
            except NothingToExportError as error:
                raise AllTrialsFailedError(str(error)) from None


class _Progress:
    """Keeps a study's or an experiment's table up to date in a notebook; does nothing elsewhere."""

    def __init__(self, view: Study | Experiment) -> None:
        self._view = view
        self._handle: Any = None

    def __enter__(self) -> "_Progress":
        if "IPython" in sys.modules:
            shell = import_module("IPython").get_ipython()
            if shell is not None:
                display = import_module("IPython.display").display
                self._handle = display(self._view, display_id=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.show()

    def show(self) -> None:
        """Update the table."""
        if self._handle is not None:
            self._handle.update(self._view)
