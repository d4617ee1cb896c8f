"""Hints that something changed: a process that waits for it looks at once instead of later.

Sent with NOTIFY. A transaction that sends one locks the whole database while it commits. So for
rare changes the statement itself sends the hint (`pg_notify` in `studies`, `trials` and others);
for frequent ones a transaction of its own does, one for many changes, which waits for no disk. A
hint can get lost with its connection, or in a pooler that shares connections between transactions:
listeners look now and then all the same.
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
    """Tell all listeners that something about these studies has changed."""
    connection.execute(_SEND, {"channel": channel, "studies": list(studies)})


class ListeningDatabase(Database):
    """A database for one thread, whose only connection also receives a channel's hints."""

    def __init__(self, beside: Database, channel: str, *, listen: bool) -> None:
        """Open a connection of its own to the server of `beside`.

        `beside` must stay open as long as this one; its idle connections are closed. Without
        `listen` no hint is ever received.
        """
        super().__init__(beside.url, pool_size=1, max_overflow=0)
        beside.engine.dispose()
        self.connections = 0
        """How many were made. Before a further one, the server may have crashed."""
        self._channel = channel
        self._listens = listen
        self._driver: Any = None  # psycopg2's connection, while it listens
        event.listen(self.engine, "connect", self._on_connect)

    def _on_connect(self, driver: Any, _: object) -> None:
        self.connections += 1
        if self._listens:
            with driver.cursor() as cursor:
                cursor.execute(f"LISTEN {self._channel}")
            driver.commit()
            self._driver = driver

    def fileno(self) -> int | None:
        """The descriptor that becomes readable with a hint; None while no connection listens."""
        if self._driver is None or self._driver.closed:  # a statement may have noticed the end
            return None
        return int(self._driver.fileno())

    def read_hints(self) -> set[int]:
        """Read the ids of the studies that hints have named since the last call; never waits."""
        if self._driver is None:
            return set()
        try:
            self._driver.poll()
        except psycopg2.Error:  # dead: the next statement reconnects
            self._driver = None
            return set()
        study_ids = {int(hint.payload) for hint in self._driver.notifies}
        self._driver.notifies.clear()
        return study_ids
