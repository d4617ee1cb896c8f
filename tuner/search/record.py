"""A trial as the search holds it: the stored row and, on demand, Optuna's record of it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import repeat
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
from tuner.database.readers.changes import Batch
from tuner.database.readers.columns import NEVER, Columns, Reports
from tuner.database.readers.feed import TrialRow
from tuner.search import distributions as convert
from tuner.trials import TrialState

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


def open_rows(batch: Batch, previous: Callable[[int], TrialRow]) -> Iterator[TrialRow]:
    """The rows of open trials in columns; `known` has those of which only new reports are here."""
    trials, reports = batch.trials, batch.reports
    steps, values = reports.steps.tolist(), reports.values.tolist()
    measured = [] if reports.metrics is None else reports.metrics.tolist()
    for id_, number, attempt, since, params, start, (a, b) in zip(
        trials.ids.tolist(),
        trials.numbers.tolist(),
        trials.attempts.tolist(),
        batch.since.tolist(),
        trials.params.tolist(),
        trials.started.tolist(),
        reports.spans(trials.numbers),
        strict=True,
    ):
        earlier = previous(number) if since >= 0 else None
        yield new_row(id_, number, trials.state, params)._replace(
            attempt=attempt,
            user_attrs=json.dumps(trials.user_attrs.get(str(number), {})),
            system_attrs=json.dumps(trials.system_attrs.get(str(number), {})),
            started_at=None if start == NEVER else datetime.fromtimestamp(start / 1e6, UTC),
            steps=[*(earlier.steps or () if earlier else ()), *steps[a:b]],
            report_values=[*(earlier.report_values or () if earlier else ()), *values[a:b]],
            measured=[*(earlier.measured or () if earlier else ()), *measured[a:b]],
        )


def many(
    finished: Columns, space: Space, reports: Reports, rows: Sequence[int] | None = None
) -> Iterator[FrozenTrial]:
    """Optuna's records of trials in columns: of these rows, or of all."""
    chosen = np.arange(len(finished.numbers)) if rows is None else np.asarray(rows, np.int64)
    numbers = finished.numbers[chosen]
    state = convert.OPTUNA_STATE[finished.state]
    columns = [
        _external(distribution, column)
        for distribution, column in zip(
            space.values(), finished.params[chosen].T.tolist(), strict=True
        )
    ]
    params = zip(*columns, strict=True) if columns else repeat(())
    is_paused = finished.state == TrialState.PAUSED  # to Optuna, it has neither an end nor a value
    stored = None if is_paused else finished.values
    values = repeat(None) if stored is None else stored[chosen].tolist()
    spans = reports.spans(numbers)
    # slices of lists: those of small arrays cost more than the trial
    low = min((first for first, _ in spans), default=0)
    high = max((end for _, end in spans), default=0)
    steps, reported = reports.steps[low:high].tolist(), reports.values[low:high].tolist()
    names, user_attrs, system_attrs = list(space), finished.user_attrs, finished.system_attrs
    for number, id_, start, complete, row, value, (a, b) in zip(
        numbers.tolist(),
        finished.ids[chosen].tolist(),
        finished.started[chosen].tolist(),
        finished.finished[chosen].tolist(),
        params,
        values,
        spans,
        strict=False,  # what repeats has no end
    ):
        key = str(number) if user_attrs or system_attrs else ""
        yield FrozenTrial(
            number,
            state,
            None,
            _local(start),
            None if is_paused else _local(complete),
            dict(zip(names, row, strict=True)),
            dict(space),
            attributes.decode(user_attrs[key]) if key in user_attrs else {},
            attributes.decode(system_attrs[key]) if key in system_attrs else {},
            dict(zip(steps[a - low : b - low], reported[a - low : b - low], strict=True)),
            id_,
            values=value,
        )


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
