"""The `tuner` program: its commands and how errors are reported."""

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
    interrupts,
    logs,
    other_tools,
    report,
    run,
    steer,
    studies,
    usage_errors,
    verify,
    workers,
)
from tuner.cli.output import print_error
from tuner.errors import TunerError

app = typer.Typer(
    help="Tune hyperparameters: launch a study, watch it, export the best configuration.",
    epilog="Start with `tuner run STUDY.yaml`; `tuner families` lists the models to tune.",
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
other_tools.add_to(app)
steer.add_to(app)
accounts.add_to(app)
database.add_to(app)


def _fill(paragraphs: str) -> str:
    """Join the lines of each paragraph, so that help fills the terminal's width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs.split("\n\n"))


for _command in app.registered_commands:
    if _command.callback is not None:
        _command.help = _fill(inspect.getdoc(_command.callback) or "")


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"tuner {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_version
    ),
) -> None:
    pass


def main() -> None:
    """Run the program with this process's arguments, and exit."""
    process_logs.own_process()
    for stream in (sys.stdout, sys.stderr):
        # a terminal that cannot show `–` gets an escape, not a traceback
        with contextlib.suppress(AttributeError):  # closed, or not a text stream
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        interrupts.install()
        code = execute()
        interrupts.ignore()
    except interrupts.Interrupted:  # before or after the command, or while printing an error
        code = _print_interruption()
    sys.exit(code)


def _print_interruption() -> int:
    """Print that the program was interrupted, if anyone reads it; return the exit code."""
    with contextlib.suppress(OSError):
        print_error("interrupted")
    return interrupts.exit_code()


def execute(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    An error that users can act on is one sentence on standard error. Any other is a bug and prints
    a traceback.
    """
    try:
        code = app(arguments, prog_name="tuner", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except TunerError as error:
        print_error(str(error))
        return error.exit_code
    except (interrupts.Interrupted, KeyboardInterrupt, typer.Abort):
        return _print_interruption()
    except OSError as error:
        if interrupts.is_closed_output(error):
            # `tuner trials x | head`: the reader has left, and Python must not print_error at exit
            return interrupts.exit_code(otherwise=1)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print_error(f"{error.filename or 'standard output'}: no space left on the device")
        return 1
    except Exception as error:
        if not usage_errors.is_usage_error(error):
            raise
        return usage_errors.explain(error)
    return code if isinstance(code, int) else 0
