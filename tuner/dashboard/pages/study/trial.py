"""One trial: its parameters beside the best's, curves, attempts, resources, log and files."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.responses import FileResponse

from tuner import export, trials
from tuner.commands import reading
from tuner.dashboard import views
from tuner.dashboard.charts import Chart, Point, chart
from tuner.dashboard.context import Board, Context, StudyId, TrialNumber
from tuner.dashboard.pages.study import files
from tuner.dashboard.summaries import params_of
from tuner.database import devices
from tuner.database.readers import attempts, feed
from tuner.database.readers.attempts import LoggedAttempt
from tuner.figures import text
from tuner.report import findings
from tuner.trials import COSTS, PEAK_MEMORY, ParamValue, Study, Trial

MIB, GIB = 2**20, 2**30
OF_RESOURCES = ("peak_memory_mib", "samples_per_second")  # reported, but no curve of learning
ATTEMPTS = Annotated[int, Path(ge=1, le=2**31 - 1)]

router = APIRouter(prefix="/studies/{study_id:int}/trials/{number:int}")


@dataclass(frozen=True, slots=True)
class Row:
    """A parameter beside the best trial's."""

    name: str
    value: str
    best: str
    differs: bool


@router.get("")
def page(request: Request, board: Context, study_id: StudyId, number: TrialNumber) -> Response:
    """The page; for one that is open, what changes alone."""
    study = reading.find_by_id(board.database, study_id)
    trial = reading.load_trial(board.database, study, number)
    is_part = request.headers.get("hx-target") == "trial"
    return views.render(
        request, "trial/parts.html" if is_part else "trial/page.html", _context(board, study, trial)
    )


def _context(board: Board, study: Study, trial: Trial) -> dict[str, Any]:
    best = _best(board, study)
    with board.database.statement() as connection:
        tried = attempts.of_trial(connection, trial.id)
    latest = tried[-1] if tried else None
    return {
        "study": study,
        "trial": trial,
        "best": best,
        "is_best": best is not None and best.number == trial.number,
        "rows": _rows(params_of(study, trial), best, study),
        "enqueue_text": export.yaml_text(dict(trial.params)),
        "charts": _curves(study, trial),
        "resources": _resources(board, trial, latest),
        "attempts": tried[::-1],
        "causes": findings.CAUSES,
        "kept": files.kept(board, study.id, trial.number, trial.attempt) if trial.attempt else [],
        "has_log": files.log(board, study.id, trial.number, max(trial.attempt, 1)) is not None,
        "facts": _facts(trial),
        "quote": lambda name: quote(name, safe="/"),
    }


def _best(board: Board, study: Study) -> Trial | None:
    number = board.progresses.of(study)[study.id].best_number
    if number is None:
        return None
    with board.database.statement() as connection:
        return feed.by_number(connection, study.id, number)


def _rows(params: Mapping[str, ParamValue], best: Trial | None, study: Study) -> list[Row]:
    others = {} if best is None else params_of(study, best)
    return [
        Row(
            name,
            text.value(params[name]) if name in params else "–",
            text.value(others[name]) if name in others else "–",
            bool(others) and params.get(name) != others.get(name),
        )
        for name in dict.fromkeys([*params, *others])
    ]


def _facts(trial: Trial) -> list[tuple[str, str]]:
    """What is known of how it ran."""
    facts = []
    if trial.worker:
        facts.append(("worker", trial.worker))
    for key, value in trial.user_attrs.items():
        if key != "peak_bytes" or PEAK_MEMORY not in trial.user_attrs:  # the same, unless measured
            facts.append(_fact(key, value))
    if trial.reports:
        facts.append(("epochs", f"{trial.reports[-1].step:,}"))
        if trial.seconds:
            facts.append(
                ("time of an epoch", text.duration(trial.seconds / trial.reports[-1].step))
            )
    return facts


def _fact(key: str, value: Any) -> tuple[str, str]:
    """What is known of a trial by that name, in the units that people read."""
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
    """A chart a metric, training and validation together."""
    series: dict[str, dict[str, list[Point]]] = {}
    for report in trial.reports:
        series.setdefault(study.metric, {}).setdefault("validation", []).append(
            (report.step, report.value)
        )
        for name, value in report.metrics.items():
            if name == study.metric or name in OF_RESOURCES or name in COSTS:
                continue  # costs stand among the resources: most are the same after each epoch
            part = "training" if name.startswith("train_") else "validation"
            whole = name.removeprefix("train_").removeprefix("validation_")
            if math.isfinite(value):
                series.setdefault(whole, {}).setdefault(part, []).append((report.step, value))
    first = [study.metric, *(name for name, lines in series.items() if len(lines) > 1)]
    ordered = dict.fromkeys([*(name for name in first if name in series), *series])
    made = (chart(name, series[name], x_title="epoch") for name in ordered)
    return [one for one in made if one is not None]


def _resources(board: Board, trial: Trial, latest: LoggedAttempt | None) -> list[Chart]:
    """How its worker's devices fared while the latest attempt ran, and what it has reported."""
    reported = (
        chart(
            name.replace("_", " "),
            {name: [(r.step, r.metrics[name]) for r in trial.reports if name in r.metrics]},
            x_title="epoch",
        )
        for name in OF_RESOURCES
    )
    return [one for one in (*_sampled(board, latest), *reported) if one is not None]


def _sampled(board: Board, latest: LoggedAttempt | None) -> list[Chart | None]:
    if latest is None or latest.worker_id is None or latest.started_at is None:
        return []
    since = latest.started_at.timestamp()
    until = time.time() if latest.ended_at is None else latest.ended_at.timestamp()
    if until <= since:
        return []
    with board.database.statement() as connection:
        found = devices.history(
            connection, [latest.worker_id], since=since, until=until, points=120
        )
    names = [device for _, device in found]
    use = {n: c.utilization for n, c in zip(names, found.values(), strict=True)}
    memory = {
        n: [(x, y / GIB) for x, y in c.memory] for n, c in zip(names, found.values(), strict=True)
    }
    return [
        chart("Utilization", use, x_title="since the start", time=True, share=True),
        chart("Memory, GiB", memory, x_title="since the start", time=True),
    ]


@router.get("/log")
def log(
    board: Context,
    study_id: StudyId,
    number: TrialNumber,
    attempt: Annotated[int, Query(ge=1, le=2**31 - 1)],
    start: Annotated[int | None, Query(ge=0, le=2**40)] = None,
) -> dict[str, Any]:
    """A part of an attempt's log, and whether more will come."""
    study = reading.find_by_id(board.database, study_id)
    trial = reading.load_trial(board.database, study, number)
    return files.log_part(board, study_id, trial, attempt, start)


@router.get("/files/{attempt}/{name:path}")
def file(
    board: Context, study_id: StudyId, number: TrialNumber, attempt: ATTEMPTS, name: str
) -> Response:
    """A file that an attempt has left, to be saved and never shown."""
    reading.find_by_id(board.database, study_id)
    path = files.path_of(board, study_id, number, attempt, name)
    if path is None:
        raise HTTPException(404, "there is no such file on this machine")
    return FileResponse(
        path,
        media_type="application/octet-stream",
        filename=path.name,
        content_disposition_type="attachment",
        headers={"Content-Security-Policy": "sandbox; default-src 'none'"},
    )
