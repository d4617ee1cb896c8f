"""One thread for the linear algebra of small matrices: others would only wait for each other."""

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import scipy.linalg  # noqa: F401 - its library must be loaded before the controller looks for it
from threadpoolctl import ThreadpoolController


def single_threaded() -> AbstractContextManager[Any]:
    """Limit the libraries of linear algebra to one thread."""
    limiter: AbstractContextManager[Any] = _libraries().limit(limits=1)
    return limiter


@cache
def _libraries() -> ThreadpoolController:
    """Look for the libraries once: that takes longer than their work."""
    return ThreadpoolController()
