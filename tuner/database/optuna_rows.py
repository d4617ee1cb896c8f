"""A study's trials in the tables of Optuna's RDBStorage, read in batches.

Optuna's own reading makes objects of every row: for 100,000 trials a minute, and gigabytes. The
tables are those of `optuna/storages/_rdb/models.py`, whose version its storage checks when it is
opened. Times are UTC without a zone there, floats that are not finite a null with a type.
"""

import json
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, DateTime, Row, text

BATCH = 10_000  # trials whose rows are in memory at once

_TRIALS = text("""
    SELECT trial_id, number, state, datetime_start, datetime_complete
    FROM trials WHERE study_id = :study ORDER BY trial_id
""").columns(datetime_start=DateTime(), datetime_complete=DateTime())
_ROWS = """
    SELECT r.trial_id, {columns} FROM {table} r JOIN trials t ON t.trial_id = r.trial_id
    WHERE t.study_id = :study AND t.trial_id BETWEEN :first AND :last
    ORDER BY r.trial_id, {order}
"""
_PARAMS, _VALUES, _REPORTS, _USER_ATTRS, _SYSTEM_ATTRS = (
    text(_ROWS.format(table=table, columns=columns, order=order))
    for table, columns, order in (
        ("trial_params", "param_name, param_value, distribution_json", "param_id"),
        ("trial_values", "value, value_type", "objective"),
        ("trial_intermediate_values", "step, intermediate_value, intermediate_value_type", "step"),
        ("trial_user_attributes", "r.key, value_json", "trial_user_attribute_id"),
        ("trial_system_attributes", "r.key, value_json", "trial_system_attribute_id"),
    )
)
_NOT_FINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}


class OptunaParam(NamedTuple):
    """A parameter as Optuna stores it."""

    name: str
    value: float  # its internal representation: of a choice the index
    distribution: str  # JSON


class OptunaTrial(NamedTuple):
    """A trial as Optuna stores it."""

    number: int
    state: str  # Optuna's name of it: "COMPLETE"
    started_at: datetime | None
    finished_at: datetime | None
    params: list[OptunaParam]  # in the order they were suggested
    values: list[float]  # none before it has ended
    reports: dict[int, float]
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]


Head = Row[Any]  # a trial without what other tables hold of it


def heads(connection: Connection, study_id: int) -> Sequence[Head]:
    """A row for each trial of a study, in their order, of which `trials` makes the whole."""
    return connection.execute(_TRIALS, {"study": study_id}).all()


def trials(connection: Connection, study_id: int, rows: Sequence[Head]) -> Iterator[OptunaTrial]:
    """Trials with all that they hold, of what `heads` has found."""
    for start in range(0, len(rows), BATCH):
        yield from _batch(connection, study_id, rows[start : start + BATCH]).values()


def _batch(connection: Connection, study_id: int, rows: Sequence[Head]) -> dict[int, OptunaTrial]:
    made = {
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
        for row in rows
    }
    bounds = {"study": study_id, "first": rows[0].trial_id, "last": rows[-1].trial_id}
    for id_, name, value, distribution in connection.execute(_PARAMS, bounds).all():
        made[id_].params.append(OptunaParam(name, value, distribution))
    for id_, value, kind in connection.execute(_VALUES, bounds).all():
        made[id_].values.append(_NOT_FINITE.get(kind, value))
    for id_, step, value, kind in connection.execute(_REPORTS, bounds).all():
        made[id_].reports[step] = _NOT_FINITE.get(kind, value)
    for id_, key, value in connection.execute(_USER_ATTRS, bounds).all():
        made[id_].user_attrs[key] = json.loads(value)
    for id_, key, value in connection.execute(_SYSTEM_ATTRS, bounds).all():
        made[id_].system_attrs[key] = json.loads(value)
    return made


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
