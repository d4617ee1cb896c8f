"""Looking at studies: `list`, `show`, `trials`, `best`, `export`, `families`."""

import math
from pathlib import Path
from typing import Any, Literal

import typer
from rich.measure import Measurement
from rich.table import Table

from tuner import export, files, study_json, trial_tables
from tuner.cli.conclude import default_export, say_notes_of, test_in_words
from tuner.cli.exchange import As, to_logs, to_optuna
from tuner.cli.output import (
    PIPED,
    AsJson,
    StudyName,
    duration,
    err,
    moment,
    number,
    opened,
    out,
    param,
    params_table,
    print_json,
    shown,
    state,
    table,
    typed,
)
from tuner.cli.show import overview_record, say_which_objective, show
from tuner.commands import exporting, reading
from tuner.database.engine import Database
from tuner.errors import BadInputError
from tuner.families import registry
from tuner.study_file.messages import instead, listed, quoted
from tuner.trials import Attempt, Study, Trial, TrialState, better, finished
from tuner.winner import confirmations

SHOWN_TRIALS = 50
NONE = Trial(0, TrialState.WAITING, {})  # these two only have their columns
NO_ATTEMPT = Attempt(0, 0, "", None, None, None)


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
        app.command(name, rich_help_panel="Look")(command)


def list_(as_json: bool = AsJson) -> None:
    """List all studies."""
    with opened() as (_, database):
        found = reading.load_overviews(database)
        if as_json:
            print_json([overview_record(o) for o in found])
            return
        if not found:
            file = "studies/digits-cnn.yaml"  # of the repository; an installation has none
            start = file if Path(file).is_file() else "STUDY.yaml"
            out.print(f"no studies yet; start with {typed('run', start)}")
            return
        made = table(
            "study", "state", "family", "done", "running", "created", right=frozenset({"running"})
        )
        for one in found:
            done = finished(one.counts)
            made.add_row(
                shown(one.study.name),
                state(one.study.state),
                shown(one.study.family or "optuna"),
                f"{done}/{one.study.max_trials or '∞'}",
                str(one.counts[TrialState.RUNNING]),
                moment(one.study.created_at),
            )
        out.print(made)


def trials(
    name: str = StudyName,
    form: Literal["table", "csv", "json", "jsonl", "parquet"] = typer.Option(
        "table", "--format", "-f", help="How to print or write them."
    ),
    only: TrialState | None = typer.Option(None, "--state", help="Only trials in this state."),
    sort: Literal["number", "value"] = typer.Option(
        "number", "--sort", help="By number, or by value with the best first."
    ),
    top: int | None = typer.Option(None, "--top", "-n", min=1, help="At most this many."),
    kind: Literal["trials", "reports", "attempts"] = typer.Option(
        "trials", "--rows", help="What a row is, in csv, jsonl and parquet."
    ),
    to: Path | None = typer.Option(None, "--to", help="Write to this file; parquet needs one."),
    tensorboard: Path | None = typer.Option(
        None, "--tensorboard", metavar="FOLDER", help="Write TensorBoard's event files instead."
    ),
    mlflow: str | None = typer.Option(
        None, "--mlflow", metavar="URI", help="Log them to this MLflow server instead."
    ),
    as_json: bool = AsJson,
) -> None:
    """Print a study's trials, write them to a file, or log them to TensorBoard or MLflow."""
    logs = tensorboard is not None or mlflow is not None
    if logs and (form != "table" or kind != "trials" or to is not None):
        raise BadInputError(
            "`--tensorboard` and `--mlflow` log trials; `--format`, `--rows` and `--to` are for "
            "what is printed or written to one file"
        )
    if mlflow == "":
        raise BadInputError("--mlflow: is empty; name a server, as http://127.0.0.1:5000")
    form = "json" if as_json else form
    if kind != "trials" and form in ("table", "json"):
        raise BadInputError(f"--rows {kind}: needs `--format csv`, `jsonl` or `parquet`")
    if to is None and form == "parquet":
        raise BadInputError("--format parquet: cannot be printed; name a file with `--to`")
    if to is not None and form in ("table", "json"):
        raise BadInputError("--to: needs `--format csv`, `jsonl` or `parquet`")
    with opened() as (_, database):
        study = reading.find(database, name)
        every = [t for t in reading.load_trials(database, study) if only is None or t.state is only]
        if sort == "value":
            every.sort(key=lambda t: _order(t, study))
        chosen = every[:top]
        if logs:
            to_logs(
                *(database, study, chosen),
                tensorboard=tensorboard,
                mlflow=mlflow,
                as_json=as_json,
            )
        elif form == "json":
            print_json([study_json.of_trial(t) for t in chosen])
        elif form == "table":
            _print_trials(chosen[: top or SHOWN_TRIALS], study, len(every))
        else:
            _put_rows(_rows(database, study, chosen, kind), form, to)


_Rows = tuple[list[trial_tables.Row], list[str]]  # and the names of their columns


def _rows(database: Database, study: Study, every: list[Trial], kind: str) -> _Rows:
    """Without any row, the columns are those that there would be."""
    if kind == "trials":
        rows = trial_tables.of_trials(study, every)
        return rows, trial_tables.columns_of(rows or trial_tables.of_trials(study, [NONE]))
    if kind == "reports":
        rows = trial_tables.of_reports(study, every)
        return rows, trial_tables.columns_of(rows) or ["trial", "step", study.metric]
    numbers = {trial.number for trial in every}
    found = [a for a in reading.load_attempts(database, study) if a.number in numbers]
    return trial_tables.of_attempts(found), list(trial_tables.of_attempts([NO_ATTEMPT])[0])


def _put_rows(found: _Rows, form: str, to: Path | None) -> None:
    if form == "parquet":
        assert to is not None
        trial_tables.write_parquet(*found, to)
        return
    text = trial_tables.csv_text(*found) if form == "csv" else trial_tables.json_lines(found[0])
    if to is None:
        typer.echo(text, nl=False)
    else:
        files.write(to, text)


def _order(trial: Trial, study: Study) -> float:
    value = trial.value
    if value is None or math.isnan(value):
        return float("inf")
    return -value if better(study.direction, 1, 0) else value


def _param_names(every: list[Trial]) -> list[str]:
    return list(dict.fromkeys(name for trial in every for name in trial.params))


def _print_trials(every: list[Trial], study: Study, total: int) -> None:
    """One column a parameter where there is room, all of them in one column where there is not."""
    names = _param_names(every)
    why = ["cause", "message"] * any(trial.cause is not None for trial in every)
    made = _trials_table(study, *why, *map(shown, names))
    for trial in every:
        params = trial.params
        made.add_row(
            *_trial_cells(trial, study),
            *_why_cells(trial)[: len(why)],
            *(shown(param(params[n])) if n in params else "" for n in names),
        )
    unlimited = out.options.update(max_width=PIPED)
    if Measurement.get(out, unlimited, made).maximum > out.width:
        made = _trials_table(study, *why, "parameters")
        for trial in every:
            pairs = (f"[dim]{shown(n)}[/] {shown(param(v))}" for n, v in trial.params.items())
            made.add_row(
                *_trial_cells(trial, study), *_why_cells(trial)[: len(why)], "  ".join(pairs)
            )
    out.print(made)
    if total > len(every):
        err.print(f"[dim]{total - len(every)} more; --top N or --format csv shows them[/]")


def _trials_table(study: Study, *more: str) -> Table:
    metrics = [shown(name) for name in trial_tables.metric_names(study)]
    right = frozenset({"#", *metrics, "epochs", "time"})
    return table("#", "state", *metrics, "epochs", "time", *more, right=right)


def _trial_cells(trial: Trial, study: Study) -> tuple[str, ...]:
    epochs = str(trial.reports[-1].step if trial.reports else 0)
    values = map(number, trial_tables.values(trial, study))
    cells = state(trial.state), *values, epochs, duration(trial.seconds)
    return (str(trial.number), *cells)


def _why_cells(trial: Trial) -> tuple[str, str]:
    return shown(trial.cause or ""), shown(trial.message or "")


def best(name: str = StudyName, as_json: bool = AsJson) -> None:
    """Print the best configuration as YAML (or JSON)."""
    with opened() as (_, database):
        study = reading.find(database, name)
        found = reading.load_winner(database, study)
        params = export.all_params(study, found)
        confirmed = confirmations.read_trial(study, found)
        if as_json:
            print_json(
                {
                    "study": name,
                    "trial": found.number,
                    "value": found.value,
                    "metric": study.metric,
                    "params": params,
                    **({} if confirmed is None else {"confirmed": confirmed}),
                }
            )
            return
        say_which_objective(study)
        head = f"# {shown(name)}, trial {found.number}: {shown(study.metric)} {number(found.value)}"
        mean = "" if confirmed is None else f", with fresh seeds {number(confirmed['mean'])}"
        out.print(f"{head}{mean}")
        typer.echo(export.yaml_text(params), nl=False)  # YAML escapes what would steer a terminal


Formats = typer.Option(
    [],
    "--config",
    help=f"Also write the configuration as {', '.join(export.FORMATS)} (repeatable).",
)


def export_(
    name: str = StudyName,
    to: Path | None = typer.Option(None, "--to", help="The folder; by default exports/NAME."),
    force: bool = typer.Option(False, "--force", help="Replace an earlier export."),
    trial: int | None = typer.Option(
        None, "--trial", min=0, help="This trial instead of the best."
    ),
    top: int | None = typer.Option(
        None, "--top", "-n", min=1, help="This many of the best, each into its own folder."
    ),
    formats: list[str] = Formats,
    onnx: bool = typer.Option(
        False, "--onnx", help="Write the network as ONNX too, checked against torch."
    ),
    look_again: bool = typer.Option(
        False, "--look-again", help="Read the test part for this trial too; this is recorded."
    ),
    optuna: str | None = typer.Option(
        None, "--optuna", metavar="URL", help="Copy the study into an Optuna storage instead."
    ),
    rename: str | None = As,
    as_json: bool = AsJson,
) -> None:
    """Export the best configuration as a bundle: its weights, figures and predict.py.

    Of an experiment, the best of each family.
    """
    names_one = any(given is not None for given in (to, trial, top))
    if optuna is not None and (names_one or force or formats or onnx or look_again):
        raise BadInputError("`--optuna` copies the study; all other options are for bundles")
    if optuna is None and rename is not None:
        raise BadInputError("`--as` renames the copy that `--optuna` makes")
    if trial is not None and top is not None:
        raise BadInputError("`--trial` names one trial, `--top` so many of the best: give one")
    for form in formats:
        if form not in export.FORMATS:
            end = instead(form, export.FORMATS)
            raise BadInputError(f"--config: there is no form {quoted(form)}{end}")
    with opened() as (settings, database):
        if optuna is not None:
            to_optuna(database, name, optuna, rename, as_json)
            return
        request = exporting.ExportRequest(formats, onnx, look_again)
        if rivals := reading.find_experiment(database, name):
            if trial is not None or top is not None:
                raise BadInputError(
                    f"{quoted(name)} is an experiment, of which the best of each family is "
                    f"exported; `--trial` and `--top` are for one of its studies: "
                    f"{listed([quoted(study.name) for study in rivals])}"
                )
            folder = to or default_export(f"{name}-families")
            made = exporting.export_each(
                database, settings, rivals, folder, force=force, request=request
            )
        elif top is not None:
            study = reading.find(database, name)
            folder = to or default_export(f"{name}-top")
            made = exporting.export_leading(
                database, settings, study, top, folder, force=force, request=request
            )
        else:
            study = reading.find(database, name)
            chosen = exporting.choose_trial(database, study, trial)
            folder = to or default_export(name)
            made = [
                exporting.export_trial(
                    database, settings, study, chosen, folder, force=force, request=request
                )
            ]
        for exported in made:
            _say_exported(exported, as_json)
        if as_json:
            records = [_export_record(exported) for exported in made]
            print_json(records if rivals or top is not None else records[0])


def _export_record(exported: export.Exported) -> dict[str, Any]:
    return {**exported.content, "export": str(exported.folder)}


def _say_exported(exported: export.Exported, as_json: bool) -> None:
    say_notes_of(exported)
    if as_json:
        return
    content = exported.content
    metric = content["metric"]
    out.print(
        f"exported trial {content['trial']} of {shown(content['study'])} to "
        f"[bold]{shown(str(exported.folder))}[/]: validation {shown(metric['name'])} "
        f"{number(metric['validation'])}, {test_in_words(exported)}"
    )


OPEN = "set it in the study file"


def families(as_json: bool = AsJson) -> None:
    """List the model families and what each searches by default."""
    cards = [registry.card(name) for name in registry.NAMES]
    if as_json:
        print_json([card.model_dump(mode="json") for card in cards])
        return
    for card in cards:
        out.print(f"[bold]{card.name}[/]  {shown(card.summary)} [dim]({shown(card.reference)})[/]")
        if card.is_user_code:
            out.print("  metric, search space and data: your own")
            continue
        metrics = ", ".join(card.metrics_with_labels or card.metrics)
        if card.metrics_of_numbers:
            metrics += f"; for regression {', '.join(card.metrics_of_numbers)}"
        out.print(f"  metrics {metrics}; data: {' or '.join(card.data)}")
        space = {**card.space.describe(), **dict.fromkeys(card.open, OPEN)}
        out.print(params_table(space, indent=4))
