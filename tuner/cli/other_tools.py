"""Exchange studies with other tools: `import`, `export --optuna`, `trials --tensorboard`."""

from collections.abc import Sequence
from pathlib import Path

import typer

from tuner import loggers
from tuner.cli.output import AsJson, command_markup, err, literal, open_database, out, print_json
from tuner.commands import reading
from tuner.database.engine import Database
from tuner.settings import prepare_mlflow
from tuner.study_file.messages import counted
from tuner.trials import Study, Trial

As = typer.Option(None, "--as", metavar="NAME", help="The copy's name (default: the same name).")


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("import", rich_help_panel="Inspect and export")(import_)


def import_(
    source: str = typer.Option(
        ...,
        "--from",
        metavar="URL",
        help="The Optuna storage, such as sqlite:///study.db or postgresql://…",
    ),
    study: str | None = typer.Option(
        None, "--study", help="The study to import (default: all studies)."
    ),
    rename: str | None = As,
    as_json: bool = AsJson,
) -> None:
    """Import studies from an Optuna storage, all of them or none."""
    from tuner.search import exchange  # imports Optuna: no other command should wait

    with open_database() as (_, database):
        copied = exchange.import_studies(database, source, name=study, rename=rename)
    if as_json:
        print_json(copied)
        return
    for study_copy in copied:
        out.print(f"imported [bold]{literal(study_copy.name)}[/] with {_trials(study_copy.trials)}")
        if study_copy.were_running:
            them = "it" if study_copy.were_running == 1 else "them"
            retry = command_markup("retry", study_copy.name)
            err.print(f"{_unfinished(study_copy.were_running)}; {retry} queues {them} again")


def to_optuna(database: Database, name: str, url: str, rename: str | None, as_json: bool) -> None:
    """Copy a study to an Optuna storage, and report it."""
    from tuner.search import exchange

    study = reading.find(database, name)
    with err.status(f"writing {literal(name)}") as status:
        copied = exchange.export_study(
            database,
            study,
            url,
            rename=rename,
            progress=lambda count, total: status.update(
                f"writing {literal(name)}: {count} of {_trials(total)}"
            ),
        )
    if as_json:
        print_json(copied)
        return
    out.print(f"exported [bold]{literal(copied.name)}[/] with {_trials(copied.trials)}")
    if copied.were_running:
        err.print(_unfinished(copied.were_running))
    if copied.renumbered:
        err.print("[yellow]the copy's trials are renumbered: Optuna allows no gaps[/]")


def to_logs(
    database: Database,
    study: Study,
    trials: Sequence[Trial],
    *,
    tensorboard: Path | None,
    mlflow: str | None,
    as_json: bool,
) -> None:
    """Log trials to TensorBoard files, MLflow or both, and report it."""
    if tensorboard is not None:
        loggers.check_installed("--tensorboard", "tensorboard", "tensorboard")
    if mlflow is not None:
        loggers.check_installed("--mlflow", "mlflow", "mlflow")
    times = reading.load_report_times(database, study)
    record: dict[str, object] = {"study": study.name}
    if tensorboard is not None:
        from tuner.loggers import tensorboard as event_files  # an extra, and slow to import

        folder = event_files.write(study, trials, times, tensorboard)
        record["tensorboard"] = folder
        if not as_json:
            out.print(f"wrote event files to [bold]{literal(folder)}[/]")
    if mlflow is not None:
        prepare_mlflow()
        from tuner.loggers import mlflow as tracking

        with err.status(f"logging {literal(study.name)}"):
            record["mlflow"] = count = tracking.write(study, trials, times, mlflow)
        if not as_json:
            out.print(
                f"logged {_trials(count)} to MLflow's experiment [bold]{literal(study.name)}[/]"
            )
    if as_json:
        print_json(record)


def _trials(count: int) -> str:
    return counted(count, "trial")


def _unfinished(count: int) -> str:
    verb = "is" if count == 1 else "are"
    return f"[yellow]{_trials(count)} had not ended and {verb} failed in the copy[/]"
