"""The studies that somebody views, in columns that are read once and then kept up to date."""

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

MAX_STUDIES = 16  # studies; 100,000 trials with ten parameters are 15 MB
FRESH = 0.2  # seconds during which a study is not read again

Listener = Callable[[int, "LiveStudy", Sequence[int]], None]  # study id, columns, changed trials


@dataclass(slots=True)
class LiveStudy:
    """One study in columns; read and write them only with its lock."""

    trials: LiveTrials
    lock: threading.Lock = field(default_factory=threading.Lock)
    read_at: float = 0.0  # monotonic clock
    origin: str = field(default_factory=lambda: uuid4().hex[:8])

    @property
    def version(self) -> str:
        """Differs between any two states, also those of other processes."""
        return f"{self.origin}-{self.trials.version}"


class LiveStudies:
    """The studies being viewed; thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._live_studies: OrderedDict[int, LiveStudy] = OrderedDict()
        self._listeners: list[Listener] = []

    def on_change(self, listener: Listener) -> None:
        """Call `listener` with the trials that have changed, whichever thread reads them."""
        self._listeners.append(listener)

    @contextmanager
    def locked(self, study_id: int) -> Iterator[tuple[Study, LiveStudy]]:
        """A study as it is now; its columns do not change inside the block.

        StudyNotFoundError if there is no such study.
        """
        with self._database.statement() as connection:
            study = studies.by_id(connection, study_id)
        live_study = self._get(study)
        with live_study.lock:
            if time.monotonic() - live_study.read_at > FRESH:
                self._refresh(study_id, live_study, self._database)
            yield study, live_study

    def prefetch(self, study_id: int) -> None:
        """Read a study that a page is about to request, if it is not here yet."""
        if study_id not in self._live_studies:
            with suppress(TunerError), self.locked(study_id):
                pass

    def refresh(self, study_id: int, database: Database) -> bool:
        """Read what changed in a study; False if nobody views it."""
        live_study = self._live_studies.get(study_id)
        if live_study is None:
            return False
        with live_study.lock:
            self._refresh(study_id, live_study, database)
        return True

    def ids(self) -> list[int]:
        """The ids of the studies being viewed."""
        return list(self._live_studies)

    def versions(self) -> dict[int, str]:
        """The versions of the studies being viewed, by id."""
        return {study_id: live.version for study_id, live in list(self._live_studies.items())}

    def _get(self, study: Study) -> LiveStudy:
        with self._lock:
            if study.id not in self._live_studies:
                self._live_studies[study.id] = LiveStudy(LiveTrials(study.id, study.directions))
                while len(self._live_studies) > MAX_STUDIES:
                    self._live_studies.popitem(last=False)
            self._live_studies.move_to_end(study.id)
            return self._live_studies[study.id]

    def _refresh(self, study_id: int, live_study: LiveStudy, database: Database) -> None:
        is_first = live_study.trials.version == 0
        try:
            with database.statement() as connection:
                changed = live_study.trials.refresh(connection)
        except StudyNotFoundError:
            with self._lock:
                self._live_studies.pop(study_id, None)
            raise
        live_study.read_at = time.monotonic()
        if changed and not is_first:
            for listener in self._listeners:
                listener(study_id, live_study, changed)
