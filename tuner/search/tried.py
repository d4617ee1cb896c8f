"""The configurations that a study has tried, updated as trials appear and change."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from struct import Struct

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution

from tuner.database.readers.columns import Columns, Floats, Reports
from tuner.search.record import Record, Space
from tuner.trials import ParamValue

Key = tuple[tuple[str, ...], bytes]  # the parameters that are active, their values


@dataclass(frozen=True, slots=True)
class _Shape:
    """How the values of a space's parameters become a key.

    Steps added up in another order differ in the last digits, so it is steps that are compared.
    """

    names: tuple[str, ...]  # in the study's order
    places: list[int]  # where each is among the stored parameters
    steps: list[tuple[int, float, float]]  # parameters that have them: index, low, step
    pack: Struct

    @classmethod
    def of(cls, space: Space, study: Mapping[str, BaseDistribution]) -> "_Shape":
        names = tuple(name for name in study if name in space)
        stored = list(space)
        steps = [
            (index, d.low, d.step)
            for index, d in enumerate(study[name] for name in names)
            if isinstance(d, FloatDistribution) and d.step is not None
        ]
        return cls(names, [stored.index(n) for n in names], steps, Struct(f"{len(names)}d"))

    def key(self, params: Sequence[float]) -> Key:
        values = [params[place] + 0.0 for place in self.places]  # -0.0 is 0.0
        for index, low, step in self.steps:
            values[index] = round((values[index] - low) / step, 6) + 0.0
        return self.names, self.pack.pack(*values)

    def keys(self, params: Floats) -> list[Key]:
        """The same for many trials."""
        rows = params[:, self.places] + 0.0
        for index, low, step in self.steps:
            rows[:, index] = np.round((rows[:, index] - low) / step, 6) + 0.0
        if not self.names:
            return [(self.names, b"")] * len(rows)
        packed = np.ascontiguousarray(rows).view(f"V{self.pack.size}").ravel().tolist()
        return [(self.names, values) for values in packed]


class Tried:
    """A set of configurations; trials of other distributions than the study's are no part of it."""

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self._distributions = distributions
        self._of_trial: dict[int, Key] = {}
        self._count: Counter[Key] = Counter()
        # by identity: histories keep one object for equal spaces, for good
        self._shapes: dict[int, _Shape | None] = {}

    def __contains__(self, key: Key | None) -> bool:
        return key in self._count

    def key(self, params: Mapping[str, ParamValue]) -> Key | None:
        """What is equal for equal configurations; None where no trial can have the value."""
        space = {name: d for name, d in self._distributions.items() if name in params}
        try:
            values = [float(d.to_internal_repr(params[name])) for name, d in space.items()]
        except ValueError:  # enqueued: a choice that the study does not have
            return None
        return _Shape.of(space, self._distributions).key(values)

    def load(self, finished: Columns, space: Space, reports: Reports) -> None:
        """Take note of many finished trials."""
        shape = self._shape(space)
        numbers = finished.numbers.tolist()
        if shape is not None and not self._of_trial:
            keys = shape.keys(finished.params)
            self._of_trial.update(zip(numbers, keys, strict=True))
            self._count.update(keys)
            return
        repeated = repeat(None) if shape is None else shape.keys(finished.params)
        for number, key in zip(numbers, repeated, strict=False):  # `repeat` has no end
            self._set(number, key)

    def note(self, record: Record) -> None:
        """Take note of a trial's present parameters."""
        shape = self._shape(record.space)
        self._set(record.number, None if shape is None else shape.key(record.row.params))

    def take(self, number: int, params: Mapping[str, ParamValue]) -> None:
        """Take note of a trial's parameters, given by their values."""
        previous = {name: value for name, value in params.items() if name in self._distributions}
        self._set(number, self.key(previous) if params else None)

    def _set(self, number: int, key: Key | None) -> None:
        before = self._of_trial.get(number)
        if key == before:
            return
        if before is not None:
            del self._of_trial[number]
            self._count[before] -= 1
            if not self._count[before]:
                del self._count[before]
        if key is not None:
            self._of_trial[number] = key
            self._count[key] += 1

    def fits(self, space: Space) -> bool:
        """Whether these are distributions of the study."""
        return self._shape(space) is not None

    def _shape(self, space: Space) -> _Shape | None:
        if id(space) not in self._shapes:
            fits = all(self._distributions.get(name) == d for name, d in space.items())
            self._shapes[id(space)] = _Shape.of(space, self._distributions) if fits else None
        return self._shapes[id(space)]
