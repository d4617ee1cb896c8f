"""Why training failed. Torch is used only if it is loaded: user code may do without it."""

import contextlib
import sys
import traceback

from tuner.errors import visible
from tuner.trials import Cause

MAX_MESSAGE = 2_000  # characters

# error names of cupy, JAX, TensorFlow and others, which are not imported for this
_OUT_OF_MEMORY = ("OutOfMemory", "ResourceExhausted", "RESOURCE_EXHAUSTED", "MemoryError")


def cause(error: BaseException) -> Cause:
    """Return the cause under which a failed attempt is recorded."""
    torch = sys.modules.get("torch")  # may also be a user's module of that name
    if isinstance(error, (MemoryError, getattr(torch, "OutOfMemoryError", MemoryError))):
        return Cause.OUT_OF_MEMORY
    return cause_of_line(_text(error)[:200])


def sentence(error: BaseException) -> str:
    """Describe an exception on one line that can be stored, whatever its class does."""
    lines = _text(error).splitlines()
    return storable(lines[0] if lines else "")


def storable(message: str) -> str:
    """Shorten a message, and escape what the database cannot store: NUL, lone surrogates."""
    return "\n".join(map(visible, message[:MAX_MESSAGE].splitlines()))


def print_traceback(error: BaseException) -> None:
    """Print a traceback to standard error, which users' code may have closed or replaced."""
    with (
        contextlib.suppress(BaseException),
        open(2, "w", errors="backslashreplace", closefd=False) as stream,
    ):
        traceback.print_exception(error, file=stream)


def _text(error: BaseException) -> str:
    """Return the end of a traceback: the exception's name and text, possibly of several lines."""
    name = type(error).__name__
    try:
        text = str(error).strip()
    except BaseException as problem:  # of users' classes
        text = f"(its text is unknown: __str__ raised {type(problem).__name__})"
    return f"{name}: {text}" if text else name


def cause_of_line(line: str) -> Cause:
    """Return the cause from the last line of a traceback."""
    kind = line.partition(":")[0] if "RESOURCE_EXHAUSTED" not in line else line
    is_memory = any(word in kind for word in _OUT_OF_MEMORY)
    return Cause.OUT_OF_MEMORY if is_memory else Cause.USER_ERROR
