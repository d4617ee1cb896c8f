"""A study's trials in the tables of Optuna's RDBStorage, read in batches.

Optuna itself makes objects of every row: for 100,000 trials that takes a minute, and gigabytes. The
tables are those of `optuna/storages/_rdb/models.py`, whose version its storage checks when it is
opened. There, times are UTC without a zone, and floats that are not finite a null with a type.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, DateTime, Integer, Row, String, TextClause, bindparam, text

from tuner.database.optuna.prefetch import prefetch

BATCH = 10_000  # trials; two batches are in memory at once

_TRIALS = text("""
    SELECT trial_id, number, state, datetime_start, datetime_complete
    FROM trials WHERE study_id = :study ORDER BY trial_id
""").columns(datetime_start=DateTime(), datetime_complete=DateTime())
_DISTRIBUTIONS = text("""
    SELECT param_name, distribution_json
    FROM trial_params r JOIN trials t ON t.trial_id = r.trial_id
    WHERE t.study_id = :study GROUP BY param_name, distribution_json
""")
# A distribution is most of a parameter's bytes, and nearly always the same for all trials.
_DISTRIBUTION = """
    CASE WHEN param_name IN :varied OR r.trial_id IN :changing THEN distribution_json END
"""
_TABLES = (
    ("trial_params", f"param_name, param_value, {_DISTRIBUTION}", "param_id"),
    ("trial_values", "value, value_type", "objective"),
    ("trial_intermediate_values", "step, intermediate_value, intermediate_value_type", "step"),
    ("trial_user_attributes", "r.key, value_json", "trial_user_attribute_id"),
    ("trial_system_attributes", "r.key, value_json", "trial_system_attribute_id"),
)


_ROWS = """
    SELECT r.trial_id, {columns} FROM {table} r {of}
    WHERE r.trial_id BETWEEN :first AND :last ORDER BY r.trial_id, {order}
"""


def _queries(of: str) -> list[TextClause]:
    queries = [
        text(_ROWS.format(columns=columns, table=table, of=of, order=order))
        for table, columns, order in _TABLES
    ]
    params = queries[0].bindparams(
        bindparam("varied", expanding=True, type_=String()),
        bindparam("changing", expanding=True, type_=Integer()),
    )
    return [params, *queries[1:]]


_OF_STUDY = _queries("JOIN trials t ON t.trial_id = r.trial_id AND t.study_id = :study")
_OF_ANY = _queries("")  # half the work, if few of the trials in between are another study's
_UNFINISHED = ("RUNNING", "WAITING")  # parameters may be added to these meanwhile
_NOT_FINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}


class OptunaParam(NamedTuple):
    """A parameter as Optuna stores it."""

    name: str
    value: float  # in its internal representation: the index of a choice
    distribution: str  # JSON


class OptunaTrial(NamedTuple):
    """A trial as Optuna stores it."""

    number: int
    state: str  # Optuna's name: "COMPLETE"
    started_at: datetime | None
    finished_at: datetime | None
    params: list[OptunaParam]  # in the order in which they were suggested
    values: list[float]  # empty until it has ended
    reports: dict[int, float]
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]


Head = Row[Any]  # a trial without what other tables hold


def heads(connection: Connection, study_id: int) -> Sequence[Head]:
    """Read one row per trial of a study, in order; `trials` reads the rest."""
    return connection.execute(_TRIALS, {"study": study_id}).all()


def trials(connection: Connection, study_id: int, rows: Sequence[Head]) -> Iterator[OptunaTrial]:
    """Read the whole trials of these rows of `heads`.

    A thread reads the next batch's rows while this one's trials are used.
    """
    distributions: dict[str, list[str]] = {}
    for name, distribution in connection.execute(_DISTRIBUTIONS, {"study": study_id}):
        distributions.setdefault(name, []).append(distribution)
    same = {name: texts[0] for name, texts in distributions.items() if len(texts) == 1}
    arguments = {"study": study_id, "varied": [name for name in distributions if name not in same]}
    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    for batch, tables in prefetch(
        (batch, _select(connection, arguments, batch)) for batch in batches
    ):
        yield from _assemble(batch, tables, same)


Rows = Sequence[Any]  # of a query, as its cursor returns them


def _select(
    connection: Connection, arguments: Mapping[str, Any], heads: Sequence[Head]
) -> Sequence[Rows]:
    """Read the rows of all tables for some trials, perhaps with another study's in between."""
    first, last = heads[0].trial_id, heads[-1].trial_id
    queries = _OF_ANY if last - first < 2 * len(heads) else _OF_STUDY
    bounds = {
        **arguments,
        "first": first,
        "last": last,
        "changing": [row.trial_id for row in heads if row.state in _UNFINISHED],
    }
    return [connection.execute(query, bounds).all() for query in queries]


def _assemble(
    heads: Sequence[Head], tables: Sequence[Rows], same: Mapping[str, str]
) -> Iterable[OptunaTrial]:
    trials = {
        row.trial_id: OptunaTrial(
            number=row.number,
            state=row.state,
            started_at=_utc(row.datetime_start),
            finished_at=_utc(row.datetime_complete),
            params=[],
            values=[],
            reports={},
            user_attrs={},
            system_attrs={},
        )
        for row in heads
    }
    params, values, reports, user_attrs, system_attrs = tables
    for id_, name, value, distribution in params:
        if id_ in trials:
            trials[id_].params.append(OptunaParam(name, value, distribution or same.get(name, "")))
    for id_, value, kind in values:
        if id_ in trials:
            trials[id_].values.append(_NOT_FINITE.get(kind, value))
    for id_, step, value, kind in reports:
        if id_ in trials:
            trials[id_].reports[step] = _NOT_FINITE.get(kind, value)
    for id_, key, value in user_attrs:
        if id_ in trials:
            trials[id_].user_attrs[key] = _attribute(trials[id_], key, value)
    for id_, key, value in system_attrs:
        if id_ in trials:
            trials[id_].system_attrs[key] = _attribute(trials[id_], key, value)
    return trials.values()


def _attribute(trial: OptunaTrial, key: str, value: str) -> Any:
    try:
        return json.loads(value)
    except (RecursionError, TypeError, ValueError):
        raise ValueError(f"trial {trial.number} has an attribute {key!r} that is no JSON") from None


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
