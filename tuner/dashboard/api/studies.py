"""Studies: list, launch, steer, delete."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from tuner import study_json
from tuner.commands import changing, launching, learning, reading, steering
from tuner.dashboard import actions
from tuner.dashboard.api.models import CONFLICT, NOT_FOUND
from tuner.dashboard.api.models.studies import (
    ChangedStudy,
    CheckResult,
    DeletedStudy,
    FullStudyRecord,
    Leaders,
    LeadingTrial,
    LearnedFromRecord,
    NoteRecord,
    QueuedTrial,
    RetriedTrials,
    StudyList,
    StudyRecord,
)
from tuner.dashboard.board import Board, best_trials
from tuner.dashboard.dependencies import MAX_INT, BoardDep, StudyId
from tuner.dashboard.launch import check
from tuner.dashboard.security.access import CurrentUser, admin, operator
from tuner.dashboard.security.audit import note
from tuner.dashboard.summaries import params_of
from tuner.database import notes
from tuner.database.readers.progress import Progress
from tuner.study_file.values import Value
from tuner.trials import Study, StudyState

MAX_PAGE = 200  # entries
MAX_YAML = 250_000  # characters

router = APIRouter(prefix="/studies", tags=["studies"])
Offset = Annotated[int, Query(ge=0, le=10**9, description="How many studies to skip.")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="The number of studies.")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", str_max_length=MAX_YAML)


class Launch(_Request):
    """A study to launch or check."""

    yaml: str = Field(
        description="The study file, as YAML.",
        examples=["name: digits\nfamily: cnn\ndata: digits\nbudget: {trials: 40}\n"],
    )


class Change(_Request):
    """New limits of a study, from the next claim on."""

    assignments: list[Annotated[str, Field(max_length=1_000)]] = Field(
        max_length=50,
        description="Assignments `field=value`, with the fields of a study file.",
        examples=[["budget.trials=200", "resources.priority=5"]],
    )


class Enqueue(_Request):
    """A configuration to try next."""

    params: dict[Annotated[str, Field(max_length=200)], Value] = Field(
        max_length=500,
        description="Values by parameter; parameters that are left out are searched.",
        examples=[{"learning_rate": 0.001}],
    )
    extend: bool = Field(
        default=False, description="Raise budget.trials by one if the budget is used up."
    )


class NoteText(_Request):
    """A study's new note."""

    text: str = Field(
        max_length=50_000, description="Markdown.", examples=["Dropout above 0.5 hurts."]
    )
    revision: int = Field(
        ge=0, le=MAX_INT, description="The revision that was read; 0: there was no note."
    )


class Deletion(BaseModel):
    """The confirmation that a study shall be deleted."""

    name: str = Field(max_length=1_000, description="The study's name.")


@router.get("")
def list_studies(
    board: BoardDep,
    state: Annotated[StudyState | None, Query(description="Only studies in this state.")] = None,
    offset: Offset = 0,
    limit: Limit = 50,
) -> StudyList:
    """List studies with their progress, the newest first."""
    studies = [
        study
        for study in reversed(reading.list_studies(board.database))
        if state is None or study.state is state
    ]
    page = studies[offset : offset + limit]
    progress = board.progress.of(*page)
    records = [StudyRecord.of(_fields(study, progress[study.id])) for study in page]
    return StudyList(total=len(studies), studies=records)


@router.post("", status_code=201, dependencies=[operator], responses=CONFLICT)
def launch(request: Request, board: BoardDep, user: CurrentUser, body: Launch) -> FullStudyRecord:
    """Launch a study for workers; its data is prepared before the response."""
    prepared = check.prepare(board, body.yaml, user)
    study = launching.launch(board.database, prepared, by=user.name).study
    note(request, f"launched {study.name}")
    return _full_record(board, study)


@router.post("/check", dependencies=[operator])
def check_study_file(board: BoardDep, user: CurrentUser, body: Launch) -> CheckResult:
    """Check a study file: what is wrong, or what the study would cost."""
    return CheckResult.of(check.check(board, body.yaml, user))


@router.get("/{study_id:int}", responses=NOT_FOUND)
def read_study(board: BoardDep, study_id: StudyId) -> FullStudyRecord:
    """Read a study with its progress and specification."""
    return _full_record(board, reading.find_by_id(board.database, study_id))


@router.post("/{study_id:int}/change", dependencies=[operator], responses={**NOT_FOUND, **CONFLICT})
def change(request: Request, board: BoardDep, study_id: StudyId, body: Change) -> ChangedStudy:
    """Change a study's budget, priority and other limits."""
    study = reading.find_by_id(board.database, study_id)
    outcome = changing.change(board.database, study.name, body.assignments)
    note(request, "; ".join(outcome.changes))
    changed = outcome.study
    fields = _fields(changed, board.progress.of(changed)[changed.id], with_spec=True)
    return ChangedStudy.of({**fields, "changes": outcome.changes, "notes": outcome.notes})


@router.post(
    "/{study_id:int}/enqueue",
    status_code=201,
    dependencies=[operator],
    responses={**NOT_FOUND, **CONFLICT},
)
def enqueue(request: Request, board: BoardDep, study_id: StudyId, body: Enqueue) -> QueuedTrial:
    """Queue a configuration to be tried next."""
    study = reading.find_by_id(board.database, study_id)
    number = steering.enqueue(board.database, study.name, body.params, extend=body.extend)
    note(request, f"queued as trial {number}")
    return QueuedTrial(trial=number)


@router.post("/{study_id:int}/retry", dependencies=[operator], responses={**NOT_FOUND, **CONFLICT})
def retry(board: BoardDep, study_id: StudyId) -> RetriedTrials:
    """Queue all failed trials of a study again."""
    study = reading.find_by_id(board.database, study_id)
    return RetriedTrials.of({"trials": steering.retry(board.database, study.name)})


@router.post(
    "/{study_id:int}/{action}", dependencies=[operator], responses={**NOT_FOUND, **CONFLICT}
)
def steer(
    request: Request,
    board: BoardDep,
    study_id: StudyId,
    action: Annotated[
        Literal["pause", "resume", "stop"], Path(description="What to do to the study.")
    ],
) -> FullStudyRecord:
    """Pause, resume or stop a study; repeating a request is no error."""
    study = reading.find_by_id(board.database, study_id)
    actions.ACTIONS[action](board, study)
    note(request, f"{action}: {study.name}")
    return read_study(board, study_id)


@router.get("/{study_id:int}/best", responses=NOT_FOUND)
def read_best(
    board: BoardDep,
    study_id: StudyId,
    top: Annotated[int, Query(ge=1, le=50, description="The number of trials.")] = 1,
) -> Leaders:
    """Read the best complete trials, with all their parameters."""
    study = reading.find_by_id(board.database, study_id)
    return Leaders(
        metric=study.metric,
        direction=study.direction,
        trials=[
            LeadingTrial.of({"trial": t.number, "value": t.value, "params": params_of(study, t)})
            for t in best_trials(board, study, top)
        ],
    )


@router.get("/{study_id:int}/learned", responses=NOT_FOUND)
def list_learned(board: BoardDep, study_id: StudyId) -> list[LearnedFromRecord]:
    """List the earlier studies that a study has learned from, with their present weights."""
    learned = learning.load_learned(board.database, reading.find_by_id(board.database, study_id))
    return [LearnedFromRecord.of(source) for source in learned]


@router.get("/{study_id:int}/note", responses=NOT_FOUND)
def get_note(board: BoardDep, study_id: StudyId) -> NoteRecord:
    """Read a study's note."""
    reading.find_by_id(board.database, study_id)
    with board.database.statement() as connection:
        return NoteRecord.of(notes.read(connection, study_id))


@router.put("/{study_id:int}/note", dependencies=[operator], responses={**NOT_FOUND, **CONFLICT})
def put_note(board: BoardDep, user: CurrentUser, study_id: StudyId, body: NoteText) -> NoteRecord:
    """Replace a study's note, unless somebody else has since it was read."""
    steering.write_note(
        board.database, study_id, body.text, author=user.name, revision=body.revision
    )
    return get_note(board, study_id)


@router.delete("/{study_id:int}", dependencies=[admin], responses={**NOT_FOUND, **CONFLICT})
def delete(
    request: Request,
    board: BoardDep,
    study_id: StudyId,
    body: Deletion,
) -> DeletedStudy:
    """Delete a study with its trials, weights and logs; this cannot be undone."""
    study = reading.find_by_id(board.database, study_id)
    actions.check_typed(body.name, study.name)
    steering.delete(board.database, board.settings, study.name)
    note(request, f"deleted {study.name}")
    return DeletedStudy(deleted=study.name)


def _full_record(board: Board, study: Study) -> FullStudyRecord:
    progress = board.progress.of(study)[study.id]
    return FullStudyRecord.of(_fields(study, progress, with_spec=True))


def _fields(study: Study, progress: Progress, *, with_spec: bool = False) -> dict[str, object]:
    fields = study_json.of_study(study)
    del fields["system_attrs"]  # Optuna's own
    if not with_spec:
        del fields["spec"]
    best = {"trial": progress.best_number, "value": progress.best_value}
    return {
        **fields,
        "counts": progress.counts,
        "best": best if progress.best_number is not None else None,
        "training_seconds": progress.seconds,
    }
