"""What the controls of a study's page do."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response

from tuner.commands import changing, reading, steering
from tuner.dashboard import actions
from tuner.dashboard.context import Context, StudyId, TrialNumber
from tuner.dashboard.security.access import Who, admin, operator
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
    """The limits that a form sends: of FastAPI's own fields, an empty one counts as not sent."""
    form = await request.form()
    sent = {name: form[name] for name in LIMITS if name in form}
    if any(not isinstance(value, str) or len(value) > MAX_LIMIT for value in sent.values()):
        raise HTTPException(422, f"a limit has at most {MAX_LIMIT} characters")
    return {name: str(value).strip() for name, value in sent.items()}


@router.post("/studies/{study_id:int}/pause")
def pause(request: Request, board: Context, study_id: StudyId) -> Response:
    """No new claims; running trials go back to the queue."""
    study = reading.find_by_id(board.database, study_id)
    steering.pause(board.database, study.name)
    runs = "running trials go back to the queue"
    if study.spec is None:
        runs = "none of its trials starts, and one that runs goes on to its end"
    said = f"paused {study.name}: {runs}"
    return _done(request, study_id, said, actions.undo("pause", study.state))


@router.post("/studies/{study_id:int}/resume")
def resume(request: Request, board: Context, study_id: StudyId) -> Response:
    """Let workers claim again."""
    study = reading.find_by_id(board.database, study_id)
    steering.resume(board.database, study.name)
    by = "workers go on with it"
    if study.spec is None:
        by = "its trials run where `study.optimize` is called"
    said = f"{study.name} is active: {by}"
    return _done(request, study_id, said, actions.undo("resume", study.state))


@router.post("/studies/{study_id:int}/stop")
def stop(request: Request, board: Context, study_id: StudyId) -> Response:
    """End a study before its budget is used."""
    study = reading.find_by_id(board.database, study_id)
    steering.stop(board.database, study.name)
    said = f"stopped {study.name}; it can be resumed"
    return _done(request, study_id, said, actions.undo("stop", study.state))


@router.post("/studies/{study_id:int}/change")
def change(
    request: Request,
    board: Context,
    study_id: StudyId,
    limits: Annotated[dict[str, str], Depends(_limits)],
) -> Response:
    """Change budgets and limits, from the next claim on.

    An empty field is no limit, one that is not sent stays as it is.
    """
    study = reading.find_by_id(board.database, study_id)
    assignments = [f"{LIMITS[name]}={value or 'null'}" for name, value in limits.items()]
    done = changing.change(board.database, study.name, assignments)
    said = (
        "\n".join((*done.changes, *done.notes))
        or "nothing has changed: these are its values already"
    )
    return _done(request, study_id, said)


@router.post("/studies/{study_id:int}/enqueue")
def enqueue(
    request: Request,
    board: Context,
    study_id: StudyId,
    params: Annotated[str, Form(max_length=MAX_TEXT)],
    extend: Annotated[bool, Form()] = False,
) -> Response:
    """Queue a configuration, given as lines `name: value`."""
    study = reading.find_by_id(board.database, study_id)
    chosen = overrides.parse_configuration(params)
    number = steering.enqueue(board.database, study.name, chosen, extend=extend)
    return _done(request, study_id, f"queued as trial {number}")


@router.post("/studies/{study_id:int}/retry")
def retry(request: Request, board: Context, study_id: StudyId) -> Response:
    """Queue all failed trials again."""
    study = reading.find_by_id(board.database, study_id)
    numbers = steering.retry(board.database, study.name)
    said = f"queued again: {count(len(numbers), 'trial')}" if numbers else "no trial has failed"
    return _done(request, study_id, said)


@router.post("/studies/{study_id:int}/delete", dependencies=[admin])
def delete(
    request: Request,
    board: Context,
    study_id: StudyId,
    typed: Annotated[str, Form(max_length=500)],
) -> Response:
    """Delete the study for good, if its name was typed."""
    study = reading.find_by_id(board.database, study_id)
    actions.check_name(typed, study.name)
    steering.delete(board.database, board.settings, study.name)
    answer = actions.answer(request, "/studies", f"deleted {study.name}")
    if request.headers.get("hx-request"):
        answer.headers["HX-Redirect"] = "/studies"
    return answer


@router.post("/studies/{study_id:int}/trials/{number:int}/retry")
def retry_one(request: Request, board: Context, study_id: StudyId, number: TrialNumber) -> Response:
    """Queue a failed trial again."""
    study = reading.find_by_id(board.database, study_id)
    steering.retry(board.database, study.name, number)
    return actions.answer(request, _trial(study_id, number), f"queued trial {number} again")


@router.post("/studies/{study_id:int}/trials/{number:int}/kill")
def kill(
    request: Request, board: Context, who: Who, study_id: StudyId, number: TrialNumber
) -> Response:
    """Fail a running trial, or one that was enqueued and has not begun."""
    study = reading.find_by_id(board.database, study_id)
    steering.kill(board.database, study.name, number, by=who.name)
    return actions.answer(request, _trial(study_id, number), f"killed trial {number}")


@router.post("/workers/{worker_id}/drain")
def drain(request: Request, board: Context, worker_id: UUID) -> Response:
    """Ask a worker to stop: its trials finish or go back to the queue."""
    steering.drain(board.database, worker_id)
    return actions.answer(request, "/fleet", "draining: its trials finish or go back to the queue")


def _done(request: Request, study_id: int, said: str, undo: actions.Bulk | None = None) -> Response:
    back = None if undo is None else actions.Undo(f"/studies/{study_id}/{undo}")
    return actions.answer(request, f"/studies/{study_id}/overview", said, undo=back)


def _trial(study_id: int, number: int) -> str:
    return f"/studies/{study_id}/trials/{number}"
