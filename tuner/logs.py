"""Logging: one format, with the study, trial and worker on every line that belongs to one."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_context: ContextVar[str] = ContextVar("tuner_log_context", default="")


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
