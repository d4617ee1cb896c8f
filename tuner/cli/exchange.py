"""Studies for other tools and from them: `import`, `export --optuna`, `trials --tensorboard`."""

from collections.abc import Sequence
from pathlib import Path

import typer

from tuner import loggers
from tuner.cli.output import AsJson, err, opened, out, print_json, shown, typed
from tuner.commands import reading
from tuner.database.engine import Database
from tuner.settings import prepare_mlflow
from tuner.study_file.messages import counted
from tuner.trials import Study, Trial

As = typer.Option(None, "--as", metavar="NAME", help="The copy's name; by default the same.")


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("import", rich_help_panel="Look")(import_)


def import_(
    source: str = typer.Option(
        ..., "--from", metavar="URL", help="An Optuna storage: sqlite:///study.db, postgresql://…"
    ),
    study: str | None = typer.Option(None, "--study", help="One study; by default all of them."),
    rename: str | None = As,
    as_json: bool = AsJson,
) -> None:
    """Copy studies from an Optuna storage: all that you ask for, or none."""
    from tuner.search import exchange  # Optuna, which no other command waits for

    with opened() as (_, database):
        copied = exchange.import_studies(database, source, name=study, rename=rename)
    if as_json:
        print_json(copied)
        return
    for one in copied:
        out.print(f"imported [bold]{shown(one.name)}[/] with {_trials(one.trials)}")
        if one.were_running:
            them = "it" if one.were_running == 1 else "them"
            err.print(
                f"[yellow]{_trials(one.were_running)} had not ended and failed in the copy[/]: "
                f"{typed('retry', one.name)} queues {them} again"
            )


def to_optuna(database: Database, name: str, url: str, rename: str | None, as_json: bool) -> None:
    """Copy a study into an Optuna storage and say so."""
    from tuner.search import exchange

    study = reading.find(database, name)
    with err.status(f"writing {shown(name)}") as status:
        copied = exchange.export_study(
            database,
            study,
            url,
            rename=rename,
            progress=lambda done, total: status.update(
                f"writing {shown(name)}: {done} of {_trials(total)}"
            ),
        )
    if as_json:
        print_json(copied)
        return
    out.print(f"exported [bold]{shown(copied.name)}[/] with {_trials(copied.trials)}")
    if copied.were_running:
        err.print(f"[yellow]{_trials(copied.were_running)} had not ended, failed in the copy[/]")
    if copied.renumbered:
        err.print("[yellow]numbers were missing; Optuna counts the trials without gaps[/]")


def to_logs(
    database: Database,
    study: Study,
    trials: Sequence[Trial],
    *,
    tensorboard: Path | None,
    mlflow: str | None,
    as_json: bool,
) -> None:
    """Log trials to TensorBoard's files, to MLflow or to both, and say so."""
    if tensorboard is not None:
        loggers.need("--tensorboard", "tensorboard", "tensorboard")
    if mlflow is not None:
        loggers.need("--mlflow", "mlflow", "mlflow")
    times = reading.load_report_times(database, study)
    said: dict[str, object] = {"study": study.name}
    if tensorboard is not None:
        from tuner.loggers import tensorboard as event_files  # an extra, and slow to import

        folder = event_files.write(study, trials, times, tensorboard)
        said["tensorboard"] = folder
        if not as_json:
            out.print(f"wrote event files to [bold]{shown(folder)}[/]")
    if mlflow is not None:
        prepare_mlflow()
        from tuner.loggers import mlflow as tracking

        with err.status(f"logging {shown(study.name)}"):
            said["mlflow"] = count = tracking.write(study, trials, times, mlflow)
        if not as_json:
            out.print(
                f"logged {_trials(count)} to MLflow's experiment [bold]{shown(study.name)}[/]"
            )
    if as_json:
        print_json(said)


def _trials(count: int) -> str:
    return counted(count, "trial")
