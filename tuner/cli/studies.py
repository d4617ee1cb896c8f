"""Look at studies: `list`, `show`, `trials`, `best`, `export`, `families`."""

import math
from pathlib import Path
from typing import Any, Literal

import typer
from rich.measure import Measurement
from rich.table import Table

from tuner import export, files, study_json, trial_tables
from tuner.cli.other_tools import As, to_logs, to_optuna
from tuner.cli.outcome import default_export, describe_test, print_notes
from tuner.cli.output import (
    PIPED,
    AsJson,
    StudyName,
    command_markup,
    duration,
    err,
    literal,
    moment,
    number,
    open_database,
    out,
    param,
    params_table,
    print_json,
    state,
    table,
)
from tuner.cli.show import overview_record, show, warn_of_other_objectives
from tuner.commands import exporting, reading
from tuner.database.engine import Database
from tuner.errors import BadInputError
from tuner.families import registry
from tuner.study_file.messages import instead, listed, quoted
from tuner.trials import Attempt, Study, Trial, TrialState, better, count_finished
from tuner.winner import confirmations

SHOWN_TRIALS = 50
EMPTY_TRIAL = Trial(0, TrialState.WAITING, {})  # these two stand for their columns
EMPTY_ATTEMPT = Attempt(0, 0, "", None, None, None)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for name, command in (
        ("list", list_),
        ("show", show),
        ("trials", trials),
        ("best", best),
        ("export", export_),
        ("families", families),
    ):
        app.command(name, rich_help_panel="Inspect and export")(command)


def list_(as_json: bool = AsJson) -> None:
    """List all studies."""
    with open_database() as (_, database):
        overviews = reading.load_overviews(database)
        if as_json:
            print_json([overview_record(o) for o in overviews])
            return
        if not overviews:
            file = "studies/digits-cnn.yaml"  # in the repository only
            start = file if Path(file).is_file() else "STUDY.yaml"
            out.print(f"no studies yet; start with {command_markup('run', start)}")
            return
        listing = table(
            "study", "state", "family", "done", "running", "created", right=frozenset({"running"})
        )
        for overview in overviews:
            finished_count = count_finished(overview.counts)
            listing.add_row(
                literal(overview.study.name),
                state(overview.study.state),
                literal(overview.study.family or "optuna"),
                f"{finished_count}/{overview.study.max_trials or '∞'}",
                str(overview.counts[TrialState.RUNNING]),
                moment(overview.study.created_at),
            )
        out.print(listing)


def trials(
    name: str = StudyName,
    output_format: Literal["table", "csv", "json", "jsonl", "parquet"] = typer.Option(
        "table", "--format", "-f", help="Output format."
    ),
    in_state: TrialState | None = typer.Option(None, "--state", help="Only trials in this state."),
    sort: Literal["number", "value"] = typer.Option(
        "number", "--sort", help="Sort by number, or by value (best first)."
    ),
    top: int | None = typer.Option(None, "--top", "-n", min=1, help="Print at most this many."),
    rows: Literal["trials", "reports", "attempts"] = typer.Option(
        "trials", "--rows", help="One row per trial, report or attempt (csv, jsonl and parquet)."
    ),
    to: Path | None = typer.Option(None, "--to", help="Write to this file; required for parquet."),
    tensorboard: Path | None = typer.Option(
        None, "--tensorboard", metavar="FOLDER", help="Write TensorBoard event files instead."
    ),
    mlflow: str | None = typer.Option(
        None, "--mlflow", metavar="URI", help="Log the trials to this MLflow server instead."
    ),
    as_json: bool = AsJson,
) -> None:
    """Print a study's trials, write them to a file, or log them to TensorBoard or MLflow."""
    logs = tensorboard is not None or mlflow is not None
    if logs and (output_format != "table" or rows != "trials" or to is not None):
        raise BadInputError(
            "`--tensorboard` and `--mlflow` log trials and take no `--format`, `--rows` or `--to`, "
            "which apply to printed output and files"
        )
    if mlflow == "":
        raise BadInputError("--mlflow: must name a server, such as http://127.0.0.1:5000")
    output_format = "json" if as_json else output_format
    if rows != "trials" and output_format in ("table", "json"):
        raise BadInputError(f"--rows {rows}: needs `--format csv`, `jsonl` or `parquet`")
    if to is None and output_format == "parquet":
        raise BadInputError("--format parquet: cannot be printed; name a file with `--to`")
    if to is not None and output_format in ("table", "json"):
        raise BadInputError("--to: needs `--format csv`, `jsonl` or `parquet`")
    with open_database() as (_, database):
        study = reading.find(database, name)
        selected = [
            t
            for t in reading.load_trials(database, study)
            if in_state is None or t.state is in_state
        ]
        if sort == "value":
            selected.sort(key=lambda t: _sort_key(t, study))
        shown_trials = selected[:top]
        if logs:
            to_logs(
                *(database, study, shown_trials),
                tensorboard=tensorboard,
                mlflow=mlflow,
                as_json=as_json,
            )
        elif output_format == "json":
            print_json([study_json.of_trial(t) for t in shown_trials])
        elif output_format == "table":
            _print_trials(shown_trials[: top or SHOWN_TRIALS], study, len(selected))
        else:
            _write_rows(_rows(database, study, shown_trials, rows), output_format, to)


_Rows = tuple[list[trial_tables.Row], list[str]]  # and the names of their columns


def _rows(database: Database, study: Study, selected: list[Trial], kind: str) -> _Rows:
    """Return rows and columns; without rows, the columns that they would have."""
    if kind == "trials":
        rows = trial_tables.of_trials(study, selected)
        return rows, trial_tables.columns_of(rows or trial_tables.of_trials(study, [EMPTY_TRIAL]))
    if kind == "reports":
        rows = trial_tables.of_reports(study, selected)
        return rows, trial_tables.columns_of(rows) or ["trial", "step", study.metric]
    numbers = {trial.number for trial in selected}
    attempts = [a for a in reading.load_attempts(database, study) if a.number in numbers]
    return trial_tables.of_attempts(attempts), list(trial_tables.of_attempts([EMPTY_ATTEMPT])[0])


def _write_rows(rows: _Rows, output_format: str, to: Path | None) -> None:
    if output_format == "parquet":
        assert to is not None
        trial_tables.write_parquet(*rows, to)
        return
    text = (
        trial_tables.csv_text(*rows) if output_format == "csv" else trial_tables.json_lines(rows[0])
    )
    if to is None:
        typer.echo(text, nl=False)
    else:
        files.write(to, text)


def _sort_key(trial: Trial, study: Study) -> tuple[bool, float]:
    """Put the best first, and what violates a constraint after all others."""
    value = trial.value
    if value is None or math.isnan(value):
        return True, float("inf")
    return trial.violates_constraint, -value if better(study.direction, 1, 0) else value


def _param_names(selected: list[Trial]) -> list[str]:
    return list(dict.fromkeys(name for trial in selected for name in trial.params))


def _print_trials(selected: list[Trial], study: Study, total: int) -> None:
    """Print one column per parameter if they fit, else all parameters in one column."""
    names = _param_names(selected)
    failure_columns = ["cause", "message"] * any(trial.cause is not None for trial in selected)
    listing = _trials_table(study, *failure_columns, *map(literal, names))
    for trial in selected:
        params = trial.params
        listing.add_row(
            *_trial_cells(trial, study),
            *_why_cells(trial)[: len(failure_columns)],
            *(literal(param(params[n])) if n in params else "" for n in names),
        )
    unlimited = out.options.update(max_width=PIPED)
    if Measurement.get(out, unlimited, listing).maximum > out.width:
        listing = _trials_table(study, *failure_columns, "parameters")
        for trial in selected:
            pairs = (f"[dim]{literal(n)}[/] {literal(param(v))}" for n, v in trial.params.items())
            listing.add_row(
                *_trial_cells(trial, study),
                *_why_cells(trial)[: len(failure_columns)],
                "  ".join(pairs),
            )
    out.print(listing)
    if total > len(selected):
        err.print(
            f"[dim]{total - len(selected)} more; use `--top N` or `--format csv` to see them[/]"
        )


def _trials_table(study: Study, *more: str) -> Table:
    metrics = [literal(name) for name in trial_tables.metric_names(study)]
    right = frozenset({"#", *metrics, "epochs", "time"})
    return table("#", "state", *metrics, "epochs", "time", *more, right=right)


def _trial_cells(trial: Trial, study: Study) -> tuple[str, ...]:
    epochs = str(trial.reports[-1].step if trial.reports else 0)
    values = map(number, trial_tables.values(trial, study))
    is_infeasible = trial.violates_constraint and trial.state is TrialState.COMPLETE
    note = " [yellow]infeasible[/]" if is_infeasible else ""
    cells = f"{state(trial.state)}{note}", *values, epochs, duration(trial.seconds)
    return (str(trial.number), *cells)


def _why_cells(trial: Trial) -> tuple[str, str]:
    """Why it failed; why a trial was pruned would make the table of all of them too wide."""
    return literal(trial.cause or ""), literal((trial.cause and trial.message) or "")


def best(name: str = StudyName, as_json: bool = AsJson) -> None:
    """Print the best configuration as YAML or JSON."""
    with open_database() as (_, database):
        study = reading.find(database, name)
        winner = reading.load_winner(database, study)
        params = export.all_params(study, winner)
        confirmed = confirmations.read_trial(study, winner)
        if as_json:
            print_json(
                {
                    "study": name,
                    "trial": winner.number,
                    "value": winner.value,
                    "metric": study.metric,
                    "params": params,
                    **({} if confirmed is None else {"confirmed": confirmed}),
                }
            )
            return
        warn_of_other_objectives(study)
        value = f"{literal(study.metric)} {number(winner.value)}"
        mean = "" if confirmed is None else f", with fresh seeds {number(confirmed['mean'])}"
        out.print(f"# {literal(name)}, trial {winner.number}: {value}{mean}")
        typer.echo(export.yaml_text(params), nl=False)  # YAML escapes control characters


Formats = typer.Option(
    [],
    "--config",
    help=f"Also write the configuration as {', '.join(export.FORMATS)} (repeatable).",
)


def export_(
    name: str = StudyName,
    to: Path | None = typer.Option(
        None, "--to", help="The folder to write (default: exports/NAME)."
    ),
    force: bool = typer.Option(False, "--force", help="Replace an earlier export."),
    trial: int | None = typer.Option(
        None, "--trial", min=0, help="Export this trial instead of the best."
    ),
    top: int | None = typer.Option(
        None, "--top", "-n", min=1, help="Export this many of the best, each to its own folder."
    ),
    formats: list[str] = Formats,
    onnx: bool = typer.Option(
        False, "--onnx", help="Also write the network as ONNX, checked against torch."
    ),
    look_again: bool = typer.Option(
        False, "--look-again", help="Read the test part for this trial too; the bundle records it."
    ),
    optuna: str | None = typer.Option(
        None, "--optuna", metavar="URL", help="Copy the study to an Optuna storage instead."
    ),
    rename: str | None = As,
    as_json: bool = AsJson,
) -> None:
    """Export the best configuration as a bundle: its weights, measured values and predict.py.

    For an experiment, export the best of each family.
    """
    chooses = any(option is not None for option in (to, trial, top))
    if optuna is not None and (chooses or force or formats or onnx or look_again):
        raise BadInputError(
            "`--optuna` copies the study; of the other options it takes only `--as`"
        )
    if optuna is None and rename is not None:
        raise BadInputError("`--as` names the copy that `--optuna` makes; use it with `--optuna`")
    if trial is not None and top is not None:
        raise BadInputError(
            "`--trial` exports one trial, `--top` several of the best; use only one of them"
        )
    for config_format in formats:
        if config_format not in export.FORMATS:
            suggestion = instead(config_format, export.FORMATS)
            raise BadInputError(f"--config: there is no form {quoted(config_format)}{suggestion}")
    with open_database() as (settings, database):
        if optuna is not None:
            to_optuna(database, name, optuna, rename, as_json)
            return
        request = exporting.ExportRequest(formats, onnx, look_again)
        if rivals := reading.find_experiment(database, name):
            if trial is not None or top is not None:
                raise BadInputError(
                    f"{quoted(name)} is an experiment, so the best of each family is exported; "
                    f"use `--trial` and `--top` with one of its studies: "
                    f"{listed([quoted(study.name) for study in rivals])}"
                )
            folder = to or default_export(f"{name}-families")
            bundles = exporting.export_each(
                database, settings, rivals, folder, force=force, request=request
            )
        elif top is not None:
            study = reading.find(database, name)
            folder = to or default_export(f"{name}-top")
            bundles = exporting.export_leading(
                database, settings, study, top, folder, force=force, request=request
            )
        else:
            study = reading.find(database, name)
            chosen = exporting.choose_trial(database, study, trial)
            folder = to or default_export(name)
            bundles = [
                exporting.export_trial(
                    database, settings, study, chosen, folder, force=force, request=request
                )
            ]
        for exported in bundles:
            _print_export(exported, as_json)
        if as_json:
            records = [_export_record(exported) for exported in bundles]
            print_json(records if rivals or top is not None else records[0])


def _export_record(exported: export.Exported) -> dict[str, Any]:
    return {**exported.content, "export": str(exported.folder)}


def _print_export(exported: export.Exported, as_json: bool) -> None:
    print_notes(exported)
    if as_json:
        return
    content = exported.content
    metric = content["metric"]
    out.print(
        f"exported trial {content['trial']} of {literal(content['study'])} to "
        f"[bold]{literal(str(exported.folder))}[/]: validation {literal(metric['name'])} "
        f"{number(metric['validation'])}, {describe_test(exported)}"
    )


OPEN = "set it in the study file"


def families(as_json: bool = AsJson) -> None:
    """List the model families with their metrics, data and default search spaces."""
    for problem in registry.problems().values():
        err.print(f"[yellow]warning:[/] {literal(problem)}")
    cards = [registry.card(name) for name in registry.names()]
    if as_json:
        print_json([card.model_dump(mode="json") for card in cards])
        return
    for card in cards:
        out.print(
            f"[bold]{card.name}[/]  {literal(card.summary)} [dim]({literal(card.reference)})[/]"
        )
        if card.is_user_code:
            out.print("  metric, search space and data: defined by your code")
            continue
        metrics = ", ".join(card.metrics_with_labels or card.metrics)
        if card.metrics_of_numbers:
            metrics += f"; for regression {', '.join(card.metrics_of_numbers)}"
        out.print(f"  metrics {metrics}; data: {' or '.join(card.data)}")
        space = {**card.space.describe(), **dict.fromkeys(card.open, OPEN)}
        out.print(params_table(space, indent=4))
