"""The command line: parse, call one function of `commands`, print.

Data goes to standard output, progress and errors to standard error. Exit codes: 0 done, 1 failed,
2 bad input.
"""

from tuner.cli.app import main

__all__ = ["main"]
