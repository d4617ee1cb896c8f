"""Why training raised. Torch is asked only where it is loaded: own code may do without it."""

import sys

from tuner.trials import Cause

# of cupy, JAX, TensorFlow and others, which are not imported for it
_OUT_OF_MEMORY = ("OutOfMemory", "ResourceExhausted", "RESOURCE_EXHAUSTED", "MemoryError")


def cause(error: Exception) -> Cause:
    """The cause under which a failed attempt is recorded."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch and isinstance(error, torch.OutOfMemoryError)):
        return Cause.OUT_OF_MEMORY
    return cause_of_line(f"{type(error).__name__}: {error}"[:200])


def cause_of_line(line: str) -> Cause:
    """The same from the line with which a traceback ends."""
    kind = line.partition(":")[0] if "RESOURCE_EXHAUSTED" not in line else line
    is_memory = any(word in kind for word in _OUT_OF_MEMORY)
    return Cause.OUT_OF_MEMORY if is_memory else Cause.USER_ERROR
