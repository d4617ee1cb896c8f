"""Figures and tables of a study's trials, of a filter, and the stream of what changes."""

import gzip
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse

from tuner.dashboard.context import Board, Context, StudyId
from tuner.dashboard.plots import compact, rows, selection
from tuner.dashboard.plots.figures import Drawn, Look, prepare
from tuner.dashboard.plots.live_studies import Seen
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
STALE = (
    1.2  # importance is computed anew when there are so many times as many trials that have ended
)

Chosen = Annotated[Filter, Depends(selection.from_query)]

router = APIRouter(tags=["figures"])


class Cache:
    """Bodies by what they show, and the effects that figures are ordered by; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._computing = threading.Lock()
        self._bodies: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
        self._effects: OrderedDict[int, tuple[int, Mapping[str, Effect] | None]] = OrderedDict()

    def body(self, key: tuple[Any, ...]) -> bytes | None:
        """A compressed body that was made before."""
        with self._lock:
            if key in self._bodies:
                self._bodies.move_to_end(key)
            return self._bodies.get(key)

    def keep(self, key: tuple[Any, ...], body: bytes) -> bytes:
        """Keep a body, and forget the one that was asked for longest ago."""
        with self._lock:
            self._bodies[key] = body
            while len(self._bodies) > MAX_CACHED:
                self._bodies.popitem(last=False)
        return body

    def effects(self, board: Board, study_id: int) -> Mapping[str, Effect] | None:
        """Importance: one thread computes it, the others wait for what it finds."""
        with self._computing:
            with board.watched.looking(study_id) as (study, seen):
                ended = int(seen.live.comparable.sum())
                known = self._effects.get(study_id)
                if known is not None and ended < STALE * max(known[0], 1):
                    return known[1]
            found = importances(board.database, study)
            self._effects[study_id] = (ended, found)
            while len(self._effects) > MAX_CACHED:
                self._effects.popitem(last=False)
            return found


def _cache(request: Request) -> Cache:
    found: Cache = request.app.state.figures
    return found


Cached = Annotated[Cache, Depends(_cache)]


def warm() -> None:
    """Draw something, so that the first figure that is asked for need not wait for imports."""
    trial = Trial(0, TrialState.COMPLETE, {"x": 0.5}, values=(0.5,), reports=(Report(1, 0.5),))
    study = Study("", StudyState.ACTIVE, ("minimize",), (), family=None, spec=None, max_trials=None)
    sample = Sample(study, [trial])
    for figure in (FIGURES["history"], FIGURES["curves"]):
        compact.encode(figure.module.draw(figure.info(sample)).to_plotly_json())


@router.get("/studies/{study_id:int}/figures/{figure}")
def figure(
    request: Request,
    board: Context,
    cache: Cached,
    study_id: StudyId,
    figure: str,
    chosen: Chosen,
    x: Annotated[str | None, Query(max_length=500)] = None,
    y: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """A figure of the trials that a filter leaves, as plotly.js draws it.

    `x` and `y` are the parameters of a plane (rank, contour, heat), or objectives (pareto).
    """
    if figure not in FIGURES:
        raise HTTPException(404, f"there is no figure {figure!r}; there are {', '.join(FIGURES)}")
    effects = cache.effects(board, study_id) if FIGURES[figure].by_importance else None
    with board.watched.looking(study_id) as (study, seen):
        key = (study.id, study.revision, study.state, seen.version, figure, chosen, x, y)
        body = cache.body(key)
        if body is None:
            mask = selection.mask(seen.live, chosen)
            look = Look(study, seen.live, mask, effects, board.database, x, y)
            draw = prepare(figure, look)
        version = seen.version
    if body is None:
        body = cache.keep(key, gzip.compress(compact.encode(_payload(draw(), version)), 5))
    return _sent(request, body)


def _payload(drawn: Drawn, version: str) -> dict[str, Any]:
    payload: dict[str, Any] = {"version": version, "caption": drawn.caption}
    if drawn.figure is not None and drawn.table is not None:
        made = drawn.figure.to_plotly_json()
        payload["figure"] = {"data": made["data"], "layout": made["layout"]}
        payload["table"] = {
            "columns": drawn.table.columns,
            "rows": drawn.table.rows,
            "note": drawn.table.note,
        }
        payload["brush"] = drawn.brush
    return payload


def _sent(request: Request, body: bytes) -> Response:
    """A compressed JSON body, or that the browser has it already."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        body = gzip.decompress(body)
    return Response(body, media_type="application/json", headers=headers)


@router.get("/studies/{study_id:int}/table")
def table(
    request: Request,
    board: Context,
    study_id: StudyId,
    chosen: Chosen,
    sort: Annotated[str, Query(max_length=500, description="A column's name.")] = "number",
    descending: bool = False,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    number: Annotated[
        list[int] | None,
        Query(max_length=MAX_PAGE, description="These trials alone, whatever the filter."),
    ] = None,
) -> Response:
    """A window of the table of the trials that a filter leaves."""
    with board.watched.looking(study_id) as (study, seen):
        live = seen.live
        if number is not None:
            given = [n for n in number if 0 <= n < live.size and live.state[n] >= 0]
            found = len(given)
        else:
            every = _ordered(seen, chosen, sort, descending)
            found, given = len(every), every[offset : offset + limit].tolist()
        payload = {
            "version": seen.version,
            "total": found,
            "offset": offset,
            "columns": rows.columns(study, live),
            "rows": rows.window(study, live, given),
        }
    return _sent(request, gzip.compress(compact.encode(payload), 3))


def _ordered(seen: Seen, chosen: Filter, sort: str, descending: bool) -> Any:
    return rows.ordered(seen.live, selection.mask(seen.live, chosen), sort, descending=descending)


@router.get("/studies/{study_id:int}/trials.csv", response_class=StreamingResponse)
def as_csv(
    board: Context,
    study_id: StudyId,
    chosen: Chosen,
    sort: Annotated[str, Query(max_length=500)] = "number",
    descending: bool = False,
) -> StreamingResponse:
    """All trials that a filter leaves, as CSV for spreadsheets: no cell is taken for a formula."""
    with board.watched.looking(study_id) as (study, seen):
        numbers = _ordered(seen, chosen, sort, descending)
        header = rows.csv_header(study, seen.live)
        names = list(seen.live.params)

    def lines() -> Iterator[str]:
        yield "\ufeff" + header  # tells spreadsheets that this is UTF-8
        for begin in range(0, len(numbers), rows.AT_ONCE):
            with seen.lock:  # only so long: what is new waits for it
                trials = seen.live.trials(numbers[begin : begin + rows.AT_ONCE])
            yield rows.csv_rows(study, trials, names)

    return StreamingResponse(
        lines(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{_file_name(study)}.csv"'},
    )


def _file_name(study: Study) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in study.name)
    return kept[:80] or "study"


@router.get("/stream", response_class=StreamingResponse)
async def stream(request: Request, board: Context) -> StreamingResponse:
    """What changes, as server-sent events; see `dashboard/plots/stream.py`."""

    def is_allowed() -> bool:
        try:
            return identify(request, board) is not None
        except DatabaseUnreachableError:  # then there is nothing to tell either
            return True

    return StreamingResponse(
        board.stream.events(is_allowed),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
