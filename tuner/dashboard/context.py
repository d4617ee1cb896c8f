"""What every route shares."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Path, Request

from tuner.dashboard.entrance import Secret
from tuner.dashboard.plots.live_studies import Watched
from tuner.dashboard.plots.stream import Stream
from tuner.database.engine import Database
from tuner.database.readers import feed
from tuner.database.readers.progress import Overviews, Progress, Series
from tuner.settings import Settings
from tuner.trials import Study, Trial

ID = 2**63 - 1  # PostgreSQL's largest


@dataclass(frozen=True, slots=True)
class Access:
    """How far the server can be reached, and what follows from it."""

    login: bool = False  # whether accounts are asked for
    tls: bool = False  # whether browsers reach it by HTTPS
    secret: Secret = field(default_factory=Secret)  # opens it where no accounts are asked for


class Progresses:
    """How far all studies are, for many threads at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._overviews = Overviews()
        self._lock = threading.Lock()

    def of(self, *studies: Study) -> Mapping[int, Progress]:
        """Study id → how far it is now."""
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
    """The dashboard's own state: one a process."""

    database: Database
    settings: Settings
    access: Access = field(default_factory=Access)
    progresses: Progresses = field(init=False)
    watched: Watched = field(init=False)
    stream: Stream = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "progresses", Progresses(self.database))
        object.__setattr__(self, "watched", Watched(self.database))
        stream = Stream(self.database, self.watched, listen=self.settings.listen)
        object.__setattr__(self, "stream", stream)


def board(request: Request) -> Board:
    """The board of the application that serves this request."""
    found: Board = request.app.state.board
    return found


def leading(of: Board, study: Study, how_many: int) -> list[Trial]:
    """The best complete trials of a study, the earlier of equal ones first."""
    numbers = of.progresses.series(study).top(study.direction, how_many)
    with of.database.statement() as connection:
        found = [feed.by_number(connection, study.id, number) for number in numbers]
    return [trial for trial in found if trial is not None]


Context = Annotated[Board, Depends(board)]
StudyId = Annotated[int, Path(ge=1, le=ID, description="The study's id.")]
TrialNumber = Annotated[int, Path(ge=0, le=2**31 - 1, description="The trial's number.")]
