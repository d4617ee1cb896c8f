"""The names of studies for the shell's completion: soon, or none.

Pressing Tab must neither wait for a server far away nor start one, nor print what went wrong.
"""

import contextlib
import logging
import threading

from tuner.database import embedded, studies
from tuner.database.engine import connect
from tuner.settings import settings

PATIENCE = 1.0  # seconds


def study_names(incomplete: str) -> list[str]:
    """The names that begin so; none where the database does not answer within `PATIENCE`."""
    logging.disable()
    found: list[str] = []
    asking = threading.Thread(target=_ask, args=(found,), daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return [name for name in found if name.startswith(incomplete) and name.isprintable()]


def _ask(found: list[str]) -> None:
    with contextlib.suppress(Exception):
        chosen = settings()
        if chosen.database_url is None and not embedded.is_up(chosen.home):
            return
        database = connect(chosen)
        try:
            with database.statement() as connection:
                found.extend(studies.names(connection))
        finally:
            database.close()
