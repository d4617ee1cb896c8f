"""Figures and tables of a study's trials that pass a filter, and the stream of changes."""

import gzip
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from tuner.dashboard.api.models import NOT_FOUND
from tuner.dashboard.api.models.figures import FigureRecord, TrialTableRecord
from tuner.dashboard.board import Board
from tuner.dashboard.dependencies import BoardDep, StudyId
from tuner.dashboard.plots import encoding, selection, trial_table
from tuner.dashboard.plots.figures import prepare
from tuner.dashboard.plots.live_studies import LiveStudy
from tuner.dashboard.plots.page_figure import FigureRequest, PageFigure
from tuner.dashboard.plots.selection import Filter
from tuner.dashboard.security.access import identify
from tuner.errors import DatabaseUnreachableError
from tuner.figures.figure import Sample
from tuner.figures.registry import FIGURES
from tuner.search.effects import Effect
from tuner.search.importances import importances
from tuner.trials import Report, Study, StudyState, Trial, TrialState

MAX_PAGE = 200  # rows
MAX_CACHED = 200  # figures, some 30 kB each
STALE = 1.2  # importance is computed again when the number of finished trials grows by this factor

FilterDep = Annotated[Filter, Depends(selection.from_query)]
Sort = Annotated[str, Query(max_length=500, description="A column's name.")]
Descending = Annotated[bool, Query(description="Whether the greatest come first.")]

router = APIRouter(tags=["figures"])


class Cache:
    """Response bodies by what they show, and studies' importances; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._computing = threading.Lock()
        self._bodies: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
        self._effects: OrderedDict[int, tuple[int, Mapping[str, Effect] | None]] = OrderedDict()

    def get(self, key: tuple[Any, ...]) -> bytes | None:
        """A cached compressed body."""
        with self._lock:
            if key in self._bodies:
                self._bodies.move_to_end(key)
            return self._bodies.get(key)

    def put(self, key: tuple[Any, ...], body: bytes) -> bytes:
        """Cache a body, and drop the one that was used longest ago."""
        with self._lock:
            self._bodies[key] = body
            while len(self._bodies) > MAX_CACHED:
                self._bodies.popitem(last=False)
        return body

    def effects(self, board: Board, study_id: int) -> Mapping[str, Effect] | None:
        """A study's importances: one thread computes them, the others wait for its result."""
        with self._computing:
            with board.live_studies.locked(study_id) as (study, live_study):
                ended = int(live_study.trials.comparable.sum())
                cached = self._effects.get(study_id)
                if cached is not None and ended < STALE * max(cached[0], 1):
                    return cached[1]
            effects = importances(board.database, study)
            self._effects[study_id] = (ended, effects)
            while len(self._effects) > MAX_CACHED:
                self._effects.popitem(last=False)
            return effects


def _cache(request: Request) -> Cache:
    cache: Cache = request.app.state.figures
    return cache


CacheDep = Annotated[Cache, Depends(_cache)]


def warm() -> None:
    """Draw something, so that the first figure need not wait for imports."""
    trial = Trial(0, TrialState.COMPLETE, {"x": 0.5}, values=(0.5,), reports=(Report(1, 0.5),))
    study = Study("", StudyState.ACTIVE, ("minimize",), (), family=None, spec=None, max_trials=None)
    sample = Sample(study, [trial])
    for figure in (FIGURES["history"], FIGURES["curves"]):
        encoding.encode(figure.module.draw(figure.info(sample)).to_plotly_json())


@router.get(
    "/studies/{study_id:int}/figures/{figure}",
    responses={200: {"model": FigureRecord}, **NOT_FOUND},
)
def read_figure(
    request: Request,
    board: BoardDep,
    cache: CacheDep,
    study_id: StudyId,
    figure: Annotated[str, Path(description=f"One of {', '.join(FIGURES)}.")],
    filter_: FilterDep,
    x: Annotated[
        str | None,
        Query(
            max_length=500,
            description="A parameter (rank, contour, heat) or the index of an objective (pareto).",
        ),
    ] = None,
    y: Annotated[
        str | None, Query(max_length=500, description="As `x`, for the vertical axis.")
    ] = None,
) -> Response:
    """Draw a figure of the trials that pass a filter, for plotly.js."""
    if figure not in FIGURES:
        raise HTTPException(404, f"there is no figure {figure!r}; there are {', '.join(FIGURES)}")
    effects = cache.effects(board, study_id) if FIGURES[figure].by_importance else None
    with board.live_studies.locked(study_id) as (study, live_study):
        version = live_study.version
        key = (study.id, study.revision, study.state, version, figure, filter_, x, y)
        body = cache.get(key)
        if body is None:
            trials = live_study.trials
            mask = selection.apply(trials, filter_)
            draw = prepare(
                figure, FigureRequest(study, trials, mask, effects, board.database, x, y)
            )
    if body is None:
        body = cache.put(key, gzip.compress(encoding.encode(_payload(draw(), version)), 5))
    return _respond(request, body)


def _payload(page_figure: PageFigure, version: str) -> dict[str, Any]:
    payload: dict[str, Any] = {"version": version, "caption": page_figure.caption}
    if page_figure.figure is not None and page_figure.table is not None:
        plotly_json = page_figure.figure.to_plotly_json()
        payload["figure"] = {"data": plotly_json["data"], "layout": plotly_json["layout"]}
        payload["table"] = {
            "columns": page_figure.table.columns,
            "rows": page_figure.table.rows,
            "note": page_figure.table.note,
        }
        payload["brush"] = page_figure.brush
    return payload


def _respond(request: Request, body: bytes) -> Response:
    """Send a compressed JSON body, or 304 if the browser has it already."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        body = gzip.decompress(body)
    return Response(body, media_type="application/json", headers=headers)


@router.get(
    "/studies/{study_id:int}/table",
    responses={200: {"model": TrialTableRecord}, **NOT_FOUND},
)
def read_table(
    request: Request,
    board: BoardDep,
    study_id: StudyId,
    filter_: FilterDep,
    sort: Sort = "number",
    descending: Descending = False,
    offset: Annotated[int, Query(ge=0, le=10**9, description="How many rows to skip.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="The number of rows.")] = 100,
    number: Annotated[
        list[int] | None,
        Query(max_length=MAX_PAGE, description="Only these trials; the filter does not apply."),
    ] = None,
) -> Response:
    """Read a window of the table of the trials that pass a filter."""
    with board.live_studies.locked(study_id) as (study, live_study):
        trials = live_study.trials
        if number is not None:
            numbers = [n for n in number if 0 <= n < trials.size and trials.state[n] >= 0]
            total = len(numbers)
        else:
            matching = _sort(live_study, filter_, sort, descending)
            total, numbers = len(matching), matching[offset : offset + limit].tolist()
        payload = {
            "version": live_study.version,
            "total": total,
            "offset": offset,
            "columns": trial_table.columns(study, trials),
            "rows": trial_table.window(study, trials, numbers),
        }
    return _respond(request, gzip.compress(encoding.encode(payload), 3))


def _sort(live_study: LiveStudy, filter_: Filter, sort: str, descending: bool) -> Any:
    trials = live_study.trials
    mask = selection.apply(trials, filter_)
    return trial_table.sort(trials, mask, sort, descending=descending)


@router.get(
    "/studies/{study_id:int}/trials.csv",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The table as CSV.", "content": {"text/csv": {}}},
        **NOT_FOUND,
    },
)
def read_csv(
    board: BoardDep,
    study_id: StudyId,
    filter_: FilterDep,
    sort: Sort = "number",
    descending: Descending = False,
) -> StreamingResponse:
    """Read all trials that pass a filter as CSV; a spreadsheet takes no cell for a formula."""
    with board.live_studies.locked(study_id) as (study, live_study):
        numbers = _sort(live_study, filter_, sort, descending)
        header = trial_table.csv_header(study, live_study.trials)
        names = list(live_study.trials.params)

    def lines() -> Iterator[str]:
        yield "\ufeff" + header  # marks it as UTF-8 for spreadsheets
        for start in range(0, len(numbers), trial_table.CHUNK):
            with live_study.lock:  # briefly: updates wait for it
                trials = live_study.trials.trials(numbers[start : start + trial_table.CHUNK])
            yield trial_table.csv_rows(study, trials, names)

    return StreamingResponse(
        lines(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{_file_name(study)}.csv"'},
    )


def _file_name(study: Study) -> str:
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in study.name)
    return name[:80] or "study"


@router.get(
    "/stream",
    response_class=StreamingResponse,
    responses={200: {"description": "Server-sent events.", "content": {"text/event-stream": {}}}},
)
async def stream(request: Request, board: BoardDep) -> StreamingResponse:
    """Stream changes as server-sent events: hello, trials, study and resync."""

    def is_allowed() -> bool:
        try:
            return identify(request, board) is not None
        except DatabaseUnreachableError:  # then there is nothing to send either
            return True

    return StreamingResponse(
        board.stream.events(is_allowed),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
