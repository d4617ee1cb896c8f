"""Errors in the command line itself, worded like all other errors.

Typer draws a box around its own and pydantic's messages. Here they become one sentence that names
the option, says what would be right, and points to the help.
"""

import re
from typing import Any

import typer

from tuner.cli.output import print_error

# ClickException, of click or of typer's own copy of it
_CLICK_ERROR = typer.BadParameter.__mro__[2]
_REWRITES = (
    (r"\.$", ""),
    (r"^Value error, ", ""),
    (r"^Input should be a valid integer\b.*", "must be a whole number"),
    (r"^Input should be ", "must be "),
    (r"\bgreater than or equal to\b", "at least"),
    (r"\bless than or equal to\b", "at most"),
    (r"^'(.*)' is not one of (.*)$", r"must be one of \2, is '\1'"),
    (r"(?<!\w)'([^']*)'(?!\w)", r"`\1`"),
    (r"\. Did you mean", "; did you mean"),
)


def is_usage_error(error: Exception) -> bool:
    """Whether the error is in what the user typed."""
    return isinstance(error, _CLICK_ERROR)


def explain(error: Any) -> int:
    """Print the error on standard error, and return the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":  # it has printed the help already
        return int(error.exit_code)
    print_error(_sentence(error) + _help(error))
    return int(error.exit_code)


def _sentence(error: Any) -> str:
    where = _where(error)
    if type(error).__name__ == "MissingParameter":
        return f"{where} is missing"
    if where:
        return f"{where}: {_rewrite(error.message)}"
    sentence = _rewrite(error.format_message())
    return sentence[:1].lower() + sentence[1:]


def _where(error: Any) -> str:
    """Name the option or argument as users type it."""
    parameter = getattr(error, "param", None)
    if parameter is None:
        return ""
    options = [option for option in parameter.opts if option.startswith("-")]
    return max(options, key=len) if options else str(parameter.name).upper()


def _rewrite(message: str) -> str:
    for pattern, replacement in _REWRITES:
        message = re.sub(pattern, replacement, message)
    return message


def _help(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return "" if context is None else f" (see `{context.command_path} --help`)"
