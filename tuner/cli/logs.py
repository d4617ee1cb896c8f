"""`tuner logs`: what a trial has printed, and what it prints while it runs."""

import time
from pathlib import Path

import typer

from tuner import artifacts, commands
from tuner.cli.output import StudyName, err, opened, shown
from tuner.database.engine import Database
from tuner.errors import TrialNotFoundError, visible
from tuner.trials import Study, Trial, TrialState

PERIOD = 0.3  # seconds between looks at the file
CHUNK = 2**16  # bytes


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(rich_help_panel="Look")(logs)


def logs(
    name: str = StudyName,
    trial: int = typer.Argument(help="The trial's number.", show_default=False),
    attempt: int | None = typer.Option(
        None, "--attempt", min=1, help="An earlier attempt; by default the latest."
    ),
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on while the trial runs."),
) -> None:
    """Print what a trial's attempt wrote to its output.

    The whole text lies on the machine that trained it; elsewhere the last lines of a failed trial
    are all there is.
    """
    with opened() as (settings, database):
        study = commands.find(database, name)
        found = commands.trial(database, study, trial)
        number = attempt or found.attempt
        folder = artifacts.attempt_folder(settings, study.id, trial, number)
        path = folder / artifacts.LOG_FILE
        if path.is_file():
            _print(path, database, study, trial, number, follow=follow)
        elif found.log_tail is not None and number == found.attempt:
            err.print(f"[dim]trained by {shown(found.worker)}; its last lines:[/]")
            typer.echo(_plain(found.log_tail))
        else:
            raise TrialNotFoundError(_why_none(found, number))


def _why_none(trial: Trial, attempt: int) -> str:
    if trial.attempt == 0:
        return f"trial {trial.number} has not started yet, so it has no log"
    if attempt > trial.attempt:
        return f"trial {trial.number} has had {trial.attempt} attempts, not {attempt}"
    return (
        f"the log of trial {trial.number}, attempt {attempt}, is not on this machine: it was "
        f"trained by {trial.worker or 'another worker'}"
    )


def _print(
    path: Path, database: Database, study: Study, number: int, attempt: int, *, follow: bool
) -> None:
    """The file to its end; with `follow` what comes, until the attempt has ended."""
    with path.open("rb") as file:
        while True:
            # asked before the file is read: what is written between the two is still printed
            running = follow and _is_running(commands.trial(database, study, number), attempt)
            while content := file.read(CHUNK):
                typer.echo(_plain(content.decode("utf-8", "replace")), nl=False)
            if not running:
                return
            time.sleep(PERIOD)
            if path.stat().st_size < file.tell():  # it was shortened
                file.seek(0)


def _is_running(trial: Trial, attempt: int) -> bool:
    return trial.state is TrialState.RUNNING and trial.attempt == attempt


def _plain(text: str) -> str:
    """Without what would steer the terminal; lines and tabs stay."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("\t".join(visible(part) for part in line.split("\t")) for line in lines)
