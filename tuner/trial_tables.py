"""Trials, reports and attempts as rows; rows as CSV, JSON lines and Parquet, for other programs."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner import files
from tuner.study_json import cell, plain
from tuner.trials import Attempt, Study, Trial

Row = Mapping[str, Any]


def metric_names(study: Study) -> tuple[str, ...]:
    """One an objective; a study made through Optuna's API may have none."""
    known = len(study.directions)
    return study.metrics or (
        ("value",) if known == 1 else tuple(f"value {i}" for i in range(known))
    )


def values(trial: Trial, study: Study) -> list[float | None]:
    """One an objective."""
    found = list(trial.values or ())[: len(study.directions)]
    return [*found, *(None for _ in range(len(study.directions) - len(found)))]


def of_trials(study: Study, trials: Sequence[Trial]) -> list[Row]:
    """A row a trial: number, state, metrics, epochs, seconds, attempt, cause, parameters."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    return [
        {
            "number": trial.number,
            "state": str(trial.state),
            **dict(zip(metric_names(study), values(trial, study), strict=True)),
            "epochs": trial.reports[-1].step if trial.reports else 0,
            "seconds": trial.seconds,
            "attempt": trial.attempt,
            "cause": None if trial.cause is None else str(trial.cause),
            "message": trial.message,
            **{f"param.{name}": trial.params.get(name) for name in names},
        }
        for trial in trials
    ]


def of_reports(study: Study, trials: Sequence[Trial]) -> list[Row]:
    """A row a report: trial, step, the metric and whatever else was measured."""
    reports = [(trial.number, report) for trial in trials for report in trial.reports]
    names = list(dict.fromkeys(name for _, report in reports for name in report.metrics))
    return [
        {
            "trial": number,
            "step": report.step,
            study.metric: report.value,
            **{name: report.metrics.get(name) for name in names if name != study.metric},
        }
        for number, report in reports
    ]


def of_attempts(attempts: Sequence[Attempt]) -> list[Row]:
    """A row an attempt: trial, attempt, how it ended, when; times are UTC, as ISO 8601 has them."""
    return [
        {
            "trial": attempt.number,
            "attempt": attempt.attempt,
            "outcome": attempt.outcome,
            "message": attempt.message,
            "started_at": plain(attempt.started_at),
            "ended_at": plain(attempt.ended_at),
        }
        for attempt in attempts
    ]


def csv_text(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """CSV with a header. Cells that a spreadsheet would run as a formula get an apostrophe.

    What cannot be seen is escaped, so that a row is a line and no terminal is steered.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(cell, columns))
    writer.writerows([cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def json_lines(rows: Sequence[Row]) -> str:
    """A JSON object a line; NaN and infinities are null."""
    lines = (json.dumps(plain(row), ensure_ascii=True) for row in rows)
    return "".join(f"{line}\n" for line in lines)


def write_parquet(rows: Sequence[Row], columns: Sequence[str], path: Path) -> None:
    """A Parquet file, which appears whole; a column of mixed kinds is one of texts."""
    import pyarrow as pa
    from pyarrow import parquet

    arrays = {name: _column([row.get(name) for row in rows]) for name in columns}
    sink = io.BytesIO()
    parquet.write_table(pa.table(arrays), sink)
    files.write(path, sink.getvalue())


def columns_of(rows: Sequence[Row]) -> list[str]:
    """The names in the order in which they come."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _column(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1:
        return values
    if kinds <= {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else str(value) for value in values]
