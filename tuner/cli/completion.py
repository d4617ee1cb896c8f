"""Shell completion of study names: quickly or not at all.

Pressing Tab must not wait for a remote server, start a server or print errors.
"""

import contextlib
import logging
import threading

from tuner.database import embedded, studies
from tuner.database.engine import connect
from tuner.settings import settings

PATIENCE = 1.0  # seconds to wait for the database


def study_names(incomplete: str) -> list[str]:
    """Return the names with this prefix; none if the database does not answer in time."""
    logging.disable()
    names: list[str] = []
    thread = threading.Thread(target=_ask, args=(names,), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return [name for name in names if name.startswith(incomplete) and name.isprintable()]


def _ask(names: list[str]) -> None:
    with contextlib.suppress(Exception):
        current = settings()
        if current.database_url is None and not embedded.is_up(current.home):
            return
        database = connect(current)
        try:
            with database.statement() as connection:
                names.extend(studies.names(connection))
        finally:
            database.close()
