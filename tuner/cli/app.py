"""The `tuner` program: its commands and what becomes of errors."""

import os
import sys

import typer

from tuner import __version__
from tuner.cli import database, run, studies
from tuner.cli.output import complain
from tuner.errors import TunerError

app = typer.Typer(
    help="Search hyperparameters: launch a study, watch it, export the best configuration.",
    epilog="Start with `tuner run studies/digits-cnn.yaml`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
run.add_to(app)
studies.add_to(app)
database.add_to(app)


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
    """Run the program; a user's mistake is one sentence, anything else is a bug and a traceback."""
    try:
        app()
    except TunerError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        # `tuner trials x | head`: the reader has left, and Python must not complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
