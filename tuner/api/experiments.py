"""An experiment for Python and notebooks: the studies of several families, compared."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner import trial_tables
from tuner.api.connection import database
from tuner.api.studies import Best, Study, data_frame, progress
from tuner.commands import experiments, exporting, reading
from tuner.errors import StudyNotFoundError
from tuner.export import Exported
from tuner.figures import text
from tuner.files import safe_name
from tuner.settings import settings
from tuner.study_file.messages import quoted
from tuner.trials import count_finished
from tuner.winner import choice

if TYPE_CHECKING:
    import pandas as pd


def experiment(name: str) -> "Experiment":
    """Open an existing experiment; `tuner.experiment` documents it."""
    if not reading.find_experiment(database(), name):
        raise StudyNotFoundError(f"there is no experiment named {quoted(name)}")
    return Experiment(name)


class Experiment:
    """Studies of several families on the same data; every access reads their current state.

    `tuner.run` and `tuner.launch` return one if the study file names several families.

    Example:
        >>> import tuner
        >>> words = tuner.experiment("words")
        >>> words.studies["bow"].best.number
        0
        >>> words.best.value == float(words.comparison["best"].max())
        True
        >>> sorted(set(words.trials["family"]))
        ['bow', 'tfidf']
        >>> [bundle.folder.name for bundle in words.export("exports/words")]
        ['tfidf', 'bow']
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def studies(self) -> dict[str, Study]:
        """The study of each family, by the family's name, in the order of the file."""
        records = reading.find_experiment(database(), self.name)
        return {record.family or record.name: Study(record.name) for record in records}

    @property
    def comparison(self) -> "pd.DataFrame":
        """The studies as a data frame, one row per family, best first.

        Columns: family, study, state, trials, best, mean of the best (five) and their deviation,
        seconds of all trials, and parameters, the size of the best model.

        Raises:
            BadInputError: pandas is not installed; `studies` does not need it.
        """
        return data_frame(self._rows(), "experiment.comparison", "experiment.studies")

    @property
    def trials(self) -> "pd.DataFrame":
        """The trials of all studies as a data frame: `family`, then the columns of `Study.trials`.

        Raises:
            BadInputError: pandas is not installed; `studies` does not need it.
        """
        rows = [
            {"family": family, **row}
            for family, study in self.studies.items()
            for row in trial_tables.of_trials(study.record, study.all_trials)
        ]
        return data_frame(rows, "experiment.trials", "experiment.studies")

    @property
    def best(self) -> Best:
        """The winner of the best family.

        Raises:
            NothingToExportError: No trial is complete.
        """
        results = experiments.compare(database(), self.name)
        best, _ = choice.select_best_study([(result.study, result.best) for result in results])
        return Study(best.name).best

    def export(
        self,
        to: str | Path | None = None,
        *,
        force: bool = False,
        formats: Sequence[str] = (),
        onnx: bool = False,
    ) -> list[Exported]:
        """Write the bundle of each family's winner; all of them appear, or none.

        Args:
            to: Folder of the bundles, each in a folder of its family's name;
                `exports/NAME-families` if None.
            force: Whether to replace bundles that exist.
            formats: Further formats of the configuration, such as `json` and `toml`.
            onnx: Whether to write the networks as ONNX too.

        Returns:
            The bundles, in the order of the file.

        Raises:
            BadInputError: The folder is taken, or ONNX is not available.
            NothingToExportError: A study has no complete trial, or its weights are on another
                machine.
        """
        folder = Path("exports") / safe_name(f"{self.name}-families") if to is None else Path(to)
        records = reading.find_experiment(database(), self.name)
        request = exporting.ExportRequest(formats, onnx)
        return exporting.export_each(
            database(), settings(), records, folder, force=force, request=request
        )

    def __repr__(self) -> str:
        studies = "; ".join(
            f"{family}: {progress(study.record)}" for family, study in self.studies.items()
        )
        return f"<experiment {self.name!r}: {studies}>"

    def _repr_html_(self) -> str:
        rows = self._rows()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in rows[0])
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_cell(v))}</td>" for v in row.values()) + "</tr>"
            for row in rows
        )
        return f"<b>{html.escape(self.name)}</b><table><tr>{head}</tr>{body}</table>"

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "family": result.study.family,
                "study": result.study.name,
                "state": str(result.study.state),
                "trials": count_finished(result.overview.counts),
                "best": result.top[0] if result.top else None,
                "mean of the best": None if result.spread is None else result.spread[0],
                "deviation": None if result.spread is None else result.spread[1],
                "seconds": result.seconds,
                "parameters": result.parameters,
            }
            for result in experiments.compare(database(), self.name)
        ]


def _cell(value: object) -> str:
    return text.number(value) if isinstance(value, float | None) else str(value)
