"""What routes take as arguments: the dashboard's state, and the ids in a path."""

from typing import Annotated

from fastapi import Depends, Path, Request

from tuner.dashboard.board import Board

MAX_ID = 2**63 - 1  # PostgreSQL's largest
MAX_INT = 2**31 - 1  # its largest integer


def get_board(request: Request) -> Board:
    """The board of the application that serves this request."""
    board: Board = request.app.state.board
    return board


BoardDep = Annotated[Board, Depends(get_board)]
StudyId = Annotated[int, Path(ge=1, le=MAX_ID, description="The study's id.")]
TrialNumber = Annotated[int, Path(ge=0, le=MAX_INT, description="The trial's number, from 0.")]
