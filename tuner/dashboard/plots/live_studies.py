"""The studies that somebody looks at, in columns that are read once and then kept up to date."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from uuid import uuid4

from tuner.database import studies
from tuner.database.engine import Database
from tuner.database.readers.live import LiveTrials
from tuner.errors import StudyNotFoundError, TunerError
from tuner.trials import Study

MOST = 16  # studies; 100,000 trials with ten parameters are 15 MB
FRESH = 0.2  # seconds in which what was read is not read again

Changed = Callable[[int, "Seen", Sequence[int]], None]  # study, what is known of it, its news


@dataclass(slots=True)
class Seen:
    """One study in columns; only whoever holds the lock reads or writes them."""

    live: LiveTrials
    lock: threading.Lock = field(default_factory=threading.Lock)
    read_at: float = 0.0  # monotonic clock
    began: str = field(default_factory=lambda: uuid4().hex[:8])

    @property
    def version(self) -> str:
        """Differs from that of any other state of any process."""
        return f"{self.began}-{self.live.version}"


class Watched:
    """For any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._seen: OrderedDict[int, Seen] = OrderedDict()
        self._listeners: list[Changed] = []

    def on_change(self, listener: Changed) -> None:
        """Tell `listener` which trials have changed, whoever it was that read them."""
        self._listeners.append(listener)

    @contextmanager
    def looking(self, study_id: int) -> Iterator[tuple[Study, Seen]]:
        """A study as it is now; nobody else changes its columns meanwhile.

        StudyNotFoundError without such a study.
        """
        with self._database.statement() as connection:
            study = studies.by_id(connection, study_id)
        seen = self._seen_of(study)
        with seen.lock:
            if time.monotonic() - seen.read_at > FRESH:
                self._refresh(study_id, seen, self._database)
            yield study, seen

    def expect(self, study_id: int) -> None:
        """Begin with a study that a page is about to ask for, if it is not known yet."""
        if study_id not in self._seen:
            with suppress(TunerError), self.looking(study_id):
                pass

    def refresh(self, study_id: int, database: Database) -> bool:
        """Read what changed in a study, if it is one that is looked at."""
        seen = self._seen.get(study_id)
        if seen is None:
            return False
        with seen.lock:
            self._refresh(study_id, seen, database)
        return True

    def ids(self) -> list[int]:
        """The studies that are looked at."""
        return list(self._seen)

    def versions(self) -> dict[int, str]:
        """The versions of the studies that are looked at."""
        return {study_id: seen.version for study_id, seen in list(self._seen.items())}

    def _seen_of(self, study: Study) -> Seen:
        with self._lock:
            if study.id not in self._seen:
                self._seen[study.id] = Seen(LiveTrials(study.id, study.directions))
                while len(self._seen) > MOST:
                    self._seen.popitem(last=False)
            self._seen.move_to_end(study.id)
            return self._seen[study.id]

    def _refresh(self, study_id: int, seen: Seen, database: Database) -> None:
        first = seen.live.version == 0
        try:
            with database.statement() as connection:
                changed = seen.live.refresh(connection)
        except StudyNotFoundError:
            with self._lock:
                self._seen.pop(study_id, None)
            raise
        seen.read_at = time.monotonic()
        if changed and not first:
            for listener in self._listeners:
                listener(study_id, seen, changed)
