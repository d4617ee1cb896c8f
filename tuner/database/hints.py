"""Hints that something changed: whoever waits for it looks at once instead of a while later.

Sent with NOTIFY. A transaction with one holds a lock of the whole database while it commits. So
what is rare is hinted at by the statement that does it (`pg_notify` in `studies` and `trials`), and
what is frequent by transactions of their own, one for many changes, which wait for no disk. A hint
can get lost, with its connection or in a pooler that shares connections between transactions: who
listens looks now and then all the same.
"""

from collections.abc import Iterable
from typing import Any

import psycopg2
from sqlalchemy import Connection, event, text

from tuner.database.engine import Database

WORK = "tuner_work"  # for workers: a study was launched, steered or ended, or a trial of it waits
TRIALS = "tuner_trials"  # for views: trials of a study have begun, reported or ended

_SEND = text("""
    SELECT pg_notify(:channel, CAST(study AS text)) FROM unnest(CAST(:studies AS bigint[])) AS study
""")


def send(connection: Connection, channel: str, studies: Iterable[int]) -> None:
    """Tell whoever listens that something about these studies has changed."""
    connection.execute(_SEND, {"channel": channel, "studies": list(studies)})


class ListeningDatabase(Database):
    """A database for one thread: its only connection also hears the hints of a channel."""

    def __init__(self, beside: Database, channel: str, *, listen: bool) -> None:
        """`beside` stays open for as long as this one; its idle connections are closed.

        Without `listen` nothing is ever heard.
        """
        super().__init__(beside.url, pool_size=1, max_overflow=0)
        beside.engine.dispose()
        self.connections = 0
        """How many it has made. After another one, the server may have crashed."""
        self._channel = channel
        self._listens = listen
        self._driver: Any = None  # psycopg2's connection that listens
        event.listen(self.engine, "connect", self._connected)

    def _connected(self, driver: Any, _: object) -> None:
        self.connections += 1
        if self._listens:
            with driver.cursor() as cursor:
                cursor.execute(f"LISTEN {self._channel}")
            driver.commit()
            self._driver = driver

    def fileno(self) -> int | None:
        """What becomes readable with a hint; None while no connection listens."""
        if self._driver is None or self._driver.closed:  # a statement may have noticed the end
            return None
        return int(self._driver.fileno())

    def read_hints(self) -> set[int]:
        """The ids of the studies that hints named since the last call. Reads what is there only."""
        if self._driver is None:
            return set()
        try:
            self._driver.poll()
        except psycopg2.Error:  # dead: the next statement connects anew
            self._driver = None
            return set()
        found = {int(hint.payload) for hint in self._driver.notifies}
        self._driver.notifies.clear()
        return found
