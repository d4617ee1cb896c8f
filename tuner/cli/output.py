"""How the command line prints: numbers with sensible digits, tables, JSON, errors."""

import json
import os
import pwd
import shutil
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tuner import logs, shell
from tuner.cli.completion import study_names
from tuner.database import schema
from tuner.database.engine import Database
from tuner.errors import DatabaseUnreachableError, visible
from tuner.figures import text
from tuner.settings import Settings, settings
from tuner.study_file.code import USER_CODE_FAMILIES
from tuner.study_file.messages import listed
from tuner.study_json import plain
from tuner.trials import ParamValue, Study, StudyState, Trial, TrialState

PIPED = 10_000  # columns: files and other programs need no wrapping
_on_terminal = sys.stdout is not None and sys.stdout.isatty()  # None: the shell closed it
# no emoji: a text such as `:x:` appears as it is
out = Console(highlight=False, emoji=False, soft_wrap=True, width=None if _on_terminal else PIPED)
err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)

AsJson = typer.Option(False, "--json", help="Print JSON, for scripts.")
StudyName = typer.Argument(help="The study's name.", show_default=False, autocompletion=study_names)

STATE_STYLE: Mapping[str, str] = {
    StudyState.ACTIVE: "green",
    StudyState.PAUSED: "yellow",
    StudyState.STOPPED: "red",
    StudyState.FINISHED: "blue",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAILED: "red",
    TrialState.RUNNING: "cyan",
    TrialState.WAITING: "dim",
    TrialState.PAUSED: "magenta",
}


def print_error(message: str) -> None:
    """Print an error on standard error, keeping the message's lines."""
    lines = spell_commands(message).split("\n")
    err.print("[bold red]error:[/] " + "\n".join(map(literal, lines)))


def spell_commands(message: str) -> str:
    """Spell the commands in a message's backquotes as the user's shell calls this program.

    The layers below the command line know it only as `tuner`.
    """
    return message.replace("`tuner ", f"`{shell.line(*program())} ")


def literal(text: object) -> str:
    """Escape a text from users or the database for Rich, on one line.

    Names and messages may contain markup, or escape sequences that would control the terminal.
    """
    return escape(visible(str(text)))


def command_markup(name: str, *arguments: str, options: Sequence[str] = ()) -> str:
    """Return a command line for the user to type, as Rich markup."""
    return f"[bold]{literal(command_line(name, *arguments, options=options))}[/]"


def command_line(name: str, *arguments: str, options: Sequence[str] = ()) -> str:
    """Return a command line for the user to type, with this program as the shell finds it."""
    return shell.line(*program(), *shell.words(name, *arguments, options=options))


def repeat_options(values: Mapping[str, object]) -> list[str]:
    """Repeat options as they were given: `--name x`, set flags, one per item of a list."""
    words = []
    for option, option_value in values.items():
        for value in option_value if isinstance(option_value, list) else [option_value]:
            if value is True:
                words.append(option)
            elif value is not None and value is not False:
                words += [option, str(value)]
    return words


def worker_command(database: Database, settings: Settings, studies: Sequence[Study]) -> str:
    """Return the command that starts a worker for these studies."""
    options = [
        word
        for study in studies
        for k, v in study.labels.items()
        for word in ("--label", f"{k}={v}")
    ]
    allowed = database.is_embedded if settings.allow_code is None else settings.allow_code
    if not allowed and any(study.family in USER_CODE_FAMILIES for study in studies):
        options.append("--allow-code")
    return command_line("worker", options=options)


def program() -> list[str]:
    """Return how the user's shell calls this program: `tuner`, or its path if not on PATH."""
    path = Path(sys.argv[0])
    if path.parts[-2:] == ("tuner", "__main__.py"):
        return [Path(sys.executable).name, "-m", "tuner"]
    if path.name != "tuner":  # another program runs a command line in its own process
        return ["tuner"]
    on_path = shutil.which("tuner")
    return ["tuner"] if on_path and Path(on_path).resolve() == path.resolve() else [str(path)]


def current_user() -> str:
    """Return who runs this program: `ada@host`."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, for example
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


@contextmanager
def open_database(patience: float = 0.0) -> Iterator[tuple[Settings, Database]]:
    """Open the database of this process's settings; wait up to `patience` seconds for it."""
    chosen = settings()
    logs.configure(chosen.log_level)
    database = _wait_for_database(chosen, patience)
    try:
        yield chosen, database
    finally:
        database.close()


def _wait_for_database(chosen: Settings, patience: float) -> Database:
    until = time.monotonic() + patience
    announced = False
    while True:
        try:
            return schema.open_database(chosen)
        except DatabaseUnreachableError as error:
            if time.monotonic() >= until:
                raise
            if not announced:
                err.print(f"[dim]{literal(str(error))}; waiting[/]")
                announced = True
        time.sleep(1.0)


def describe_optuna_trials(study: Study, trials: Iterable[Trial]) -> str:
    """Warn of trials that Optuna runs; empty if there are none.

    They have no lease, so tuner cannot notice that their process died.
    """
    numbers = [t.number for t in trials if t.state is TrialState.RUNNING and t.ran_in_optuna]
    if not numbers:
        return ""
    kill = command_line("kill", study.name, str(numbers[0]))
    if len(numbers) == 1:
        return (
            f"trial {numbers[0]} is being run through Optuna; if its process died, end it with "
            f"`{kill}`"
        )
    return (
        f"trials {listed(numbers)} are being run through Optuna; if their process died, end the "
        f"first with `{kill}`, and so on"
    )


def print_json(value: Any) -> None:
    """Print a record as JSON on standard output; NaN and infinities become null.

    Invisible characters are escaped, as JSON allows: no name may control the terminal.
    """
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower()
    only_ascii = not encoding.startswith("utf")
    lines = json.dumps(plain(value), indent=2, ensure_ascii=only_ascii).split("\n")
    typer.echo("\n".join(line if line.isprintable() else _escaped(line) for line in lines))


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def number(value: float | None) -> str:
    """Format a measured number with four significant digits; `–` for None."""
    return text.number(value)


def param(value: ParamValue) -> str:
    """Format a parameter's value as in a study file, floats shortened, on one line."""
    return visible(value) if isinstance(value, str) else text.value(value)


def duration(seconds: float | None) -> str:
    """Format seconds: `48 s`, `3 min 20 s`, `5 h 12 min`; `–` for None."""
    return text.duration(seconds)


def moment(value: datetime | None) -> str:
    """Format a time in the user's time zone."""
    return "–" if value is None else value.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def state(value: StudyState | TrialState) -> str:
    """Format a state in its colour, as Rich markup."""
    return f"[{STATE_STYLE[value]}]{value}[/]"


def table(*columns: str, right: frozenset[str] = frozenset()) -> Table:
    """Return an empty table in the house style."""
    listing = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        listing.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return listing


def params_table(params: Mapping[str, ParamValue], *, indent: int = 2) -> Table:
    """Return a table of parameters, one per line."""
    listing = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, indent))
    listing.add_column(style="dim")
    listing.add_column()
    for name, value in params.items():
        listing.add_row(literal(name), escape(param(value)))
    return listing
