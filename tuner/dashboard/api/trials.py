"""Trials: read one and its log, retry it, kill it."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from tuner import study_json
from tuner.commands import reading, steering
from tuner.dashboard.api.models import CONFLICT, NOT_FOUND
from tuner.dashboard.api.models.trials import LogPart, TrialRecord
from tuner.dashboard.dependencies import MAX_INT, BoardDep, StudyId, TrialNumber
from tuner.dashboard.pages.study import attempt_files
from tuner.dashboard.security.access import CurrentUser, operator
from tuner.dashboard.security.audit import note

router = APIRouter(
    prefix="/studies/{study_id:int}/trials/{number:int}", tags=["trials"], responses=NOT_FOUND
)


@router.get("")
def read_trial(board: BoardDep, study_id: StudyId, number: TrialNumber) -> TrialRecord:
    """Read a trial with its reports and attempts."""
    study = reading.find_by_id(board.database, study_id)
    trial, trial_attempts = reading.load_trial_and_attempts(board.database, study, number)
    return TrialRecord.of({**study_json.of_trial(trial), "attempts": trial_attempts})


@router.get("/log")
def read_log(
    board: BoardDep,
    study_id: StudyId,
    number: TrialNumber,
    attempt: Annotated[
        int | None,
        Query(ge=1, le=MAX_INT, description="The attempt's number; by default the latest."),
    ] = None,
    start: Annotated[
        int | None,
        Query(ge=0, le=2**40, description="The byte to begin at; by default near the log's end."),
    ] = None,
) -> LogPart:
    """Read a part of an attempt's log, if it is on the dashboard's machine."""
    study = reading.find_by_id(board.database, study_id)
    trial = reading.load_trial(board.database, study, number)
    part = attempt_files.log_part(board, study_id, trial, attempt or max(trial.attempt, 1), start)
    return LogPart.of(part)


@router.post("/retry", dependencies=[operator], responses=CONFLICT)
def retry(request: Request, board: BoardDep, study_id: StudyId, number: TrialNumber) -> TrialRecord:
    """Queue a failed trial again."""
    study = reading.find_by_id(board.database, study_id)
    steering.retry(board.database, study.name, number)
    note(request, f"queued trial {number} again")
    return read_trial(board, study_id, number)


@router.post("/kill", dependencies=[operator], responses=CONFLICT)
def kill(
    request: Request, board: BoardDep, user: CurrentUser, study_id: StudyId, number: TrialNumber
) -> TrialRecord:
    """Fail a trial that is running, or that was enqueued and has not started."""
    study = reading.find_by_id(board.database, study_id)
    steering.kill(board.database, study.name, number, by=user.name)
    note(request, f"killed trial {number}")
    return read_trial(board, study_id, number)
