"""What every route shares."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request

from tuner.database.engine import Database
from tuner.settings import Settings


@dataclass(frozen=True, slots=True)
class Board:
    """The dashboard's own state: one a process."""

    database: Database
    settings: Settings


def board(request: Request) -> Board:
    """The board of the application that serves this request."""
    found: Board = request.app.state.board
    return found


Context = Annotated[Board, Depends(board)]
StudyId = Annotated[int, Path(ge=1, le=2**63 - 1, description="The study's id.")]
