"""A study, its winner and its figures, for Python and notebooks."""

import html
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner import trial_tables
from tuner.api.connection import database
from tuner.commands import exporting, learning, reading
from tuner.commands.learning import LearnedFrom
from tuner.errors import BadInputError, TunerError
from tuner.export import Exported, all_params
from tuner.figures import registry, text
from tuner.figures.figure import Sample
from tuner.files import safe_name
from tuner.settings import settings
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import ParamValue, StudyState, Trial, count_finished
from tuner.trials import Study as Record
from tuner.winner import choice, hypervolume

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


def study(name: str) -> "Study":
    """Open an existing study; `tuner.study` documents it."""
    return Study(reading.find(database(), name).name)


class Study:
    """A study; every access reads its current state from the database.

    `tuner.run`, `tuner.launch` and `tuner.study` return one. At the end of a notebook's cell it
    shows itself as a table.

    Example:
        >>> import tuner
        >>> study = tuner.study("parabola")
        >>> str(study.state), study.record.family
        ('finished', 'function')
        >>> len(study.all_trials), list(study.trials["number"])[:3]
        (12, [0, 1, 2])
        >>> study.best.value == float(study.trials["loss"].min())
        True
        >>> study.hypervolume() is None  # it has one objective
        True
        >>> study.learned_from  # its file names no earlier study
        []
        >>> figure = study.plot.history()
        >>> study.export("exports/parabola").folder.name
        'parabola'
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def record(self) -> Record:
        """Everything that is stored about the study, except its trials."""
        return reading.find(database(), self.name)

    @property
    def state(self) -> StudyState:
        """Whether workers may claim its trials: active, paused, stopped or finished."""
        return self.record.state

    @property
    def all_trials(self) -> list[Trial]:
        """Its trials by number, each with all its reports."""
        return reading.load_trials(database(), self.record)

    @property
    def trials(self) -> "pd.DataFrame":
        """Its trials as a data frame, one row per trial.

        Columns: number, state, the metrics, epochs, seconds, attempt, cause, message, how it was
        proposed (`proposed`, and `proposed.NAME` per detail, such as `proposed.sampler`), and one
        `param.NAME` per parameter.

        Raises:
            BadInputError: pandas is not installed; `all_trials` does not need it.
        """
        rows = trial_tables.of_trials(self.record, self.all_trials)
        return data_frame(rows, "study.trials", "study.all_trials")

    @property
    def best(self) -> "Best":
        """The winner: the best complete trial, or the one that a confirmation chose.

        Raises:
            NothingToExportError: No trial is complete.
        """
        record = self.record
        trial = reading.load_winner(database(), record)
        return Best(trial, all_params(record, trial))

    @property
    def learned_from(self) -> list[LearnedFrom]:
        """The earlier studies that it has learned from, each with its present weight."""
        return learning.load_learned(database(), self.record)

    def hypervolume(self) -> float | None:
        """Measure how much its Pareto front beats the reference point by.

        Returns:
            The hypervolume; None with one objective, and before the reference point is known.
        """
        return hypervolume.hypervolume(self.all_trials, self.record)

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
        """Write the bundle of the winner, or of another trial.

        Args:
            to: Folder of the bundle; `exports/NAME` if None.
            force: Whether to replace a bundle that exists.
            trial: Number of the trial; the winner if None.
            formats: Further formats of the configuration, such as `json` and `toml`.
            onnx: Whether to write the network as ONNX too.

        Returns:
            The bundle: its `folder`, and the `content` of its `result.json`.

        Raises:
            BadInputError: The folder is taken, or ONNX is not available.
            NothingToExportError: No trial is complete, or the weights are on another machine.
            TrialNotFoundError: There is no such trial, or it is not complete.
        """
        record = self.record
        chosen = exporting.choose_trial(database(), record, trial)
        folder = Path("exports") / safe_name(self.name) if to is None else Path(to)
        return exporting.export_trial(
            database(),
            settings(),
            record,
            chosen,
            folder,
            force=force,
            request=exporting.ExportRequest(formats, onnx),
        )

    def __repr__(self) -> str:
        record = self.record
        return f"<study {self.name!r}: {record.state}, {progress(record)}>"

    def _repr_html_(self) -> str:
        record = self.record
        best = choice.select_best(self.all_trials, record)
        rows = [
            ("state", record.state + (f": {record.reason}" if record.reason else "")),
            ("trials", progress(record)),
        ]
        if best is not None:
            rows.append(
                (f"best {record.metric}", f"{text.number(best.value)}, trial {best.number}")
            )
            params = all_params(record, best)
            rows += [(name, text.value(value)) for name, value in params.items()]
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in rows
        )
        return f"<b>{html.escape(self.name)}</b><table>{cells}</table>"


class Best:
    """The winning trial and its whole configuration.

    Example:
        >>> import tuner
        >>> best = tuner.study("parabola").best
        >>> best.value == best.trial.value, best.number == best.trial.number
        (True, True)
        >>> list(best.params)
        ['x']
    """

    def __init__(self, trial: Trial, params: Mapping[str, ParamValue]) -> None:
        self.trial = trial
        self.params = dict(params)  # including pinned ones

    @property
    def number(self) -> int:
        """Number of the trial in its study."""
        return self.trial.number

    @property
    def value(self) -> float | None:
        """Value of the study's first metric."""
        return self.trial.value

    def __repr__(self) -> str:
        return f"<trial {self.number}: {text.number(self.value)}, {self.params}>"


class Plots:
    """A study's figures, drawn with Plotly; a TunerError says why there is nothing to draw.

    Example:
        >>> import tuner
        >>> plot = tuner.study("parabola").plot
        >>> figures = [plot.history(), plot.curves(), plot.parallel(), plot.slices()]
        >>> figures += [plot.importance(), plot.draw("timeline")]
        >>> all(len(figure.data) > 0 for figure in figures)
        True
    """

    def __init__(self, study: Study) -> None:
        self._study = study

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
        """Draw any registered figure.

        Args:
            name: Name of the figure, such as `pareto`, `edf` or `timeline`.

        Returns:
            The figure, as `plotly.graph_objects.Figure`.

        Raises:
            TunerError: There is no such figure, or nothing to draw yet.
        """
        figure = registry.FIGURES.get(name)
        if figure is None:
            names = ", ".join(registry.FIGURES)
            raise TunerError(f"there is no figure {name!r}; there are {names}")
        info = figure.info(self._sample(with_importances=figure.by_importance))
        if info.nothing:
            raise TunerError(info.nothing)
        return figure.module.draw(info)

    def _sample(self, *, with_importances: bool) -> Sample:
        record = self._study.record
        spec = None if record.spec is None else ResolvedSpec.from_json(record.spec)
        log_params = spec.space.log_parameters if spec else frozenset()
        trials = self._study.all_trials
        if not with_importances:
            return Sample(record, trials, log_params)
        from tuner.search.importances import baselines, importances, shares  # imports Optuna

        effects = importances(database(), record)
        return Sample(record, trials, log_params, shares(effects), baselines(effects))


def progress(record: Record) -> str:
    """Describe how many of a study's trials are done, and how many are in each state."""
    counts = reading.load_overview(database(), record.name).counts
    by_state = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    ratio = f"{count_finished(counts)} of {record.max_trials or '∞'} done"
    return f"{ratio} ({by_state})" if by_state else ratio


def data_frame(rows: Sequence[Mapping[str, Any]], name: str, alternative: str) -> "pd.DataFrame":
    """Turn rows into a data frame; BadInputError names the `alternative` if pandas is missing."""
    if find_spec("pandas") is None:
        raise BadInputError(
            f"`{name}` is a DataFrame of pandas, which is not installed; install it with: "
            f"pip install 'tuner[notebook]' (`{alternative}` does without)"
        )
    import pandas as pd

    return pd.DataFrame(rows)
