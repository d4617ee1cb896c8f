"""The constraints of a study's trials, noted as trials end."""

import json
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tuner.database import attributes
from tuner.database.readers.columns import Columns, Floats, Integers
from tuner.search.record import Record
from tuner.trials import TrialState


class ConstraintValues:
    """The constraints of complete and pruned trials."""

    def __init__(self) -> None:
        self._by_number: dict[int, Mapping[str, float]] = {}
        self._worst = np.empty(0)  # of each trial's values; NaN where there is none

    def __bool__(self) -> bool:
        """Whether any trial has a constraint."""
        return bool(self._by_number)

    def load(self, finished: Columns) -> None:
        """Take note of many finished trials."""
        if self._by_number:
            for number in finished.numbers.tolist():
                self._forget(number)
        for number, stored in finished.system_attrs.items():
            self._set(int(number), finished.state, stored)

    def note(self, record: Record) -> None:
        """Take note of a trial's constraints."""
        self._forget(record.number)
        row = record.row
        if attributes.has_constraints(row.system_attrs):
            self._set(record.number, row.state, json.loads(row.system_attrs))

    def _set(self, number: int, state: str, stored: Mapping[str, str]) -> None:
        if state in (TrialState.COMPLETE, TrialState.PRUNED):
            values = attributes.decode_constraints(stored)
            if values:
                if number >= len(self._worst):
                    more = max(number + 1, 2 * len(self._worst)) - len(self._worst)
                    self._worst = np.append(self._worst, np.full(more, math.nan))
                self._by_number[number], self._worst[number] = values, max(values.values())

    def _forget(self, number: int) -> None:
        if self._by_number.pop(number, None) is not None:
            self._worst[number] = math.nan

    def are_feasible(self, numbers: Integers) -> NDArray[np.bool_]:
        """Whether each of these trials is known to keep all constraints, if there are any."""
        if not self._by_number:
            return np.ones(len(numbers), bool)
        known = numbers < len(self._worst)
        return known & (self._worst[np.where(known, numbers, 0)] <= 0)

    def of(self, numbers: Integers) -> dict[str, Floats]:
        """Return name → values of these trials; NaN where they are not known."""
        of_trials = [self._by_number.get(number, {}) for number in numbers.tolist()]
        names = sorted({name for values in of_trials for name in values})
        return {
            name: np.array([values.get(name, math.nan) for values in of_trials]) for name in names
        }
