"""Why training raised."""

import torch

from tuner.trials import Cause


def cause(error: Exception) -> Cause:
    """The cause under which a failed attempt is recorded."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return Cause.OUT_OF_MEMORY
    return Cause.USER_ERROR
