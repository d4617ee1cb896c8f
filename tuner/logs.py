"""Logging: one format, with the study, trial and worker on every line that belongs to one."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_context: ContextVar[str] = ContextVar("tuner_log_context", default="")


_is_own = False


def own_process() -> None:
    """Keep to ourselves what libraries warn of: this process is tuner's, not a user's program.

    `python -W` and PYTHONWARNINGS bring it back. To be called before the search is imported, which
    silences Optuna then.
    """
    global _is_own  # noqa: PLW0603 - of the process
    _is_own = True
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def is_own_process() -> bool:
    """Whether this process is tuner's own; else its settings are its user's."""
    return _is_own


class _ContextFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.context = _context.get()
        return True


@contextmanager
def log_context(**ids: object) -> Iterator[None]:
    """Put `study=… trial=… worker=…` in front of every message logged inside the block."""
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
