"""Logging: one format, with study, trial and worker on every line that concerns them."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_context: ContextVar[str] = ContextVar("tuner_log_context", default="")


_is_own = False


def own_process() -> None:
    """Silence warnings of libraries: this process is tuner's, not a user's program.

    `python -W` and PYTHONWARNINGS bring them back. Call it before the search is imported, which
    then silences Optuna.
    """
    global _is_own  # noqa: PLW0603 - it belongs to the process
    _is_own = True
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def is_own_process() -> bool:
    """Whether this process is tuner's own; else it is a user's program."""
    return _is_own


class _ContextFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.context = _context.get()
        return True


@contextmanager
def log_context(**ids: object) -> Iterator[None]:
    """Prefix every message logged in the block with `study=… trial=… worker=…`."""
    text = _context.get() + "".join(f"{key}={value} " for key, value in ids.items())
    token = _context.set(text)
    try:
        yield
    finally:
        _context.reset(token)


def configure(level: str) -> None:
    """Send tuner's log to stderr at `level`; standard output stays free for data."""
    handler = logging.StreamHandler()
    handler.addFilter(_ContextFilter())
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(name)s %(context)s%(message)s")
    )
    root = logging.getLogger("tuner")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False
