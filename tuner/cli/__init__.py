"""The command line: parse, call one function of `commands`, print.

Data goes to standard output, progress and errors to standard error. Exit codes: 0 done, 1 failed,
2 bad input.
"""

import sys

from tuner.cli import interrupts


def main() -> None:
    """Run the program on this process's arguments and end the process.

    Within a trial `tuner report` is another one, called at every epoch: it imports next to nothing.
    """
    if sys.argv[1:2] == ["report"]:
        from tuner.user_code import client

        if client.in_trial():
            sys.exit(client.report(sys.argv[2:]))
    interrupts.end_at_once()
    from tuner.cli.app import main as program

    program()
