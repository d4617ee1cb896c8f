"""One trial: its parameters compared with the best, curves, attempts, resources, log, files."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.responses import FileResponse

from tuner import export, trials
from tuner.commands import reading
from tuner.dashboard.board import Board
from tuner.dashboard.dependencies import MAX_INT, BoardDep, StudyId, TrialNumber
from tuner.dashboard.pages.study import attempt_files
from tuner.dashboard.rendering import templates
from tuner.dashboard.rendering.charts import Chart, Point, draw_chart
from tuner.dashboard.summaries import params_of
from tuner.database import devices
from tuner.database.readers import feed
from tuner.database.readers.attempts import LoggedAttempt
from tuner.figures import text
from tuner.report import findings
from tuner.study_file.origins import describe
from tuner.trials import COSTS, PEAK_MEMORY, ParamValue, Study, Trial
from tuner.winner import feasibility

MIB, GIB = 2**20, 2**30
RESOURCES = ("peak_memory_mib", "samples_per_second")  # reported, but not learning curves
AttemptNumber = Annotated[int, Path(ge=1, le=MAX_INT)]

router = APIRouter(prefix="/studies/{study_id:int}/trials/{number:int}")


@dataclass(frozen=True, slots=True)
class Row:
    """A parameter of this trial and of the best one."""

    name: str
    value: str
    best: str
    differs: bool


@router.get("")
def page(request: Request, board: BoardDep, study_id: StudyId, number: TrialNumber) -> Response:
    """The page; for an open page, only the part that changes."""
    study = reading.find_by_id(board.database, study_id)
    loaded = reading.load_trial_and_attempts(board.database, study, number)
    is_part = request.headers.get("hx-target") == "trial"
    return templates.render(
        request,
        "trial/parts.html" if is_part else "trial/page.html",
        _context(board, study, *loaded),
    )


def _context(
    board: Board, study: Study, trial: Trial, trial_attempts: Sequence[LoggedAttempt]
) -> dict[str, Any]:
    best = _best(board, study)
    latest = trial_attempts[-1] if trial_attempts else None
    return {
        "study": study,
        "trial": trial,
        "best": best,
        "is_best": best is not None and best.number == trial.number,
        "rows": _rows(params_of(study, trial), best, study),
        "enqueue_text": export.yaml_text(dict(trial.params)),
        "charts": _curves(study, trial),
        "resources": _resources(board, trial, latest),
        "attempts": trial_attempts[::-1],
        "causes": findings.CAUSES,
        "proposed": None if trial.origin is None else describe(trial.origin),
        "further": _describe_further_values(study, trial),
        "constraints": [(name, text.number(value)) for name, value in trial.constraints.items()],
        "violations": feasibility.describe_violations(trial, study),
        "files": _files(board, study, trial),
        "has_log": _has_log(board, study, trial),
        "facts": _facts(trial),
        "quote": lambda name: quote(name, safe="/"),
    }


def _describe_further_values(study: Study, trial: Trial) -> str:
    """List the values of the objectives after the first."""
    named = zip(study.metrics[1:], (trial.values or ())[1:], strict=False)
    return ", ".join(f"{name} {text.number(value)}" for name, value in named)


def _files(board: Board, study: Study, trial: Trial) -> list[attempt_files.AttemptFile]:
    if not trial.attempt:
        return []
    return attempt_files.list_files(board, study.id, trial.number, trial.attempt)


def _has_log(board: Board, study: Study, trial: Trial) -> bool:
    attempt = max(trial.attempt, 1)
    return attempt_files.read_log(board, study.id, trial.number, attempt) is not None


def _best(board: Board, study: Study) -> Trial | None:
    number = board.progress.of(study)[study.id].best_number
    if number is None:
        return None
    with board.database.statement() as connection:
        return feed.by_number(connection, study.id, number)


def _rows(params: Mapping[str, ParamValue], best: Trial | None, study: Study) -> list[Row]:
    best_params = {} if best is None else params_of(study, best)
    return [
        Row(
            name,
            text.value(params[name]) if name in params else "–",
            text.value(best_params[name]) if name in best_params else "–",
            bool(best_params) and params.get(name) != best_params.get(name),
        )
        for name in dict.fromkeys([*params, *best_params])
    ]


def _facts(trial: Trial) -> list[tuple[str, str]]:
    """How the trial ran, as pairs of label and value."""
    facts = []
    if trial.worker:
        facts.append(("worker", trial.worker))
    for key, value in trial.user_attrs.items():
        if key != "peak_bytes" or PEAK_MEMORY not in trial.user_attrs:  # the same, unless measured
            facts.append(_fact(key, value))
    if trial.reports:
        facts.append(("epochs", f"{trial.reports[-1].step:,}"))
        if trial.seconds:
            facts.append(("time per epoch", text.duration(trial.seconds / trial.reports[-1].step)))
    return facts


def _fact(key: str, value: Any) -> tuple[str, str]:
    """A user attribute as a label and a value in readable units."""
    label = key.replace("_", " ")
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return label, str(value)
    match key:
        case "peak_bytes":
            return "peak memory", text.memory(value)
        case trials.PEAK_MEMORY:
            return label, text.memory(value * MIB)
        case trials.TRAINING_SECONDS:
            return "training time", text.duration(value)
        case trials.LATENCY:
            return label, f"{text.number(value, 3)} {COSTS[key]}"
        case trials.PARAMETERS:
            return label, f"{value:,.0f}"
    return label, text.value(value)


def _curves(study: Study, trial: Trial) -> list[Chart]:
    """One chart per metric, with training and validation together."""
    series: dict[str, dict[str, list[Point]]] = {}
    for report in trial.reports:
        series.setdefault(study.metric, {}).setdefault("validation", []).append(
            (report.step, report.value)
        )
        for name, value in report.metrics.items():
            if name == study.metric or name in RESOURCES or name in COSTS:
                continue  # costs are listed among the resources: most are the same after each epoch
            part = "training" if name.startswith("train_") else "validation"
            metric = name.removeprefix("train_").removeprefix("validation_")
            if math.isfinite(value):
                series.setdefault(metric, {}).setdefault(part, []).append((report.step, value))
    first = [study.metric, *(name for name, lines in series.items() if len(lines) > 1)]
    ordered = dict.fromkeys([*(name for name in first if name in series), *series])
    charts = (draw_chart(name, series[name], x_title="epoch") for name in ordered)
    return [chart for chart in charts if chart is not None]


def _resources(board: Board, trial: Trial, latest: LoggedAttempt | None) -> list[Chart]:
    """The devices during the latest attempt, and the resources that the trial has reported."""
    reported = (
        draw_chart(
            name.replace("_", " "),
            {name: [(r.step, r.metrics[name]) for r in trial.reports if name in r.metrics]},
            x_title="epoch",
        )
        for name in RESOURCES
    )
    return [chart for chart in (*_sampled(board, latest), *reported) if chart is not None]


def _sampled(board: Board, latest: LoggedAttempt | None) -> list[Chart | None]:
    if latest is None or latest.worker_id is None or latest.started_at is None:
        return []
    since = latest.started_at.timestamp()
    until = time.time() if latest.ended_at is None else latest.ended_at.timestamp()
    if until <= since:
        return []
    with board.database.statement() as connection:
        history = devices.history(
            connection, [latest.worker_id], since=since, until=until, points=120
        )
    courses = {device: course for (_, device), course in history.items()}
    utilization = {name: course.utilization for name, course in courses.items()}
    memory = {name: [(x, y / GIB) for x, y in course.memory] for name, course in courses.items()}
    return [
        draw_chart("Utilization", utilization, x_title="since the start", time=True, share=True),
        draw_chart("Memory, GiB", memory, x_title="since the start", time=True),
    ]


@router.get("/log")
def log(
    board: BoardDep,
    study_id: StudyId,
    number: TrialNumber,
    attempt: Annotated[int, Query(ge=1, le=MAX_INT)],
    start: Annotated[int | None, Query(ge=0, le=2**40)] = None,
) -> dict[str, Any]:
    """A part of an attempt's log, and whether more may come."""
    study = reading.find_by_id(board.database, study_id)
    trial = reading.load_trial(board.database, study, number)
    return attempt_files.log_part(board, study_id, trial, attempt, start)


@router.get("/files/{attempt}/{name:path}")
def file(
    board: BoardDep, study_id: StudyId, number: TrialNumber, attempt: AttemptNumber, name: str
) -> Response:
    """A file that an attempt has written, to be saved and never shown."""
    reading.find_by_id(board.database, study_id)
    path = attempt_files.find_file(board, study_id, number, attempt, name)
    if path is None:
        raise HTTPException(404, "there is no such file on this machine")
    return FileResponse(
        path,
        media_type="application/octet-stream",
        filename=path.name,
        content_disposition_type="attachment",
        headers={"Content-Security-Policy": "sandbox; default-src 'none'"},
    )
