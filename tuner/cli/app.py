"""The `tuner` program: its commands and what becomes of errors."""

import contextlib
import errno
import inspect
import os
import sys
from collections.abc import Sequence

import typer

from tuner import __version__
from tuner import logs as process_logs
from tuner.cli import (
    accounts,
    confirm,
    dashboard,
    database,
    exchange,
    interrupts,
    logs,
    mistakes,
    report,
    run,
    steer,
    studies,
    verify,
    workers,
)
from tuner.cli.output import complain
from tuner.errors import TunerError

app = typer.Typer(
    help="Search hyperparameters: launch a study, watch it, export the best configuration.",
    epilog="Start with `tuner run STUDY.yaml`; `tuner families` lists what a study can tune.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
run.add_to(app)
confirm.add_to(app)
studies.add_to(app)
report.add_to(app)
verify.add_to(app)
logs.add_to(app)
dashboard.add_to(app)
workers.add_to(app)
exchange.add_to(app)
steer.add_to(app)
accounts.add_to(app)
database.add_to(app)


def _fill(paragraphs: str) -> str:
    """A docstring without its line ends, so that help fills the terminal's width."""
    return "\n\n".join(" ".join(one.split()) for one in paragraphs.split("\n\n"))


for _command in app.registered_commands:
    if _command.callback is not None:
        _command.help = _fill(inspect.getdoc(_command.callback) or "")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tuner {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: bool = typer.Option(
        False, "--version", help="Print the version.", is_eager=True, callback=_version
    ),
) -> None:
    pass


def main() -> None:
    """Run the program on this process's arguments and end the process."""
    process_logs.own_process()
    for stream in (sys.stdout, sys.stderr):
        # a terminal that cannot show `–` gets an escape, not a traceback
        with contextlib.suppress(AttributeError):  # closed, or not a text stream
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        interrupts.install()
        code = execute()
        interrupts.ignore()
    except interrupts.Interrupted:  # before the command, after it, or while an error was printed
        code = _say_interrupted()
    sys.exit(code)


def _say_interrupted() -> int:
    """Say so, where somebody reads it; returns the exit code."""
    with contextlib.suppress(OSError):
        complain("interrupted")
    return interrupts.exit_code()


def execute(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit code.

    What the user can act upon is one sentence on standard error, anything else is a bug and a
    traceback.
    """
    try:
        code = app(arguments, prog_name="tuner", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except TunerError as error:
        complain(str(error))
        return error.exit_code
    except (interrupts.Interrupted, KeyboardInterrupt, typer.Abort):
        return _say_interrupted()
    except OSError as error:
        if interrupts.is_closed_output(error):
            # `tuner trials x | head`: the reader has left, and Python must not complain at exit
            return interrupts.exit_code(otherwise=1)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        complain(f"{error.filename or 'standard output'}: no space left on the device")
        return 1
    except Exception as error:
        if not mistakes.is_one(error):
            raise
        return mistakes.explain(error)
    return code if isinstance(code, int) else 0
