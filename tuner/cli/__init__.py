"""The command line: parse, call one function of `commands`, print.

Data goes to standard output, progress and errors to standard error. Exit codes: 0 success,
1 failure, 2 bad input.
"""

import sys

from tuner.cli import interrupts


def main() -> None:
    """Run the program with this process's arguments, and exit.

    Inside a trial, `tuner report` is a different command that runs every epoch, so it imports next
    to nothing.
    """
    if sys.argv[1:2] == ["report"]:
        from tuner.user_code import client

        if client.in_trial():
            sys.exit(client.report(sys.argv[2:]))
    interrupts.exit_on_signal()
    from tuner.cli.app import main as program

    program()
