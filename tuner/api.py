"""tuner from Python and notebooks: `tuner.run`, `tuner.launch`, `tuner.study`.

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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner import commands, experiments, tables
from tuner.database.engine import Database
from tuner.errors import BadInputError, ExecutorError, TunerError
from tuner.export import Exported, all_params
from tuner.figures import curves, history, importance, parallel, slices, text
from tuner.files import safe_name
from tuner.settings import settings
from tuner.spec.load import loads
from tuner.spec.resolved import ResolvedSpec
from tuner.trials import ParamValue, StudyState, Trial, finished
from tuner.trials import Study as Record
from tuner.winner import choice

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

PERIOD = 0.5  # seconds between looks at a study that is worked on


@lru_cache(maxsize=1)
def _database() -> Database:
    """The connection of this process, until it ends."""
    database = commands.open_database(settings())
    atexit.register(database.close)
    return database


def launch(
    given: str | Path | Mapping[str, Any], *, overrides: Sequence[str] = (), name: str | None = None
) -> "Study":
    """Launch a study, a file or its content, for workers elsewhere.

    SpecError and DataError where it cannot be, StudyExistsError if its name is taken.
    """
    return Study(_launched(given, overrides, name, resume=False).name)


def run(
    given: str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
    workers: int | None = None,
) -> "Study":
    """Launch a study and work on it here until it is done; one that is there goes on.

    ExecutorError where the worker fails.
    """
    made = Study(_launched(given, overrides, name, resume=True).name)
    words = [sys.executable, "-m", "tuner", "worker", "--study", made.name, "--until-done"]
    words += ["--allow-code", *([] if workers is None else ["--workers", str(workers)])]
    # its own session: a terminal's Ctrl-C is this process's business
    with _Progress(made) as progress, tempfile.TemporaryFile("w+") as said:
        worker = subprocess.Popen(words, stderr=said, start_new_session=True)
        try:
            while worker.poll() is None:
                progress.show()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.wait(PERIOD)
        except BaseException:
            worker.terminate()  # it drains: what runs goes back to the queue
            worker.wait()
            if made.state is StudyState.ACTIVE:
                commands.pause(_database(), made.name)
            raise
        if worker.returncode != 0:
            said.seek(0)
            lines = [line for line in said.read().splitlines() if line.strip()] or ["?"]
            raise ExecutorError(f"the worker ended with code {worker.returncode}: {lines[-1]}")
    return made


def study(name: str) -> "Study":
    """A study that is there; StudyNotFoundError without one."""
    return Study(commands.find(_database(), name).name)


def _launched(
    given: str | Path | Mapping[str, Any],
    overrides: Sequence[str],
    name: str | None,
    *,
    resume: bool,
) -> Record:
    database, chosen = _database(), settings()
    if isinstance(given, Mapping):
        # through text, so that overrides and mistakes are those of files
        source = loads(json.dumps(dict(given)), overrides=overrides, rename=name)
        prepared = commands.prepare_source(database, source, chosen)
    else:
        prepared, *others = experiments.prepare(
            database, Path(given), chosen, overrides=overrides, name=name
        )
        if others:
            raise BadInputError(f"{given}: names several families; `tuner run` launches those")
    return commands.launch(database, prepared, resume=resume).study


class Study:
    """A study, as it stands whenever it is asked."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def record(self) -> Record:
        """Everything that is stored of it but its trials."""
        return commands.find(_database(), self.name)

    @property
    def state(self) -> StudyState:
        """Whether workers may claim trials of it."""
        return self.record.state

    @property
    def all_trials(self) -> list[Trial]:
        """Its trials by number, with all their reports."""
        return commands.load_trials(_database(), self.record)

    @property
    def trials(self) -> "pd.DataFrame":
        """A row a trial: number, state, value, epochs, seconds, attempt, cause, then parameters.

        BadInputError where pandas is not installed.
        """
        if find_spec("pandas") is None:
            raise BadInputError(
                "`study.trials` is a DataFrame of pandas, which is not installed; install it with: "
                "pip install 'tuner[notebook]' (`study.all_trials` does without)"
            )
        import pandas as pd

        return pd.DataFrame(tables.of_trials(self.record, self.all_trials))

    @property
    def best(self) -> "Best":
        """The winner: the best complete trial, or the one that a confirmation has found.

        NothingToExportError without any.
        """
        record = self.record
        (trial,) = choice.chosen(_database(), record)
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
        (chosen,) = choice.chosen(_database(), record, number=trial)
        folder = Path("exports") / safe_name(self.name) if to is None else Path(to)
        return choice.export_trial(
            _database(),
            settings(),
            record,
            chosen,
            folder,
            force=force,
            formats=formats,
            onnx=onnx,
        )

    def __repr__(self) -> str:
        record = self.record
        return f"<study {self.name!r}: {record.state}, {_progress(record)}>"

    def _repr_html_(self) -> str:
        record = self.record
        found = commands.best_of(self.all_trials, record)
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
    """A study's figures, each of Plotly; TunerError with a sentence where there is nothing."""

    def __init__(self, of: Study) -> None:
        self._of = of

    def history(self) -> "go.Figure":
        """Values over trials, with the best so far."""
        return _drawn(history, history.info(self._of.all_trials, self._of.record))

    def curves(self) -> "go.Figure":
        """Learning curves."""
        return _drawn(curves, curves.info(self._of.all_trials, self._of.record))

    def importance(self) -> "go.Figure":
        """Each parameter's share of the differences."""
        return _drawn(importance, importance.info(_importances(self._of.record)))

    def parallel(self) -> "go.Figure":
        """Parallel coordinates."""
        record = self._of.record
        trials = self._of.all_trials
        return _drawn(parallel, parallel.info(trials, record, **_axes(record)))

    def slices(self) -> "go.Figure":
        """The value against each parameter."""
        record = self._of.record
        return _drawn(slices, slices.info(self._of.all_trials, record, **_axes(record)))


def _drawn(module: Any, found: Any) -> "go.Figure":
    if found.nothing:
        raise TunerError(found.nothing)
    return module.draw(found)


def _axes(record: Record) -> dict[str, Any]:
    spec = None if record.spec is None else ResolvedSpec.from_json(record.spec)
    log = spec.space.log_parameters if spec else frozenset()
    return {"log_params": log, "importances": _importances(record)}


def _importances(record: Record) -> dict[str, float] | None:
    from tuner.search.importances import importances  # with Optuna

    return importances(_database(), record)


def _progress(record: Record) -> str:
    counts = commands.overview(_database(), record.name).counts
    said = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    done = f"{finished(counts)} of {record.max_trials or '∞'} done"
    return f"{done} ({said})" if said else done


class _Progress:
    """The study's own view, kept up to date in a notebook; nothing elsewhere."""

    def __init__(self, of: Study) -> None:
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
