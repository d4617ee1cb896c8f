"""Studies: list, launch, steer, delete."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from tuner import families, study_json
from tuner.commands import changing, launching, reading, steering
from tuner.dashboard import actions, launch_form
from tuner.dashboard.context import Board, Context, StudyId, leading
from tuner.dashboard.security.access import Who, admin, operator
from tuner.dashboard.security.audited import note
from tuner.dashboard.summaries import params_of
from tuner.database import notes
from tuner.database.readers.progress import Progress
from tuner.study_file.values import Value
from tuner.trials import Study, StudyState

MAX_PAGE = 200  # entries
MAX_YAML = 250_000  # characters
Record = dict[str, Any]

router = APIRouter(prefix="/studies", tags=["studies"])
Offset = Annotated[int, Query(ge=0, le=10**9)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", str_max_length=MAX_YAML)


class Launch(_Given):
    """A study to launch."""

    yaml: str = Field(
        description="The study file.",
        examples=["name: digits\nfamily: cnn\ndata: digits\nbudget: {trials: 40}\n"],
    )


class Change(_Given):
    """What shall be, from the next claim on."""

    assignments: list[Annotated[str, Field(max_length=1_000)]] = Field(
        max_length=50, examples=[["budget.trials=200", "resources.priority=5"]]
    )


class Enqueue(_Given):
    """A configuration to try next; what is left out is searched."""

    params: dict[Annotated[str, Field(max_length=200)], Value] = Field(
        max_length=500, examples=[{"learning_rate": 0.001}]
    )
    extend: bool = Field(
        default=False, description="Raise budget.trials by this one if they are given out."
    )


class NoteText(_Given):
    """What people write about a study, as Markdown."""

    text: str = Field(max_length=50_000, examples=["Dropout above 0.5 hurts."])
    revision: int = Field(ge=0, le=2**31 - 1, description="The one that was read; 0: none yet.")


@router.get("")
def every(
    board: Context,
    state: StudyState | None = None,
    offset: Offset = 0,
    limit: Limit = 50,
) -> Record:
    """All studies with their progress, the newest first."""
    found = [
        study
        for study in reversed(reading.list_studies(board.database))
        if state is None or study.state is state
    ]
    page = found[offset : offset + limit]
    progresses = board.progresses.of(*page)
    return {
        "total": len(found),
        "studies": [_record(study, progresses[study.id], with_spec=False) for study in page],
    }


@router.post("", status_code=201, dependencies=[operator])
def launch(request: Request, board: Context, who: Who, given: Launch) -> Record:
    """Launch a study for workers; its data is prepared before the answer comes."""
    source = launch_form.source(board, given.yaml)
    launch_form.check_allowed(board, families.confirm(source), who)
    prepared = launch_form.prepare(board, source)
    study = launching.launch(board.database, prepared, by=who.name).study
    note(request, f"launched {study.name}")
    return _now(board, study)


@router.post("/check", dependencies=[operator])
def check(board: Context, who: Who, given: Launch) -> Record:
    """What is wrong with a study file, a line each, or what the study would cost."""
    found = launch_form.verdict(board, given.yaml, who)
    return {"problems": found.problems, "facts": found.facts}


@router.get("/{study_id:int}")
def one(board: Context, study_id: StudyId) -> Record:
    """One study."""
    return _now(board, reading.find_by_id(board.database, study_id))


@router.post("/{study_id:int}/change", dependencies=[operator])
def change(request: Request, board: Context, study_id: StudyId, given: Change) -> Record:
    """Change budgets, priority and other limits."""
    study = reading.find_by_id(board.database, study_id)
    done = changing.change(board.database, study.name, given.assignments)
    note(request, "; ".join(done.changes))
    return {**_now(board, done.study), "changes": done.changes, "notes": done.notes}


@router.post("/{study_id:int}/enqueue", status_code=201, dependencies=[operator])
def enqueue(request: Request, board: Context, study_id: StudyId, given: Enqueue) -> Record:
    """Queue a configuration to be tried next."""
    study = reading.find_by_id(board.database, study_id)
    number = steering.enqueue(board.database, study.name, given.params, extend=given.extend)
    note(request, f"queued as trial {number}")
    return {"trial": number}


@router.post("/{study_id:int}/retry", dependencies=[operator])
def retry(board: Context, study_id: StudyId) -> Record:
    """Queue all failed trials again."""
    study = reading.find_by_id(board.database, study_id)
    return {"trials": steering.retry(board.database, study.name)}


@router.post("/{study_id:int}/{action}", dependencies=[operator])
def steer(
    request: Request,
    board: Context,
    study_id: StudyId,
    action: Literal["pause", "resume", "stop"],
) -> Record:
    """Pause a study, let workers go on with it, or end it; asking twice is no error."""
    study = reading.find_by_id(board.database, study_id)
    actions.BULK[action](board, study)
    note(request, f"{action}: {study.name}")
    return one(board, study_id)


@router.get("/{study_id:int}/best")
def best(board: Context, study_id: StudyId, top: Annotated[int, Query(ge=1, le=50)] = 1) -> Record:
    """The best complete trials, with pinned parameters beside those that were searched."""
    study = reading.find_by_id(board.database, study_id)
    return {
        "metric": study.metric,
        "direction": study.direction,
        "trials": [
            {"trial": t.number, "value": t.value, "params": study_json.plain(params_of(study, t))}
            for t in leading(board, study, top)
        ],
    }


@router.get("/{study_id:int}/note")
def read_note(board: Context, study_id: StudyId) -> Record:
    """The study's note as Markdown; revision 0: there is none."""
    reading.find_by_id(board.database, study_id)
    with board.database.statement() as connection:
        return dict(study_json.plain(notes.read(connection, study_id)))


@router.put("/{study_id:int}/note", dependencies=[operator])
def write_note(board: Context, who: Who, study_id: StudyId, given: NoteText) -> Record:
    """Replace the note, unless somebody else has done so since it was read."""
    steering.write_note(
        board.database, study_id, given.text, author=who.name, revision=given.revision
    )
    return read_note(board, study_id)


@router.delete("/{study_id:int}", dependencies=[admin])
def delete(
    request: Request,
    board: Context,
    study_id: StudyId,
    name: Annotated[str, Body(embed=True, max_length=1_000, description="The study's name.")],
) -> Record:
    """Delete a study with its trials, weights and logs, for good; its name says it is meant."""
    study = reading.find_by_id(board.database, study_id)
    actions.check_name(name, study.name)
    steering.delete(board.database, board.settings, study.name)
    note(request, f"deleted {study.name}")
    return {"deleted": study.name}


def _now(board: Board, study: Study) -> Record:
    return _record(study, board.progresses.of(study)[study.id], with_spec=True)


def _record(study: Study, progress: Progress, *, with_spec: bool) -> Record:
    record = study_json.of_study(study)
    del record["system_attrs"]  # Optuna's own
    if not with_spec:
        del record["spec"]
    best = {"trial": progress.best_number, "value": progress.best_value}
    return dict(
        study_json.plain(
            {
                **record,
                "counts": progress.counts,
                "best": best if progress.best_number is not None else None,
                "training_seconds": progress.seconds,
            }
        )
    )
