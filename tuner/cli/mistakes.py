"""What is wrong with a command line, in the words of all other errors.

typer draws a box around messages of its own and of pydantic; here they become one sentence that
says which option is meant, what would be right and where the help is.
"""

import re
from typing import Any

import typer

from tuner.cli.output import complain

# ClickException: of click, or of typer's own copy of it; what typer shows of both is this child
_ANY = typer.BadParameter.__mro__[2]
_REWRITTEN = (
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


def is_one(error: Exception) -> bool:
    """Whether the user has typed something that the command line does not have."""
    return isinstance(error, _ANY)


def explain(error: Any) -> int:
    """Say it on standard error; returns the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":  # it has printed the help already
        return int(error.exit_code)
    complain(_sentence(error) + _help(error))
    return int(error.exit_code)


def _sentence(error: Any) -> str:
    where = _where(error)
    if type(error).__name__ == "MissingParameter":
        return f"{where} is missing"
    if where:
        return f"{where}: {_rewritten(error.message)}"
    said = _rewritten(error.format_message())
    return said[:1].lower() + said[1:]


def _where(error: Any) -> str:
    """The option or argument, as one types it."""
    parameter = getattr(error, "param", None)
    if parameter is None:
        return ""
    options = [option for option in parameter.opts if option.startswith("-")]
    return max(options, key=len) if options else str(parameter.name).upper()


def _rewritten(message: str) -> str:
    for pattern, replacement in _REWRITTEN:
        message = re.sub(pattern, replacement, message)
    return message


def _help(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return "" if context is None else f" (see `{context.command_path} --help`)"
