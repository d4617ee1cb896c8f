"""All trials of a study that have ended or paused at once, in columns: for readers of long studies.

Rows cost a driver about 20 µs each, 100,000 of them two seconds. Here the server packs each column
into one value in the types' binary formats, and NumPy reads it as an array. A `Feed` continues from
the snapshot that the columns were read with.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from tuner.database.attributes import CONSTRAINED, HAS_CONSTRAINTS
from tuner.database.readers.feed import SNAPSHOT, Snapshot

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NOBODY = bytes(16)  # stands for the worker of a trial that no worker had
NEVER = np.iinfo(np.int64).min  # a time that is not known
_EPOCH = 946_684_800_000_000  # 2000-01-01, where PostgreSQL's times start, in µs since 1970
_ARRAY_HEADER = 20  # bytes of a one-dimensional array's binary format, before its elements

# What `unpack` reads: trials in groups of one state, one space and equally many values.
PACKED = f"""
    state, space_id, cardinality(params) AS width,
    state = 'failed' AND cause IN ('out_of_memory', 'diverged') AS infeasible,
    CASE WHEN :details THEN cause END AS cause,
    coalesce(cardinality(objective_values), 0) AS objectives,
    CASE WHEN :details THEN origin ->> 'kind' END AS proposed,
    string_agg(int8send(id), '') AS ids,
    string_agg(int4send(number), '') AS numbers,
    string_agg(int4send(attempt), '') AS attempts,
    string_agg(array_send(params), '') AS params,
    string_agg(array_send(objective_values), '') AS objective_values,
    string_agg(coalesce(timestamptz_send(started_at), :never), '') AS started,
    string_agg(coalesce(timestamptz_send(finished_at), :never), '') AS finished,
    CASE WHEN :attributes THEN CAST(json_object_agg(number, user_attrs)
        FILTER (WHERE user_attrs <> '{{}}') AS text) END AS user_attrs,
    CAST(json_object_agg(number, system_attrs) FILTER (
        WHERE system_attrs <> '{{}}' AND (:attributes OR {HAS_CONSTRAINTS})
    ) AS text) AS system_attrs
"""
GROUPS = "1, 2, 3, 4, 5, 6, 7"
NO_TIME = bytes(8)  # stands for an unknown time: nothing ran in the first µs of 2000
_FINISHED = text(f"""
    SELECT {SNAPSHOT}, packed.*
    FROM (VALUES (1)) AS always
    LEFT JOIN (
        SELECT {PACKED},
               CASE WHEN :details THEN string_agg(timestamptz_send(created_at), '') END AS created,
               CASE WHEN :details THEN
                   string_agg(coalesce(uuid_send(worker_id), :nobody), '') END AS workers,
               CASE WHEN :details THEN {CONSTRAINED} END AS constrained
        FROM tuner.trials
        WHERE study_id = :study AND state NOT IN ('waiting', 'running')
        GROUP BY {GROUPS}
    ) packed ON TRUE
""")  # noqa: S608 - constants
# Of a report: the metrics that `:wanted` names, packed in this order; NaN where it has none.
METRICS = """
    (SELECT string_agg(
         float8send(coalesce(CAST(r.metrics ->> wanted.name AS double precision), 'NaN')), ''
         ORDER BY wanted.place
     ) FROM unnest(CAST(:wanted AS text[])) WITH ORDINALITY AS wanted(name, place))
"""
_REPORTS_OF = text("""
    SELECT string_agg(int4send(t.number), '') AS numbers,
           string_agg(int8send(r.step), '') AS steps,
           string_agg(float8send(r.value), '') AS values
    FROM tuner.trials t JOIN tuner.reports r ON r.trial_id = t.id
    WHERE t.study_id = :study AND t.number = ANY(CAST(:numbers AS integer[]))
""")
_REPORTS = """
    SELECT string_agg(int4send(t.number), '') AS numbers,
           string_agg(int8send(r.step), '') AS steps,
           string_agg(float8send(r.value), '') AS values
    FROM tuner.trials t JOIN tuner.reports r ON r.trial_id = t.id
    WHERE t.study_id = :study AND t.state NOT IN ('waiting', 'running')
"""
_REPORTS_ALONE = text(_REPORTS)
_REPORTS_WITH_METRICS = text(
    _REPORTS.replace("AS values", f"AS values, string_agg({METRICS}, '') AS metrics")
)


class Details(NamedTuple):
    """What people want to see of trials but samplers do not need, in the numbers' order."""

    cause: str | None
    proposed: str | None  # the kind of their origin
    created: Integers  # µs since 1970
    workers: list[bytes]  # 16 bytes each; `NOBODY` if no worker had the trial
    constraints: Mapping[
        str, dict[str, str]
    ]  # by number: system attributes of trials that have any


class Columns(NamedTuple):
    """Trials of one state and one space, by number."""

    state: str
    infeasible: bool  # failed because of their parameters (`Cause.blames_parameters`)
    space_id: int | None
    ids: Integers
    numbers: Integers
    params: Floats  # (trials, parameters), Optuna's internal representation
    values: Floats | None  # (trials, objectives)
    started: Integers  # µs since 1970, or NEVER
    finished: Integers
    user_attrs: Mapping[str, dict[str, str]]  # by number, as text; without trials that have none
    system_attrs: Mapping[str, dict[str, str]]  # of trials with constraints in any case
    details: Details | None = None
    attempts: Integers = np.empty(0, np.int64)  # of all that are read from the database


class Reports(NamedTuple):
    """Reports of trials, by number and step."""

    numbers: Integers
    steps: Integers
    values: Floats
    metrics: Floats | None = None  # (reports, metrics that were asked for); NaN: not reported

    def of(self, numbers: Integers) -> "Reports":
        """Select the reports of the trials with these numbers."""
        chosen = np.isin(self.numbers, numbers)
        metrics = None if self.metrics is None else self.metrics[chosen]
        return Reports(self.numbers[chosen], self.steps[chosen], self.values[chosen], metrics)

    def spans(self, numbers: Integers) -> list[tuple[int, int]]:
        """Return where the reports of each of these trials start and end."""
        first = np.searchsorted(self.numbers, numbers, "left").tolist()
        return list(
            zip(first, np.searchsorted(self.numbers, numbers, "right").tolist(), strict=True)
        )


NO_REPORTS = Reports(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


def finished(
    connection: Connection, study_id: int, *, with_attributes: bool, with_details: bool = False
) -> tuple[Snapshot, list[Columns]]:
    """Read all trials that have ended or are paused, and the snapshot that they were read with.

    StudyNotFoundError if there is no such study.
    """
    rows = connection.execute(
        _FINISHED,
        {
            "study": study_id,
            "attributes": with_attributes,
            "details": with_details,
            "never": NO_TIME,
            "nobody": NOBODY,
        },
    ).all()
    return Snapshot.of(rows[0], study_id), [_finished(row) for row in rows if row.state is not None]


def reports(connection: Connection, study_id: int, metrics: Sequence[str] = ()) -> Reports:
    """Read all reports of the trials that `finished` returns, at least of those it returned.

    `metrics` names further metrics to read of each.
    """
    if not metrics:
        return _reports(connection.execute(_REPORTS_ALONE, {"study": study_id}).one())
    arguments = {"study": study_id, "wanted": list(metrics)}
    row = connection.execute(_REPORTS_WITH_METRICS, arguments).one()
    return unpack_reports(
        plain(row.numbers, ">i4"), row.steps, row.values, row.metrics, len(metrics)
    )


def reports_of(connection: Connection, study_id: int, numbers: Sequence[int]) -> Reports:
    """Read all reports of the trials with these numbers, whatever their state."""
    arguments = {"study": study_id, "numbers": list(numbers)}
    return _reports(connection.execute(_REPORTS_OF, arguments).one())


def _reports(row: Any) -> Reports:
    return unpack_reports(plain(row.numbers, ">i4"), row.steps, row.values)


def unpack_reports(
    numbers: NDArray[Any], steps: Any, values: Any, metrics: Any = None, width: int = 0
) -> Reports:
    """Unpack the reports of the trials with these numbers, each with `width` further metrics."""
    unsorted = plain(steps, ">i8")
    order = np.lexsort((unsorted, numbers))
    measured = plain(metrics, ">f8").reshape(-1, width) if width else None
    return Reports(
        numbers[order].astype(np.int64),
        unsorted[order].astype(np.int64),
        plain(values, ">f8").astype(np.float64)[order],
        None if measured is None else measured.astype(np.float64)[order],
    )


def _finished(row: Any) -> Columns:
    trials, order = unpack(row)
    return trials if row.created is None else trials._replace(details=_details(row, order))


def unpack(row: Any) -> tuple[Columns, Integers]:
    """Unpack the columns of a row of `PACKED`; returns the order that sorted them, too."""
    numbers = plain(row.numbers, ">i4").astype(np.int64)
    order = np.argsort(numbers)
    params = _matrix(row.params, row.width, len(numbers))
    values = _matrix(row.objective_values, row.objectives, len(numbers))
    trials = Columns(
        state=row.state,
        infeasible=bool(row.infeasible),
        space_id=row.space_id,
        ids=plain(row.ids, ">i8").astype(np.int64)[order],
        numbers=numbers[order],
        attempts=plain(row.attempts, ">i4").astype(np.int64)[order],
        params=params[order],
        values=values[order] if row.objectives else None,
        started=_times(row.started)[order],
        finished=_times(row.finished)[order],
        user_attrs=json.loads(row.user_attrs or "{}"),
        system_attrs=json.loads(row.system_attrs or "{}"),
    )
    return trials, order


def _details(row: Any, order: Integers) -> Details:
    packed = bytes(row.workers)
    return Details(
        cause=row.cause,
        proposed=row.proposed,
        created=_times(row.created)[order],
        workers=[packed[16 * i : 16 * i + 16] for i in order.tolist()],
        constraints=row.constrained or {},
    )


def plain(packed: Any, dtype: str) -> NDArray[Any]:
    """Unpack numbers."""
    return np.frombuffer(b"" if packed is None else packed, dtype=dtype)


def _times(packed: Any) -> Integers:
    since_2000 = plain(packed, ">i8").astype(np.int64)
    return np.where(since_2000 == 0, NEVER, since_2000 + _EPOCH)


def _matrix(packed: Any, width: int, rows: int) -> Floats:
    """Unpack one-dimensional arrays of equal length, as `array_send` writes them."""
    if width == 0:
        return np.empty((rows, 0))
    element = np.dtype([("length", ">i4"), ("value", ">f8")])
    record = np.dtype([("header", f"V{_ARRAY_HEADER}"), ("elements", element, (width,))])
    return np.frombuffer(packed, dtype=record)["elements"]["value"].astype(np.float64)
