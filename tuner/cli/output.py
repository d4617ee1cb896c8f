"""How values look: numbers with sensible digits, tables, JSON, errors."""

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
from tuner.cli.names import study_names
from tuner.database import schema
from tuner.database.engine import Database
from tuner.errors import DatabaseUnreachableError, visible
from tuner.figures import text
from tuner.settings import Settings, settings
from tuner.study_file.code import OWN
from tuner.study_file.messages import listed
from tuner.study_json import plain
from tuner.trials import ParamValue, Study, StudyState, Trial, TrialState

PIPED = 10_000  # columns: a file or another program has no edge to wrap at
_on_terminal = sys.stdout is not None and sys.stdout.isatty()  # None: it was closed by the shell
# no emoji: a text that holds `:x:` is shown as it is
out = Console(highlight=False, emoji=False, soft_wrap=True, width=None if _on_terminal else PIPED)
err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)

AsJson = typer.Option(False, "--json", help="Print JSON for scripts.")
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
}


def complain(message: str) -> None:
    """An error, on standard error; one line for each line of the message."""
    lines = as_called(message).split("\n")
    err.print("[bold red]error:[/] " + "\n".join(map(shown, lines)))


def as_called(message: str) -> str:
    """A message that names commands in backquotes, with this program as the user's shell calls it.

    What lies below the command line knows it as `tuner` alone.
    """
    return message.replace("`tuner ", f"`{shell.line(*program())} ")


def shown(text: object) -> str:
    """A text from a user or the database as Rich markup that shows just this text, on one line.

    Names and messages may hold markup, or escape sequences that would steer the terminal.
    """
    return escape(visible(str(text)))


def typed(name: str, *arguments: str, options: Sequence[str] = ()) -> str:
    """A command to type, as this shell finds it, as Rich markup."""
    return f"[bold]{shown(command(name, *arguments, options=options))}[/]"


def command(name: str, *arguments: str, options: Sequence[str] = ()) -> str:
    """A command to type, as this shell finds it."""
    return shell.line(*program(), *shell.words(name, *arguments, options=options))


def options_of(values: Mapping[str, object]) -> list[str]:
    """Options as they were given: `--name x`, a flag that is set, one of a list for each of it."""
    words = []
    for option, given in values.items():
        for value in given if isinstance(given, list) else [given]:
            if value is True:
                words.append(option)
            elif value is not None and value is not False:
                words += [option, str(value)]
    return words


def how_to_work(database: Database, settings: Settings, studies: Sequence[Study]) -> str:
    """The command of a worker that serves these studies."""
    options = [
        word
        for study in studies
        for k, v in study.labels.items()
        for word in ("--label", f"{k}={v}")
    ]
    allowed = database.is_embedded if settings.allow_code is None else settings.allow_code
    if not allowed and any(study.family in OWN for study in studies):
        options.append("--allow-code")
    return command("worker", options=options)


def program() -> list[str]:
    """How the user's shell calls this program: `tuner`, or its path where that is not found."""
    called = Path(sys.argv[0])
    if called.parts[-2:] == ("tuner", "__main__.py"):
        return [Path(sys.executable).name, "-m", "tuner"]
    if called.name != "tuner":  # another program has called a command line in its own process
        return ["tuner"]
    found = shutil.which("tuner")
    return ["tuner"] if found and Path(found).resolve() == called.resolve() else [str(called)]


def user() -> str:
    """Who has called this program: `ada@host`."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, for example
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


@contextmanager
def opened(patience: float = 0.0) -> Iterator[tuple[Settings, Database]]:
    """The settings and the open database of this process.

    A server that does not answer yet is waited for, `patience` seconds at most.
    """
    chosen = settings()
    logs.configure(chosen.log_level)
    database = _database(chosen, patience)
    try:
        yield chosen, database
    finally:
        database.close()


def _database(chosen: Settings, patience: float) -> Database:
    until = time.monotonic() + patience
    said = False
    while True:
        try:
            return schema.open_database(chosen)
        except DatabaseUnreachableError as error:
            if time.monotonic() >= until:
                raise
            if not said:
                err.print(f"[dim]{shown(str(error))}; waiting for it[/]")
                said = True
        time.sleep(1.0)


def running_in_optuna(study: Study, trials: Iterable[Trial]) -> str:
    """What to know of trials that Optuna runs; empty without any.

    They have no lease, so nobody notices that their process has died.
    """
    numbers = [t.number for t in trials if t.state is TrialState.RUNNING and t.ran_in_optuna]
    if not numbers:
        return ""
    kill = command("kill", study.name, str(numbers[0]))
    if len(numbers) == 1:
        return (
            f"trial {numbers[0]} is being run through Optuna: if its process has died, `{kill}` "
            "ends it"
        )
    return (
        f"trials {listed(numbers)} are being run through Optuna: if their process has died, "
        f"`{kill}` ends the first of them, and so on"
    )


def print_json(value: Any) -> None:
    """Any of our records as JSON on standard output; NaN and infinities become null.

    What cannot be seen is escaped, as JSON allows: a terminal must not be steered by a name.
    """
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower()
    only_ascii = not encoding.startswith("utf")
    lines = json.dumps(plain(value), indent=2, ensure_ascii=only_ascii).split("\n")
    typer.echo("\n".join(line if line.isprintable() else _escaped(line) for line in lines))


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def number(value: float | None) -> str:
    """A measured number with four significant digits, as in the figures; `–` for none."""
    return text.number(value)


def param(value: ParamValue) -> str:
    """A parameter's value as a study file would have it, floats shortened; on one line."""
    return visible(value) if isinstance(value, str) else text.value(value)


def duration(seconds: float | None) -> str:
    """`48 s`, `3 min 20 s`, `5 h 12 min`, as in the report; `–` for none."""
    return text.duration(seconds)


def moment(value: datetime | None) -> str:
    """A time in the user's zone."""
    return "–" if value is None else value.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def state(value: StudyState | TrialState) -> str:
    """A state in its colour, as Rich markup."""
    return f"[{STATE_STYLE[value]}]{value}[/]"


def table(*columns: str, right: frozenset[str] = frozenset()) -> Table:
    """An empty table in the house style."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def params_table(params: Mapping[str, ParamValue], *, indent: int = 2) -> Table:
    """Parameters, one a line."""
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, indent))
    made.add_column(style="dim")
    made.add_column()
    for name, value in params.items():
        made.add_row(shown(name), escape(param(value)))
    return made
