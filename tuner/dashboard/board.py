"""The dashboard's own state, which every route shares: database, settings, live studies."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from tuner.dashboard.local_secret import Secret
from tuner.dashboard.plots.live_studies import LiveStudies
from tuner.dashboard.plots.stream import Stream
from tuner.database.engine import Database
from tuner.database.readers import feed
from tuner.database.readers.progress import Overviews, Progress, Series
from tuner.settings import Settings
from tuner.trials import Study, Trial


@dataclass(frozen=True, slots=True)
class Access:
    """How far the server can be reached, and what follows from it."""

    login: bool = False  # whether users log in with accounts
    tls: bool = False  # whether browsers reach it by HTTPS
    secret: Secret = field(default_factory=Secret)  # opens a dashboard without accounts


class StudyProgress:
    """The progress of all studies; thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._overviews = Overviews()
        self._lock = threading.Lock()

    def of(self, *studies: Study) -> Mapping[int, Progress]:
        """Study id → its progress now."""
        with self._lock:
            self._refresh()
            return {study.id: self._overviews.of(study.id, study.direction) for study in studies}

    def series(self, study: Study) -> Series:
        """The trials of a study in columns, as they are now."""
        with self._lock:
            self._refresh()
            return self._overviews.series(study.id)

    def _refresh(self) -> None:
        with self._database.statement() as connection:
            self._overviews.refresh(connection)


@dataclass(frozen=True, slots=True)
class Board:
    """The dashboard's own state: one per process."""

    database: Database
    settings: Settings
    access: Access = field(default_factory=Access)
    progress: StudyProgress = field(init=False)
    live_studies: LiveStudies = field(init=False)
    stream: Stream = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "progress", StudyProgress(self.database))
        object.__setattr__(self, "live_studies", LiveStudies(self.database))
        stream = Stream(self.database, self.live_studies, listen=self.settings.listen)
        object.__setattr__(self, "stream", stream)


def best_trials(board: Board, study: Study, count: int) -> list[Trial]:
    """The best complete trials of a study, the earlier of equal ones first."""
    numbers = board.progress.series(study).top(study.direction, count)
    with board.database.statement() as connection:
        trials = [feed.by_number(connection, study.id, number) for number in numbers]
    return [trial for trial in trials if trial is not None]
