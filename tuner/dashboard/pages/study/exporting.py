"""The page Export: configurations as text, the bundle with weights, the report."""

import csv
import io
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from tuner import export, files, study_json
from tuner.commands import exporting, reading
from tuner.dashboard.board import Board, best_trials
from tuner.dashboard.dependencies import BoardDep, StudyId
from tuner.dashboard.pages.study.snippets import command_line
from tuner.dashboard.rendering import templates
from tuner.dashboard.security.access import CurrentUser, operator
from tuner.dashboard.security.audit import note
from tuner.dashboard.summaries import params_of
from tuner.errors import visible
from tuner.report import document, inputs
from tuner.trials import Study, Trial, pareto_front

MAX_CONFIGURATIONS = 50  # configurations
FORMATS: Mapping[str, str] = {
    "yaml": "YAML",
    "json": "JSON",
    "toml": "TOML",
    "python": "Python",
    "csv": "CSV",
    "flags": "command-line options",
    "hydra": "Hydra",
    "transformers": "transformers TrainingArguments",
    "optuna": "Optuna",
    "enqueue": "tuner enqueue",
}
_OWN_FILES = {"yaml": "config.yaml", "csv": "configurations.csv", "enqueue": "enqueue.sh"}

router = APIRouter(prefix="/studies/{study_id:int}/export")
Top = Annotated[int, Query(ge=1, le=MAX_CONFIGURATIONS)]
Format = Literal[
    "yaml",
    "json",
    "toml",
    "python",
    "csv",
    "flags",
    "hydra",
    "transformers",
    "optuna",
    "enqueue",
]


@router.get("")
def page(
    request: Request,
    board: BoardDep,
    study_id: StudyId,
    top: Top = 1,
    format: Format = "yaml",
    front: bool = False,
) -> Response:
    """The configurations to export; `front`: the Pareto front of several objectives."""
    study = reading.find_by_id(board.database, study_id)
    trials = _select(board, study, top, front=front)
    context = {
        "study": study,
        "top": top,
        "front": front,
        "format": format,
        "formats": FORMATS,
        "trials": trials,
        "infeasible": None if trials else reading.describe_infeasible(board.database, study),
        "text": _text(study, trials, format) if trials else "",
    }
    return templates.render(request, "export.html", context)


@router.get("/file")
def file(
    board: BoardDep,
    study_id: StudyId,
    top: Top = 1,
    format: Format = "yaml",
    front: bool = False,
) -> Response:
    """The configurations as a file to save."""
    study = reading.find_by_id(board.database, study_id)
    trials = _select(board, study, top, front=front)
    if not trials:
        reading.load_best(board.database, study)  # raises: says why there is none
    suffix = _OWN_FILES.get(format) or export.FORMATS[format][0]
    part = "front" if front else "best" if top == 1 else f"top-{top}"
    name = f"{files.safe_name(study.name)}-{part}-{suffix}"
    return _attachment(_text(study, trials, format).encode(), "text/plain", name)


@router.get("/report")
def report_file(board: BoardDep, study_id: StudyId) -> Response:
    """The study's report, as `tuner report` writes it."""
    study = reading.find_by_id(board.database, study_id)
    html = document.render_study(
        inputs.load_study(board.database, study), versions=export.versions()
    )
    return _attachment(html.encode(), "text/html", f"{files.safe_name(study.name)}.html")


@router.post("/bundle", dependencies=[operator])
def bundle(request: Request, board: BoardDep, user: CurrentUser, study_id: StudyId) -> Response:
    """The winner with its weights, measured on the test part, as a ZIP archive."""
    study = reading.find_by_id(board.database, study_id)
    winner = reading.load_winner(board.database, study)
    note(request, f"exported trial {winner.number} of {study.name}")
    folder = Path(tempfile.mkdtemp(prefix="tuner-export-"))
    try:
        name = files.safe_name(study.name)
        exporting.export_trial(board.database, board.settings, study, winner, folder / name)
        archive = shutil.make_archive(str(folder / "bundle"), "zip", folder, name)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return FileResponse(
        archive,
        media_type="application/zip",
        filename=f"{name}.zip",
        background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True),
    )


def _select(board: Board, study: Study, top: int, *, front: bool) -> list[Trial]:
    if front and len(study.directions) > 1:
        return pareto_front(reading.load_trials(board.database, study), study.directions)[
            :MAX_CONFIGURATIONS
        ]
    return best_trials(board, study, top)


def _text(study: Study, trials: list[Trial], form: str) -> str:
    """The configurations in a format, one after the other."""
    if form == "csv":
        return _csv(study, trials)
    if form == "json" and len(trials) > 1:
        return json.dumps([_record(study, trial) for trial in trials], indent=2) + "\n"
    if len(trials) == 1 and form != "yaml":
        return _format(study, trials[0], form)
    return "\n".join(f"{_head(study, trial)}{_format(study, trial, form)}" for trial in trials)


def _format(study: Study, trial: Trial, form: str) -> str:
    params = params_of(study, trial)
    if form == "yaml":
        return export.yaml_text(dict(params))
    if form == "enqueue":
        return command_line(study.name, params) + "\n"
    return export.FORMATS[form][1](params)


def _head(study: Study, trial: Trial) -> str:
    values = ", ".join(
        f"{visible(name)} {value}"
        for name, value in zip(study.metrics or ("value",), trial.values or (), strict=False)
    )
    return f"# {values}, trial {trial.number} of {visible(study.name)}\n"


def _record(study: Study, trial: Trial) -> dict[str, Any]:
    return {
        "trial": trial.number,
        study.metric: trial.value,
        "params": dict(params_of(study, trial)),
    }


def _csv(study: Study, trials: list[Trial]) -> str:
    params = [params_of(study, trial) for trial in trials]
    names = list(dict.fromkeys(name for configuration in params for name in configuration))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(study_json.cell, ["trial", study.metric, *names]))
    for trial, configuration in zip(trials, params, strict=True):
        writer.writerow(
            map(
                study_json.cell,
                [trial.number, trial.value, *(configuration.get(name) for name in names)],
            )
        )
    return buffer.getvalue()


def _attachment(content: bytes, media_type: str, name: str) -> Response:
    """A file to save, never shown: users' text must not become one of our pages."""
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    return Response(content, media_type=media_type, headers=headers)
