"""Why training raised. Torch is asked only where it is loaded: own code may do without it."""

import contextlib
import sys
import traceback

from tuner.errors import visible
from tuner.trials import Cause

MAX_MESSAGE = 2_000  # characters

# of cupy, JAX, TensorFlow and others, which are not imported for it
_OUT_OF_MEMORY = ("OutOfMemory", "ResourceExhausted", "RESOURCE_EXHAUSTED", "MemoryError")


def cause(error: BaseException) -> Cause:
    """The cause under which a failed attempt is recorded."""
    torch = sys.modules.get("torch")  # a user's own module may have the name
    if isinstance(error, (MemoryError, getattr(torch, "OutOfMemoryError", MemoryError))):
        return Cause.OUT_OF_MEMORY
    return cause_of_line(_text(error)[:200])


def sentence(error: BaseException) -> str:
    """What was raised, on one line that can be stored, whatever the exception's class does."""
    lines = _text(error).splitlines()
    return storable(lines[0] if lines else "")


def storable(message: str) -> str:
    """The message, bounded, with escapes for what a text cannot hold: NUL, lone surrogates."""
    return "\n".join(map(visible, message[:MAX_MESSAGE].splitlines()))


def print_traceback(error: BaseException) -> None:
    """Print it to standard error, which users' code may have closed or replaced."""
    with (
        contextlib.suppress(BaseException),
        open(2, "w", errors="backslashreplace", closefd=False) as stream,
    ):
        traceback.print_exception(error, file=stream)


def _text(error: BaseException) -> str:
    """The last line of a traceback, or where its text has several, all of these."""
    name = type(error).__name__
    try:
        text = str(error).strip()
    except BaseException as problem:  # of users' own classes
        text = f"(its text is not known: __str__ raised {type(problem).__name__})"
    return f"{name}: {text}" if text else name


def cause_of_line(line: str) -> Cause:
    """The same from the line with which a traceback ends."""
    kind = line.partition(":")[0] if "RESOURCE_EXHAUSTED" not in line else line
    is_memory = any(word in kind for word in _OUT_OF_MEMORY)
    return Cause.OUT_OF_MEMORY if is_memory else Cause.USER_ERROR
