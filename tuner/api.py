"""tuner from Python and notebooks: `tuner.run`, `tuner.launch`, `tuner.study` …

    study = tuner.run("studies/digits-cnn.yaml")
    study.trials            # a pandas DataFrame
    study.best.params
    study.plot.history()    # a Plotly figure
    study.export()

What the functions return asks the database whenever it is asked itself, so it is never stale.
"""

import atexit
import contextlib
import html
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner import processes, trial_tables
from tuner.commands import confirming, experiments, exporting, launching, reading, steering
from tuner.database import schema
from tuner.database.engine import Database
from tuner.errors import (
    AllTrialsFailedError,
    BadInputError,
    ExecutorError,
    NothingToExportError,
    StudyNotFoundError,
    TunerError,
)
from tuner.export import Exported, all_params
from tuner.figures import registry, text
from tuner.figures.figure import Sample
from tuner.files import safe_name
from tuner.settings import python_environment, settings
from tuner.study_file.messages import quoted
from tuner.study_file.plain import plain
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import ParamValue, StudyState, Trial, TrialState, finished
from tuner.trials import Study as Record
from tuner.winner import choice

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

PERIOD = 0.5  # seconds between looks at a study that is worked on


@lru_cache(maxsize=1)
def _database() -> Database:
    """The connection of this process, until it ends."""
    database = schema.open_database(settings())
    atexit.register(database.close)
    return database


def launch(
    given: str | Path | Mapping[str, Any], *, overrides: Sequence[str] = (), name: str | None = None
) -> "Study | Experiment":
    """Launch a study, a file or its content, for workers elsewhere; of several families, of each.

    A mapping's values may be NumPy's numbers and arrays, paths, ranges and tuples.

    SpecError and DataError where it cannot be, StudyExistsError if its name is taken.
    """
    return _launched(given, overrides, name, resume=False)


def run(
    given: str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
    workers: int | None = None,
) -> "Study | Experiment":
    """Launch a study and work on it here until it is done; one that is there goes on.

    Where it has a section `confirm`, the winner is confirmed then. Of several families a study of
    each. ExecutorError where the worker fails, AllTrialsFailedError where every trial does.
    """
    launched = _launched(given, overrides, name, resume=True)
    parts = [launched] if isinstance(launched, Study) else list(launched.studies.values())
    names = [part.name for part in parts]
    _work_on(names, launched, workers)
    _raise_if_all_failed(names)
    records = [reading.find(_database(), name) for name in names]
    if all(record.state is StudyState.FINISHED for record in records):
        for record in records:
            _confirm(record, launched, workers)
    return launched


def _confirm(record: Record, shown: "Study | Experiment", workers: int | None) -> None:
    """Confirm the winner of a study that asks for it; nothing where it has no complete trial."""
    request = ResolvedSpec.from_json(record.spec or {}).confirm
    if request is None:
        return

    def work(companion: Record) -> bool:
        _work_on([companion.name], shown, workers)
        return False  # an interruption is an exception here

    with contextlib.suppress(NothingToExportError):
        contest = confirming.Confirmation(_database(), settings(), record, request)
        contest.run(work, lambda *_: None)


def _work_on(names: Sequence[str], shown: "Study | Experiment", workers: int | None) -> None:
    """Have a worker train these studies until they are done, and show how that stands."""
    options = [word for name in names for word in ("--study", name)]
    options += [] if workers is None else ["--workers", str(workers)]
    command = processes.command(
        "tuner.__main__", "worker", "--until-done", "--allow-code", *options
    )
    # its own session: a terminal's Ctrl-C is this process's business
    with _Progress(shown) as progress, tempfile.TemporaryFile("w+") as errors:
        worker = subprocess.Popen(
            command, env=python_environment(), stderr=errors, start_new_session=True
        )
        try:
            while worker.poll() is None:
                progress.show()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.wait(PERIOD)
        except BaseException:
            worker.terminate()  # it drains: what runs goes back to the queue
            worker.wait()
            for name in names:
                if reading.find(_database(), name).state is StudyState.ACTIVE:
                    steering.pause(_database(), name)
            raise
        if worker.returncode != 0:
            errors.seek(0)
            lines = [line for line in errors.read().splitlines() if line.strip()] or ["?"]
            raise ExecutorError(f"the worker ended with code {worker.returncode}: {lines[-1]}")


def _raise_if_all_failed(names: Sequence[str]) -> None:
    """AllTrialsFailedError where nothing of these studies has a result, and something failed."""
    known = [reading.load_overview(_database(), name) for name in names]
    if any(one.counts[TrialState.COMPLETE] + one.counts[TrialState.PRUNED] for one in known):
        return
    for one in known:
        if one.counts[TrialState.FAILED]:
            try:
                reading.load_best(_database(), one.study)
            except NothingToExportError as error:
                raise AllTrialsFailedError(str(error)) from None


def study(name: str) -> "Study":
    """A study that is there; StudyNotFoundError without one."""
    return Study(reading.find(_database(), name).name)


def experiment(name: str) -> "Experiment":
    """An experiment that is there; StudyNotFoundError without one."""
    if not reading.find_experiment(_database(), name):
        raise StudyNotFoundError(f"there is no experiment named {quoted(name)}")
    return Experiment(name)


def _launched(
    given: str | Path | Mapping[str, Any],
    overrides: Sequence[str],
    name: str | None,
    *,
    resume: bool,
) -> "Study | Experiment":
    if not isinstance(given, str | PathLike | Mapping):
        kind = type(given).__name__
        raise BadInputError(f"a study is the path of a study file or its content, is a {kind}")
    # a mapping through text, so that overrides and mistakes are those of files
    file = json.dumps(plain(given)) if isinstance(given, Mapping) else Path(given)
    overrides = [overrides] if isinstance(overrides, str) else overrides
    prepared = experiments.prepare(_database(), file, settings(), overrides=overrides, name=name)
    launched = launching.launch_all(_database(), prepared, resume=resume)
    found = prepared[0].experiment
    return Study(launched[0].study.name) if found is None else Experiment(found)


class Study:
    """A study, as it stands whenever it is asked."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def record(self) -> Record:
        """Everything that is stored of it but its trials."""
        return reading.find(_database(), self.name)

    @property
    def state(self) -> StudyState:
        """Whether workers may claim trials of it."""
        return self.record.state

    @property
    def all_trials(self) -> list[Trial]:
        """Its trials by number, with all their reports."""
        return reading.load_trials(_database(), self.record)

    @property
    def trials(self) -> "pd.DataFrame":
        """A row a trial: number, state, value, epochs, seconds, attempt, cause, then parameters.

        BadInputError where pandas is not installed.
        """
        rows = trial_tables.of_trials(self.record, self.all_trials)
        return _frame(rows, "study.trials", "study.all_trials")

    @property
    def best(self) -> "Best":
        """The winner: the best complete trial, or the one that a confirmation has found.

        NothingToExportError without any.
        """
        record = self.record
        trial = reading.load_winner(_database(), record)
        return Best(trial, all_params(record, trial))

    @property
    def plot(self) -> "Plots":
        """Its figures."""
        return Plots(self)

    def export(
        self,
        to: str | Path | None = None,
        *,
        force: bool = False,
        trial: int | None = None,
        formats: Sequence[str] = (),
        onnx: bool = False,
    ) -> Exported:
        """Write the winner's bundle, or that of a trial, by default to `exports/NAME`."""
        record = self.record
        chosen = exporting.choose_trial(_database(), record, trial)
        folder = Path("exports") / safe_name(self.name) if to is None else Path(to)
        return exporting.export_trial(
            _database(),
            settings(),
            record,
            chosen,
            folder,
            force=force,
            request=exporting.ExportRequest(formats, onnx),
        )

    def __repr__(self) -> str:
        record = self.record
        return f"<study {self.name!r}: {record.state}, {_progress(record)}>"

    def _repr_html_(self) -> str:
        record = self.record
        found = choice.select_best(self.all_trials, record)
        rows = [
            ("state", record.state + (f": {record.reason}" if record.reason else "")),
            ("trials", _progress(record)),
        ]
        if found is not None:
            rows.append(
                (f"best {record.metric}", f"{text.number(found.value)}, trial {found.number}")
            )
            params = all_params(record, found)
            rows += [(name, text.value(value)) for name, value in params.items()]
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in rows
        )
        return f"<b>{html.escape(self.name)}</b><table>{cells}</table>"


class Experiment:
    """Studies of several families on the same data, as they stand whenever it is asked."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def studies(self) -> dict[str, Study]:
        """Family → its study, as they were launched."""
        found = reading.find_experiment(_database(), self.name)
        return {record.family or record.name: Study(record.name) for record in found}

    @property
    def comparison(self) -> "pd.DataFrame":
        """A row a family, the best first: best, mean and deviation of the best five, time, size.

        BadInputError where pandas is not installed.
        """
        return _frame(self._rows(), "experiment.comparison", "experiment.studies")

    @property
    def trials(self) -> "pd.DataFrame":
        """A row a trial of every study, with its family; BadInputError without pandas."""
        rows = [
            {"family": family, **row}
            for family, one in self.studies.items()
            for row in trial_tables.of_trials(one.record, one.all_trials)
        ]
        return _frame(rows, "experiment.trials", "experiment.studies")

    @property
    def best(self) -> "Best":
        """The winner of the best family; NothingToExportError without any."""
        ranked = [(one.study, one.best) for one in experiments.compare(_database(), self.name)]
        return Study(choice.select_best_study(ranked)[0].name).best

    def export(
        self,
        to: str | Path | None = None,
        *,
        force: bool = False,
        formats: Sequence[str] = (),
        onnx: bool = False,
    ) -> list[Exported]:
        """Write the bundle of each family's winner, by default into `exports/NAME-families`.

        The folder appears whole or not at all.
        """
        folder = Path("exports") / safe_name(f"{self.name}-families") if to is None else Path(to)
        found = reading.find_experiment(_database(), self.name)
        request = exporting.ExportRequest(formats, onnx)
        return exporting.export_each(
            _database(), settings(), found, folder, force=force, request=request
        )

    def __repr__(self) -> str:
        studies = "; ".join(f"{f}: {_progress(one.record)}" for f, one in self.studies.items())
        return f"<experiment {self.name!r}: {studies}>"

    def _repr_html_(self) -> str:
        rows = self._rows()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in rows[0])
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_shown(v))}</td>" for v in row.values()) + "</tr>"
            for row in rows
        )
        return f"<b>{html.escape(self.name)}</b><table><tr>{head}</tr>{body}</table>"

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "family": one.study.family,
                "study": one.study.name,
                "state": str(one.study.state),
                "trials": finished(one.overview.counts),
                "best": one.top[0] if one.top else None,
                "mean of the best": None if one.spread is None else one.spread[0],
                "deviation": None if one.spread is None else one.spread[1],
                "seconds": one.seconds,
                "parameters": one.parameters,
            }
            for one in experiments.compare(_database(), self.name)
        ]


def _shown(value: object) -> str:
    return text.number(value) if isinstance(value, float | None) else str(value)


def _frame(rows: Sequence[Mapping[str, Any]], what: str, without: str) -> "pd.DataFrame":
    if find_spec("pandas") is None:
        raise BadInputError(
            f"`{what}` is a DataFrame of pandas, which is not installed; install it with: "
            f"pip install 'tuner[notebook]' (`{without}` does without)"
        )
    import pandas as pd

    return pd.DataFrame(rows)


class Best:
    """The winning trial and its whole configuration."""

    def __init__(self, trial: Trial, params: Mapping[str, ParamValue]) -> None:
        self.trial = trial
        self.params = dict(params)  # pinned ones among them

    @property
    def number(self) -> int:
        """Of the trial."""
        return self.trial.number

    @property
    def value(self) -> float | None:
        """By which it was chosen."""
        return self.trial.value

    def __repr__(self) -> str:
        return f"<trial {self.number}: {text.number(self.value)}, {self.params}>"


class Plots:
    """A study's figures, drawn with Plotly; a TunerError says why there is nothing to draw."""

    def __init__(self, of: Study) -> None:
        self._of = of

    def history(self) -> "go.Figure":
        """Draw values over trials, with the best so far."""
        return self.draw("history")

    def curves(self) -> "go.Figure":
        """Draw learning curves."""
        return self.draw("curves")

    def importance(self) -> "go.Figure":
        """Draw each parameter's share of the differences."""
        return self.draw("importance")

    def parallel(self) -> "go.Figure":
        """Draw parallel coordinates."""
        return self.draw("parallel")

    def slices(self) -> "go.Figure":
        """Draw the value against each parameter."""
        return self.draw("slices")

    def draw(self, name: str) -> "go.Figure":
        """Draw any registered figure by its name, such as `pareto`, `edf` or `timeline`."""
        figure = registry.FIGURES.get(name)
        if figure is None:
            names = ", ".join(registry.FIGURES)
            raise TunerError(f"there is no figure {name!r}; there are {names}")
        info = figure.info(self._sample(with_importances=figure.by_importance))
        if info.nothing:
            raise TunerError(info.nothing)
        return figure.module.draw(info)

    def _sample(self, *, with_importances: bool) -> Sample:
        record = self._of.record
        spec = None if record.spec is None else ResolvedSpec.from_json(record.spec)
        log_params = spec.space.log_parameters if spec else frozenset()
        if not with_importances:
            return Sample(record, self._of.all_trials, log_params)
        from tuner.search.importances import baselines, importances, shares  # with Optuna

        effects = importances(_database(), record)
        return Sample(record, self._of.all_trials, log_params, shares(effects), baselines(effects))


def _progress(record: Record) -> str:
    counts = reading.load_overview(_database(), record.name).counts
    said = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    done = f"{finished(counts)} of {record.max_trials or '∞'} done"
    return f"{done} ({said})" if said else done


class _Progress:
    """The study's own view, kept up to date in a notebook; nothing elsewhere."""

    def __init__(self, of: Study | Experiment) -> None:
        self._of = of
        self._handle: Any = None

    def __enter__(self) -> "_Progress":
        if "IPython" in sys.modules:
            shown = import_module("IPython").get_ipython()
            if shown is not None:
                display = import_module("IPython.display").display
                self._handle = display(self._of, display_id=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.show()

    def show(self) -> None:
        """Show how the study stands."""
        if self._handle is not None:
            self._handle.update(self._of)
