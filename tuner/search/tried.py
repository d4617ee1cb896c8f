"""Which configurations a study has tried, kept as trials come and change."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution

from tuner.database.columns import Columns, Floats
from tuner.search.record import Record, Space
from tuner.trials import ParamValue

Key = tuple[tuple[str, ...], bytes]  # the parameters that are active, their values


class Tried:
    """A set of configurations; trials of other distributions than the study's are no part of it."""

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self._distributions = distributions
        self._of_trial: dict[int, Key] = {}
        self._count: Counter[Key] = Counter()
        self._fits: dict[int, bool] = {}  # by identity: histories keep one object for equal spaces

    def __contains__(self, key: Key | None) -> bool:
        return key in self._count

    def key(self, params: Mapping[str, ParamValue]) -> Key | None:
        """What is equal for equal configurations; None for a value that no trial of ours can have.

        Steps added up in another order differ in the last digits, so it is steps that are compared.
        """
        names = tuple(name for name in self._distributions if name in params)
        try:
            row = [self._distributions[name].to_internal_repr(params[name]) for name in names]
        except ValueError:  # enqueued: a choice that the study does not have
            return None
        return names, _canonical(np.array([row], dtype=np.float64), self._of(names)).tobytes()

    def load(self, finished: Columns, space: Space) -> None:
        """Take note of many finished trials."""
        if not self.fits(space):
            return
        names = tuple(name for name in self._distributions if name in space)
        order = [list(space).index(name) for name in names]
        rows = _canonical(finished.params[:, order], self._of(names))
        width = rows.shape[1] * rows.itemsize
        values = (
            np.ascontiguousarray(rows).view(f"V{width}").ravel().tolist()
            if width
            else [b""] * len(rows)
        )
        keys = [(names, value) for value in values]
        self._of_trial.update(zip(finished.numbers.tolist(), keys, strict=True))
        self._count.update(keys)

    def note(self, record: Record) -> None:
        """Take note of a trial's present parameters."""
        before = self._of_trial.pop(record.number, None)
        if before is not None:
            self._count[before] -= 1
            if not self._count[before]:
                del self._count[before]
        if not self.fits(record.space):
            return
        names = tuple(name for name in self._distributions if name in record.space)
        by_name = dict(zip(record.space, record.row.params, strict=True))
        row = np.array([[by_name[name] for name in names]], dtype=np.float64)
        key = names, _canonical(row, self._of(names)).tobytes()
        self._of_trial[record.number] = key
        self._count[key] += 1

    def fits(self, space: Space) -> bool:
        """Whether these are distributions of the study."""
        if id(space) not in self._fits:
            self._fits[id(space)] = all(
                self._distributions.get(name) == distribution
                for name, distribution in space.items()
            )
        return self._fits[id(space)]

    def _of(self, names: tuple[str, ...]) -> list[BaseDistribution]:
        return [self._distributions[name] for name in names]


def _canonical(rows: Floats, distributions: list[BaseDistribution]) -> Floats:
    out = rows + 0.0  # a copy, in which -0.0 is 0.0
    for column, distribution in enumerate(distributions):
        if isinstance(distribution, FloatDistribution) and distribution.step is not None:
            steps = (out[:, column] - distribution.low) / distribution.step
            out[:, column] = np.round(steps, 6) + 0.0
    return out
