"""`tuner logs`: what a trial has printed, and what it prints while it runs."""

import codecs
import shutil
import sys
import time

import typer

from tuner import artifacts
from tuner.cli.output import StudyName, err, opened, shown
from tuner.commands import reading
from tuner.database.engine import Database
from tuner.errors import TrialNotFoundError, overwritten, visible
from tuner.settings import Settings
from tuner.study_file.messages import counted
from tuner.trials import Study, StudyState, Trial, TrialState

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
    follow: bool = typer.Option(
        False,
        "--follow",
        "-f",
        help="Keep printing until the trial, or the attempt named, has ended.",
    ),
) -> None:
    """Print a trial's output.

    All of it is on the machine that trained the trial; elsewhere, a failed trial has its last
    lines.
    """
    with opened() as (settings, database):
        study = reading.find(database, name)
        found = reading.load_trial(database, study, trial)
        if follow:
            _Following(settings, database, study, found).run(attempt)
            return
        number = attempt or found.attempt
        folder = artifacts.attempt_folder(settings, study.id, trial, number)
        path = folder / artifacts.LOG_FILE
        if path.is_file():
            typer.echo(_plain(path.read_bytes().decode("utf-8", "replace")), nl=False)
        elif found.log_tail is not None and number == found.attempt:
            _print_tail(found)
        else:
            raise TrialNotFoundError(_why_none(found, number))


def _print_tail(trial: Trial) -> None:
    err.print(f"[dim]trained by {shown(trial.worker)}; its last lines:[/]")
    typer.echo(_plain(trial.log_tail or ""))


def _why_none(trial: Trial, attempt: int) -> str:
    if trial.ran_in_optuna and attempt == trial.attempt:
        return f"trial {trial.number} ran outside tuner, so there is no log of it"
    if trial.attempt == 0 and not trial.ran_in_optuna:
        return f"trial {trial.number} has not started yet, so it has no log"
    if attempt > trial.attempt:
        return (
            f"trial {trial.number} has had {counted(trial.attempt, 'attempt')}, there is no "
            f"attempt {attempt}"
        )
    return (
        f"the log of trial {trial.number}, attempt {attempt}, is not on this machine: it was "
        f"trained by {trial.worker or 'another worker'}"
    )


_OVER = (StudyState.STOPPED, StudyState.FINISHED)  # no attempt follows


class _Following:
    """Prints a trial's attempts, one after the other, until it has ended."""

    def __init__(self, settings: Settings, database: Database, study: Study, trial: Trial) -> None:
        self._settings = settings
        self._database = database
        self._study = study
        self._trial = trial
        self._note = ""  # what was said last on standard error

    def run(self, only: int | None) -> None:
        """Follow the trial from its latest attempt on, or one attempt only."""
        if only is not None and only > self._trial.attempt:
            raise TrialNotFoundError(_why_none(self._trial, only))
        number = only or self._trial.attempt
        if self._trial.ran_in_optuna and number == self._trial.attempt:
            raise TrialNotFoundError(_why_none(self._trial, number))
        while True:
            if number:
                self._print(number)
            if only is not None:
                return
            while True:
                study = reading.find(self._database, self._study.name)
                self._look()  # after the study: its last attempt may just have ended it
                if self._trial.attempt != number:
                    break
                if self._trial.state.is_finished:
                    return
                self._say_why_it_waits(study)
                if study.state in _OVER:
                    return
                time.sleep(PERIOD)
            number += 1  # others may have followed already
            self._say(f"attempt {number}")

    def _look(self) -> None:
        self._trial = reading.load_trial(self._database, self._study, self._trial.number)

    def _is_running(self, attempt: int) -> bool:
        return self._trial.state is TrialState.RUNNING and self._trial.attempt == attempt

    def _print(self, attempt: int) -> None:
        """Print what an attempt has written, and what comes until it has ended."""
        number = self._trial.number
        folder = artifacts.attempt_folder(self._settings, self._study.id, number, attempt)
        path = folder / artifacts.LOG_FILE
        self._look()
        while not path.is_file():  # the executor makes it when it begins
            if not self._is_running(attempt):
                if self._trial.log_tail is not None and self._trial.attempt == attempt:
                    _print_tail(self._trial)
                else:
                    self._say(_why_none(self._trial, attempt))
                return
            time.sleep(PERIOD)
            self._look()
        lines = Lines(is_terminal=sys.stdout.isatty())
        with path.open("rb") as file:
            while True:
                # asked before the file is read: what is written between the two is still printed
                self._look()
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

    def _say_why_it_waits(self, study: Study) -> None:
        state = "" if study.state is StudyState.ACTIVE else f": the study is {study.state}"
        self._say(f"trial {self._trial.number} waits for its next attempt{state}")

    def _say(self, note: str) -> None:
        """Say something of the trial itself, once."""
        if note != self._note:
            self._note = note
            err.print(f"[dim]{shown(note)}[/]")


class Lines:
    r"""Bytes of a growing text → what to print: whole lines, of each what is left after its `\r`.

    On a terminal, of the line that has not ended yet a progress bar is drawn as it moves.
    """

    def __init__(self, *, is_terminal: bool) -> None:
        self._is_terminal = is_terminal
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._open = ""  # of the line that has not ended
        self._is_drawn = False

    def add(self, content: bytes) -> str:
        """What to print of these."""
        whole, newline, self._open = (self._open + self._decoder.decode(content)).rpartition("\n")
        text = self._erased() + _plain(whole + newline) if newline else ""
        if self._is_terminal and "\r" in self._open:
            width = shutil.get_terminal_size().columns - 1
            text += self._erased() + _plain(self._open)[:width]
            self._is_drawn = True
        if "\r" in self._open[:-1]:  # a bar that moves for hours must not fill the memory
            self._open = f"\r{overwritten(self._open)}" + "\r" * self._open.endswith("\r")
        return text

    def end(self) -> str:
        """What to print when nothing more comes."""
        text = self._erased() + _plain(self._open) + "\n" if self._open else ""
        self._open = ""
        return text

    def _erased(self) -> str:
        was_drawn, self._is_drawn = self._is_drawn, False
        return "\r\x1b[K" if was_drawn else ""


def _plain(text: str) -> str:
    """Without what would steer the terminal; lines and tabs stay, of a progress bar its end."""
    lines = overwritten(text).split("\n")
    return "\n".join("\t".join(visible(part) for part in line.split("\t")) for line in lines)
