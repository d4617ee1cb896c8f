"""A trial's output, also while it runs: `logs`."""

import codecs
import shutil
import sys
import time

import typer

from tuner import artifacts
from tuner.cli.output import StudyName, err, literal, open_database
from tuner.commands import reading
from tuner.database.engine import Database
from tuner.errors import TrialNotFoundError, overwritten, visible
from tuner.settings import Settings
from tuner.study_file.messages import counted
from tuner.trials import Study, StudyState, Trial, TrialState

PERIOD = 0.3  # seconds between reads of the file
CHUNK = 2**16  # bytes


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(rich_help_panel="Inspect and export")(logs)


def logs(
    name: str = StudyName,
    trial: int = typer.Argument(help="The trial's number.", show_default=False),
    attempt: int | None = typer.Option(
        None, "--attempt", min=1, help="The attempt (default: the latest)."
    ),
    follow: bool = typer.Option(
        False,
        "--follow",
        "-f",
        help="Keep printing until the trial, or the given attempt, has ended.",
    ),
) -> None:
    """Print a trial's output.

    The full log is on the machine that trained the trial. Elsewhere, only the last lines of a
    failed trial are available.
    """
    with open_database() as (settings, database):
        study = reading.find(database, name)
        record = reading.load_trial(database, study, trial)
        if follow:
            _LogFollower(settings, database, study, record).run(attempt)
            return
        number = attempt or record.attempt
        folder = artifacts.attempt_folder(settings, study.id, trial, number)
        path = folder / artifacts.LOG_FILE
        if path.is_file():
            typer.echo(_plain(path.read_bytes().decode("utf-8", "replace")), nl=False)
        elif record.log_tail is not None and number == record.attempt:
            _print_tail(record)
        else:
            raise TrialNotFoundError(_explain_missing_log(record, number))


def _print_tail(trial: Trial) -> None:
    err.print(f"[dim]trained by {literal(trial.worker)}; its last lines:[/]")
    typer.echo(_plain(trial.log_tail or ""))


def _explain_missing_log(trial: Trial, attempt: int) -> str:
    if trial.ran_in_optuna and attempt == trial.attempt:
        return f"trial {trial.number} ran outside tuner, so it has no log"
    if trial.attempt == 0 and not trial.ran_in_optuna:
        return f"trial {trial.number} has not started yet, so it has no log"
    if attempt > trial.attempt:
        return (
            f"trial {trial.number} has no attempt {attempt}; it has had "
            f"{counted(trial.attempt, 'attempt')}"
        )
    return (
        f"the log of trial {trial.number}, attempt {attempt}, is not on this machine; it was "
        f"trained by {trial.worker or 'another worker'}"
    )


_OVER = (StudyState.STOPPED, StudyState.FINISHED)  # no attempt follows


class _LogFollower:
    """Prints a trial's attempts, one after the other, until it has ended."""

    def __init__(self, settings: Settings, database: Database, study: Study, trial: Trial) -> None:
        self._settings = settings
        self._database = database
        self._study = study
        self._trial = trial
        self._note = ""  # the latest message on standard error

    def run(self, only: int | None) -> None:
        """Follow the trial from its latest attempt on, or only one attempt."""
        if only is not None and only > self._trial.attempt:
            raise TrialNotFoundError(_explain_missing_log(self._trial, only))
        number = only or self._trial.attempt
        if self._trial.ran_in_optuna and number == self._trial.attempt:
            raise TrialNotFoundError(_explain_missing_log(self._trial, number))
        while True:
            if number:
                self._print(number)
            if only is not None:
                return
            while True:
                study = reading.find(self._database, self._study.name)
                self._reload()  # after the study, which the trial's end may have ended
                if self._trial.attempt != number:
                    break
                if self._trial.state.is_finished:
                    return
                self._print_why_it_waits(study)
                if study.state in _OVER:
                    return
                time.sleep(PERIOD)
            number += 1  # more attempts may have followed
            self._say(f"attempt {number}")

    def _reload(self) -> None:
        self._trial = reading.load_trial(self._database, self._study, self._trial.number)

    def _is_running(self, attempt: int) -> bool:
        return self._trial.state is TrialState.RUNNING and self._trial.attempt == attempt

    def _print(self, attempt: int) -> None:
        """Print what an attempt has written and writes until it ends."""
        number = self._trial.number
        folder = artifacts.attempt_folder(self._settings, self._study.id, number, attempt)
        path = folder / artifacts.LOG_FILE
        self._reload()
        while not path.is_file():  # the executor creates it when it starts
            if not self._is_running(attempt):
                if self._trial.log_tail is not None and self._trial.attempt == attempt:
                    _print_tail(self._trial)
                else:
                    self._say(_explain_missing_log(self._trial, attempt))
                return
            time.sleep(PERIOD)
            self._reload()
        lines = Lines(is_terminal=sys.stdout.isatty())
        with path.open("rb") as file:
            while True:
                # checked before reading: what is written in between is still printed
                self._reload()
                running = self._is_running(attempt)
                while content := file.read(CHUNK):
                    typer.echo(lines.add(content), nl=False)
                if not running:
                    typer.echo(lines.end(), nl=False)
                    return
                sys.stdout.flush()
                time.sleep(PERIOD)
                if path.stat().st_size < file.tell():  # it was shortened
                    file.seek(0)

    def _print_why_it_waits(self, study: Study) -> None:
        state = "" if study.state is StudyState.ACTIVE else f": the study is {study.state}"
        is_paused = self._trial.state is TrialState.PAUSED
        awaits = "is paused and goes on if promoted" if is_paused else "waits for its next attempt"
        self._say(f"trial {self._trial.number} {awaits}{state}")

    def _say(self, note: str) -> None:
        """Print a message about the trial itself, once."""
        if note != self._note:
            self._note = note
            err.print(f"[dim]{literal(note)}[/]")


class Lines:
    r"""Turns the bytes of a growing file into whole lines, each as its last `\r` left it.

    On a terminal, a progress bar in an unfinished line is drawn as it moves.
    """

    def __init__(self, *, is_terminal: bool) -> None:
        self._is_terminal = is_terminal
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._open = ""  # the unfinished line
        self._is_drawn = False

    def add(self, content: bytes) -> str:
        """Return what to print of these bytes."""
        whole, newline, self._open = (self._open + self._decoder.decode(content)).rpartition("\n")
        text = self._erase() + _plain(whole + newline) if newline else ""
        if self._is_terminal and "\r" in self._open:
            width = shutil.get_terminal_size().columns - 1
            text += self._erase() + _plain(self._open)[:width]
            self._is_drawn = True
        if "\r" in self._open[:-1]:  # a progress bar must not fill memory over hours
            self._open = f"\r{overwritten(self._open)}" + "\r" * self._open.endswith("\r")
        return text

    def end(self) -> str:
        """Return what to print at the end."""
        text = self._erase() + _plain(self._open) + "\n" if self._open else ""
        self._open = ""
        return text

    def _erase(self) -> str:
        was_drawn, self._is_drawn = self._is_drawn, False
        return "\r\x1b[K" if was_drawn else ""


def _plain(text: str) -> str:
    """Remove control characters except newlines and tabs; keep a progress bar's last state."""
    lines = overwritten(text).split("\n")
    return "\n".join("\t".join(visible(part) for part in line.split("\t")) for line in lines)
