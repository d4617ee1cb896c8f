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
    """One name per objective; placeholders if a study made through Optuna has none."""
    count = len(study.directions)
    return study.metrics or (
        ("value",) if count == 1 else tuple(f"value {i}" for i in range(count))
    )


def values(trial: Trial, study: Study) -> list[float | None]:
    """One value per objective, None where the trial has none."""
    reported = list(trial.values or ())[: len(study.directions)]
    return [*reported, *(None for _ in range(len(study.directions) - len(reported)))]


def of_trials(study: Study, trials: Sequence[Trial]) -> list[Row]:
    """One row per trial: number, state, metrics, epochs, seconds, attempt, cause, parameters.

    And, where any trial has some: constraints, as `feasible` and `constraint.NAME` per constraint;
    and the origin, as `proposed` and `proposed.NAME` per known detail.
    """
    constraints = list(dict.fromkeys(name for trial in trials for name in trial.constraints))
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    origins = {trial.number: trial.origin.as_json() for trial in trials if trial.origin is not None}
    details = list(dict.fromkeys(name for origin in origins.values() for name in origin))
    proposed = {name: "proposed" if name == "kind" else f"proposed.{name}" for name in details}
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
            **{
                column: origins.get(trial.number, {}).get(name) for name, column in proposed.items()
            },
            **({"feasible": _is_feasible(trial)} if constraints else {}),
            **{f"constraint.{name}": trial.constraints.get(name) for name in constraints},
            **{f"param.{name}": trial.params.get(name) for name in names},
        }
        for trial in trials
    ]


def _is_feasible(trial: Trial) -> bool | None:
    """Whether it keeps its constraints; None if that is not known."""
    return not trial.violates_constraint if trial.constraints else None


def of_reports(study: Study, trials: Sequence[Trial]) -> list[Row]:
    """One row per report: trial, step, the metric and all other metrics."""
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
    """One row per attempt: trial, attempt, outcome, message, times in UTC as ISO 8601."""
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
    """Write CSV with a header; cells that a spreadsheet would run as a formula get an apostrophe.

    Invisible characters are escaped, so a row is one line and cannot control a terminal.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(cell, columns))
    writer.writerows([cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def json_lines(rows: Sequence[Row]) -> str:
    """Write one JSON object per line; NaN and infinities become null."""
    lines = (json.dumps(plain(row), ensure_ascii=True) for row in rows)
    return "".join(f"{line}\n" for line in lines)


def write_parquet(rows: Sequence[Row], columns: Sequence[str], path: Path) -> None:
    """Write a Parquet file, which appears whole; columns of mixed types become text."""
    import pyarrow as pa
    from pyarrow import parquet

    arrays = {name: _column([row.get(name) for row in rows]) for name in columns}
    sink = io.BytesIO()
    parquet.write_table(pa.table(arrays), sink)
    files.write(path, sink.getvalue())


def columns_of(rows: Sequence[Row]) -> list[str]:
    """The names of all columns, in order of appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _column(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1:
        return values
    if kinds <= {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else str(value) for value in values]
