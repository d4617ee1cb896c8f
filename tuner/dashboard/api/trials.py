"""Trials: look at one, retry it, kill it."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from tuner import study_json
from tuner.commands import reading, steering
from tuner.dashboard.context import Context, StudyId, TrialNumber
from tuner.dashboard.pages.study import files
from tuner.dashboard.security.access import Who, operator
from tuner.dashboard.security.audited import note
from tuner.database.readers import attempts

router = APIRouter(prefix="/studies/{study_id:int}/trials/{number:int}", tags=["trials"])


@router.get("")
def one(board: Context, study_id: StudyId, number: TrialNumber) -> dict[str, Any]:
    """A trial with its reports and attempts."""
    study = reading.find_by_id(board.database, study_id)
    trial = reading.load_trial(board.database, study, number)
    with board.database.statement() as connection:
        tried = attempts.of_trial(connection, trial.id)
    return dict(study_json.plain({**study_json.of_trial(trial), "attempts": tried}))


@router.get("/log")
def log(
    board: Context,
    study_id: StudyId,
    number: TrialNumber,
    attempt: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    start: Annotated[int | None, Query(ge=0, le=2**40)] = None,
) -> dict[str, Any]:
    """A part of an attempt's log on the dashboard's machine, by default the end of the latest's.

    `end` is the byte to go on from; `running`: more will come.
    """
    study = reading.find_by_id(board.database, study_id)
    trial = reading.load_trial(board.database, study, number)
    return files.log_part(board, study_id, trial, attempt or max(trial.attempt, 1), start)


@router.post("/retry", dependencies=[operator])
def retry(
    request: Request, board: Context, study_id: StudyId, number: TrialNumber
) -> dict[str, Any]:
    """Queue a failed trial again."""
    study = reading.find_by_id(board.database, study_id)
    steering.retry(board.database, study.name, number)
    note(request, f"queued trial {number} again")
    return one(board, study_id, number)


@router.post("/kill", dependencies=[operator])
def kill(
    request: Request, board: Context, who: Who, study_id: StudyId, number: TrialNumber
) -> dict[str, Any]:
    """Fail a running trial, or one that was enqueued and has not begun."""
    study = reading.find_by_id(board.database, study_id)
    steering.kill(board.database, study.name, number, by=who.name)
    note(request, f"killed trial {number}")
    return one(board, study_id, number)
