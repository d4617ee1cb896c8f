"""The controls of a study's page, a trial's and a worker's."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response

from tuner.commands import changing, reading, steering
from tuner.dashboard import actions
from tuner.dashboard.dependencies import BoardDep, StudyId, TrialNumber
from tuner.dashboard.security.access import CurrentUser, admin, operator
from tuner.figures.text import count
from tuner.study_file import overrides

LIMITS = {
    "trials": "budget.trials",
    "hours": "budget.hours",
    "total_epochs": "budget.total_epochs",
    "gpu_seconds": "budget.gpu_seconds",
    "priority": "resources.priority",
    "max_concurrent": "resources.max_concurrent",
}
MAX_TEXT = 20_000  # characters of parameters
MAX_LIMIT = 40  # characters

router = APIRouter(dependencies=[operator])


async def _limits(request: Request) -> dict[str, str]:
    """The limits that a form sends; FastAPI's own form fields would drop empty ones."""
    form = await request.form()
    limits = {name: form[name] for name in LIMITS if name in form}
    if any(not isinstance(value, str) or len(value) > MAX_LIMIT for value in limits.values()):
        raise HTTPException(422, f"a limit may have at most {MAX_LIMIT} characters")
    return {name: str(value).strip() for name, value in limits.items()}


@router.post("/studies/{study_id:int}/pause")
def pause(request: Request, board: BoardDep, study_id: StudyId) -> Response:
    """Pause a study: workers claim no new trials, and running ones go back to the queue."""
    study = reading.find_by_id(board.database, study_id)
    steering.pause(board.database, study.name)
    effect = "running trials go back to the queue"
    if study.spec is None:
        effect = "no new trials start, and running ones continue to their end"
    message = f"paused {study.name}: {effect}"
    return _respond(request, study_id, message, actions.inverse_of("pause", study.state))


@router.post("/studies/{study_id:int}/resume")
def resume(request: Request, board: BoardDep, study_id: StudyId) -> Response:
    """Resume a study: workers claim its trials again."""
    study = reading.find_by_id(board.database, study_id)
    steering.resume(board.database, study.name)
    effect = "workers continue with it"
    if study.spec is None:
        effect = "its trials run where `study.optimize` is called"
    message = f"{study.name} is active: {effect}"
    return _respond(request, study_id, message, actions.inverse_of("resume", study.state))


@router.post("/studies/{study_id:int}/stop")
def stop(request: Request, board: BoardDep, study_id: StudyId) -> Response:
    """Stop a study before its budget is used up."""
    study = reading.find_by_id(board.database, study_id)
    steering.stop(board.database, study.name)
    message = f"stopped {study.name}; it can be resumed"
    return _respond(request, study_id, message, actions.inverse_of("stop", study.state))


@router.post("/studies/{study_id:int}/change")
def change(
    request: Request,
    board: BoardDep,
    study_id: StudyId,
    limits: Annotated[dict[str, str], Depends(_limits)],
) -> Response:
    """Change budgets and limits, from the next claim on.

    An empty field means no limit; a field that is not sent keeps its value.
    """
    study = reading.find_by_id(board.database, study_id)
    assignments = [f"{LIMITS[name]}={value or 'null'}" for name, value in limits.items()]
    outcome = changing.change(board.database, study.name, assignments)
    lines = (*outcome.changes, *outcome.notes)
    message = "\n".join(lines) or "nothing changed: these are already its values"
    return _respond(request, study_id, message)


@router.post("/studies/{study_id:int}/enqueue")
def enqueue(
    request: Request,
    board: BoardDep,
    study_id: StudyId,
    params: Annotated[str, Form(max_length=MAX_TEXT)],
    extend: Annotated[bool, Form()] = False,
) -> Response:
    """Queue a configuration, written as lines `name: value`."""
    study = reading.find_by_id(board.database, study_id)
    configuration = overrides.parse_configuration(params)
    number = steering.enqueue(board.database, study.name, configuration, extend=extend)
    return _respond(request, study_id, f"queued as trial {number}")


@router.post("/studies/{study_id:int}/retry")
def retry(request: Request, board: BoardDep, study_id: StudyId) -> Response:
    """Queue all failed trials again."""
    study = reading.find_by_id(board.database, study_id)
    numbers = steering.retry(board.database, study.name)
    message = f"queued again: {count(len(numbers), 'trial')}" if numbers else "no trial has failed"
    return _respond(request, study_id, message)


@router.post("/studies/{study_id:int}/delete", dependencies=[admin])
def delete(
    request: Request,
    board: BoardDep,
    study_id: StudyId,
    typed: Annotated[str, Form(max_length=500)],
) -> Response:
    """Delete the study, if its name was typed; this cannot be undone."""
    study = reading.find_by_id(board.database, study_id)
    actions.check_typed(typed, study.name)
    steering.delete(board.database, board.settings, study.name)
    response = actions.respond(request, "/studies", f"deleted {study.name}")
    if request.headers.get("hx-request"):
        response.headers["HX-Redirect"] = "/studies"
    return response


@router.post("/studies/{study_id:int}/trials/{number:int}/retry")
def retry_trial(
    request: Request, board: BoardDep, study_id: StudyId, number: TrialNumber
) -> Response:
    """Queue a failed trial again."""
    study = reading.find_by_id(board.database, study_id)
    steering.retry(board.database, study.name, number)
    return actions.respond(request, _trial_url(study_id, number), f"queued trial {number} again")


@router.post("/studies/{study_id:int}/trials/{number:int}/kill")
def kill(
    request: Request, board: BoardDep, user: CurrentUser, study_id: StudyId, number: TrialNumber
) -> Response:
    """Fail a trial that is running, or that was enqueued and has not started."""
    study = reading.find_by_id(board.database, study_id)
    steering.kill(board.database, study.name, number, by=user.name)
    return actions.respond(request, _trial_url(study_id, number), f"killed trial {number}")


@router.post("/workers/{worker_id}/drain")
def drain(request: Request, board: BoardDep, worker_id: UUID) -> Response:
    """Ask a worker to stop: its trials finish or go back to the queue."""
    steering.drain(board.database, worker_id)
    return actions.respond(request, "/fleet", "draining: its trials finish or go back to the queue")


def _respond(
    request: Request, study_id: int, message: str, undo: actions.Action | None = None
) -> Response:
    undo_request = None if undo is None else actions.Undo(f"/studies/{study_id}/{undo}")
    return actions.respond(request, f"/studies/{study_id}/overview", message, undo=undo_request)


def _trial_url(study_id: int, number: int) -> str:
    return f"/studies/{study_id}/trials/{number}"
