"""A trial as a search holds it: the stored row, and Optuna's record of it once somebody asks."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from tuner.database import attributes
from tuner.database.columns import NEVER, Columns, Reports
from tuner.database.feed import TrialRow
from tuner.search import distributions as convert

Space = Mapping[str, BaseDistribution]  # in the order of the stored parameters


class Record:
    """A row with the distributions of its parameters."""

    __slots__ = ("_frozen", "number", "row", "space")

    def __init__(self, row: TrialRow, space: Space, frozen: FrozenTrial | None = None) -> None:
        self.row = row
        self.number = row.number
        self.space = space
        self._frozen = frozen

    @classmethod
    def of(cls, trial: FrozenTrial, space: Space) -> "Record":
        """The record of a trial that is not stored, or not read by row."""
        row = new_row(
            trial._trial_id,
            trial.number,
            convert.OUR_STATE[trial.state],
            convert.internal(trial.params, space),
            values=trial.values,
            finished_at=convert.aware(trial.datetime_complete),
        )
        reports = sorted(trial.intermediate_values.items())
        return cls(
            row._replace(steps=[s for s, _ in reports], report_values=[v for _, v in reports]),
            space,
            trial,
        )

    @property
    def frozen(self) -> FrozenTrial:
        """Optuna's record, always the same object."""
        if self._frozen is None:
            self._frozen = convert.frozen(self.row, self.space)
        return self._frozen


def new_row(
    trial_id: int,
    number: int,
    state: str,
    params: Sequence[float],
    *,
    values: Sequence[float] | None = None,
    finished_at: datetime | None = None,
) -> TrialRow:
    """The row of a trial that this process writes itself, as far as a search looks at it."""
    return TrialRow(
        id=trial_id,
        number=number,
        state=state,
        space_id=None,
        params=list(params),
        values=None if values is None else list(values),
        attempt=0,
        cause=None,
        message=None,
        log_tail=None,
        user_attrs="{}",
        system_attrs="{}",
        created_at=None,
        started_at=None,
        finished_at=finished_at,
        worker=None,
        steps=None,
        report_values=None,
        metrics=None,
    )


def many(
    finished: Columns, space: Space, reports: Reports, rows: Sequence[int] | None = None
) -> Iterator[FrozenTrial]:
    """Optuna's records of trials in columns: of these rows, or of all."""
    chosen = np.arange(len(finished.numbers)) if rows is None else np.asarray(rows)
    numbers = finished.numbers[chosen]
    state = convert.OPTUNA_STATE[finished.state]
    params = [
        _external(distribution, column)
        for distribution, column in zip(
            space.values(), finished.params[chosen].T.tolist(), strict=True
        )
    ]
    values = None if finished.values is None else finished.values[chosen].tolist()
    first = np.searchsorted(reports.numbers, numbers, "left").tolist()
    end = np.searchsorted(reports.numbers, numbers, "right").tolist()
    started, ended = finished.started[chosen].tolist(), finished.finished[chosen].tolist()
    ids = finished.ids[chosen].tolist()
    for index, number in enumerate(numbers.tolist()):
        a, b = first[index], end[index]
        yield FrozenTrial(
            number=number,
            state=state,
            value=None,
            datetime_start=_local(started[index]),
            datetime_complete=_local(ended[index]),
            params={name: column[index] for name, column in zip(space, params, strict=True)},
            distributions=dict(space),
            user_attrs=attributes.decode(finished.user_attrs.get(str(number), _NONE)),
            system_attrs=attributes.decode(finished.system_attrs.get(str(number), _NONE)),
            intermediate_values=dict(
                zip(reports.steps[a:b].tolist(), reports.values[a:b].tolist(), strict=True)
            )
            if b > a
            else {},
            trial_id=ids[index],
            values=None if values is None else values[index],
        )


_NONE: Mapping[str, str] = {}


def _external(distribution: BaseDistribution, column: list[float]) -> list[Any]:
    match distribution:
        case FloatDistribution():
            return column
        case IntDistribution():
            return [int(value) for value in column]
        case CategoricalDistribution():
            return [distribution.choices[int(value)] for value in column]
        case _:
            return [distribution.to_external_repr(value) for value in column]


def _local(microseconds: int) -> datetime | None:
    """Optuna's times are local and without a zone."""
    return None if microseconds == NEVER else datetime.fromtimestamp(microseconds / 1e6)
