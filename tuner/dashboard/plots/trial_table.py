"""The trial table: a window of it for a scrolling page, and all of it as CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner import study_json
from tuner.dashboard.plots import selection
from tuner.database.readers.live import CAUSES, STATES, LiveTrials
from tuner.figures import axes, text
from tuner.trials import Study, Trial, TrialState

CHUNK = 2_000  # rows of CSV that are written at a time
# A spreadsheet takes a cell that begins like this for a formula, also after spaces
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_LAST = ("seconds", "started", "finished", "attempt", "worker", "proposed", "cause")


def columns(study: Study, live: LiveTrials) -> list[dict[str, str]]:
    """The table's columns: the name in queries, the title, the kind of values."""
    metrics = [*study.metrics, *(f"value {i}" for i in range(len(study.metrics), 99))]
    objectives = [
        {"name": "value" if i == 0 else f"value.{i}", "title": metrics[i], "kind": "number"}
        for i in range(len(study.directions))
    ]
    params = [
        {
            "name": f"params.{name}",
            "title": name,
            "kind": "text" if parameter.kind == "categorical" else "number",
        }
        for name, parameter in live.params.items()
    ]
    kinds = {"seconds": "number", "attempt": "number", "started": "time", "finished": "time"}
    return [
        {"name": "number", "title": "trial", "kind": "number"},
        {"name": "state", "title": "state", "kind": "text"},
        *objectives,
        *params,
        *({"name": n, "title": n, "kind": kinds.get(n, "text")} for n in _LAST),
    ]


def sort(live: LiveTrials, mask: selection.Mask, by: str, *, descending: bool) -> Any:
    """The numbers of the trials in `mask`, sorted by a column; missing values come last."""
    numbers = np.flatnonzero(mask)
    keys = _keys(live, by)[numbers]
    has_value = ~np.isnan(keys)
    signed = -keys if descending else keys
    order = np.argsort(np.where(has_value, signed, np.inf), kind="stable")
    # infinities are values, and come before missing ones
    missing = ~has_value[order]
    return numbers[np.concatenate([order[~missing], order[missing]])]


def _keys(live: LiveTrials, by: str) -> NDArray[np.float64]:
    if by == "state":
        return _by_rank(live.state, sorted(range(len(STATES)), key=lambda i: STATES[i]))
    if by == "cause":
        return _by_rank(live.cause, sorted(range(len(CAUSES)), key=lambda i: CAUSES[i]))
    if by == "worker":
        order = sorted(range(len(live.workers)), key=live.workers.__getitem__)
        return _by_rank(live.worker, order)
    if by == "proposed":
        return _by_rank(live.proposed, sorted(range(len(live.kinds)), key=live.kinds.__getitem__))
    if by == "attempt":
        return live.attempt.astype(np.float64)
    if by == "started":
        started = live.started.astype(np.float64)
        return np.where(started < 0, np.nan, started)
    values = selection.column(live, by).astype(np.float64)
    parameter = live.params.get(by.removeprefix("params.")) if by.startswith("params.") else None
    if parameter is None or parameter.kind != "categorical":
        return values
    axis = axes.axis(parameter.name, parameter.choices, categorical=True)
    places = np.array([axis.position(c) for c in parameter.choices], dtype=np.float64)
    has_value = ~np.isnan(values)
    values = values.copy()
    values[has_value] = places[values[has_value].astype(np.int64)]
    return values


def _by_rank(codes: NDArray[Any], order: Sequence[int]) -> NDArray[np.float64]:
    """The rank of each code in `order`; NaN for a code below 0."""
    ranks = np.full(len(order) + 1, np.nan)
    ranks[list(order)] = np.arange(len(order))
    ranked: NDArray[np.float64] = ranks[codes]  # -1 takes the last one
    return ranked


def window(study: Study, live: LiveTrials, numbers: Sequence[int]) -> list[list[Any]]:
    """The rows of these trials, with one cell per column."""
    names = list(live.params)
    return [
        [_plain(cell) for cell in _cells(trial, names, len(study.directions))]
        for trial in live.trials(numbers)
    ]


def _cells(trial: Trial, names: Sequence[str], objectives: int) -> list[Any]:
    values = [*(trial.values or ()), *[None] * objectives][:objectives]
    return [
        trial.number,
        trial.state.value,
        *values,
        *(trial.params.get(name) for name in names),
        trial.seconds,
        trial.started_at,
        trial.finished_at,
        trial.attempt,
        trial.worker,
        None if trial.origin is None else trial.origin.kind,
        _cause(trial),
    ]


def _cause(trial: Trial) -> str | None:
    """Why it has no result, or cannot be the best."""
    if trial.cause is not None:
        return trial.cause.value
    is_infeasible = trial.violates_constraint and trial.state is TrialState.COMPLETE
    return "infeasible" if is_infeasible else None


def _plain(cell: Any) -> Any:
    """A cell as JSON: it has no NaN, and a browser no whole numbers beyond 2⁵³."""
    if isinstance(cell, str):
        return text.clean(cell)
    if isinstance(cell, bool):
        return text.value(cell)
    if isinstance(cell, int) and abs(cell) >= 2**53:
        return str(cell)
    return study_json.plain(cell)


def csv_header(study: Study, live: LiveTrials) -> str:
    """The first line."""
    return _lines([[_safe(column["title"]) for column in columns(study, live)]])


def csv_rows(study: Study, trials: Sequence[Trial], names: Sequence[str]) -> str:
    """The lines of these trials; times are UTC."""
    return _lines(
        [_safe(_csv_cell(cell)) for cell in _cells(trial, names, len(study.directions))]
        for trial in trials
    )


def _csv_cell(cell: Any) -> Any:
    return "" if cell is None else cell.isoformat() if hasattr(cell, "isoformat") else cell


def _safe(cell: Any) -> Any:
    """Mark text that a spreadsheet would compute as text; numbers stay numbers."""
    if isinstance(cell, str) and cell.lstrip(" ").startswith(_FORMULA):
        return f"'{cell}"
    return cell


def _lines(rows: Any) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    # lone surrogates cannot be written as UTF-8
    return out.getvalue().encode("utf-8", "replace").decode("utf-8")
