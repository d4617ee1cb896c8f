"""The trials of a past study in the space of another, and what could not be carried over.

Numbers outside the range move to its nearest end, and a choice that does not exist is left open.
Parameters that the past study did not have are open as well, unless it had pinned them; those that
this study does not have are dropped.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from tuner.search.warm_start.past_study import PastStudy
from tuner.study_file.fit import is_number
from tuner.study_file.messages import counted, listed
from tuner.study_file.parameters import (
    CategoricalParameter,
    FixedParameter,
    FloatParameter,
    IntParameter,
    Searched,
    at,
    canonical,
    same,
)
from tuner.study_file.space import Space
from tuner.trials import ParamValue

NAMED = 5  # parameters of one kind that a sentence names


@dataclass(frozen=True, slots=True)
class Mapped:
    """The trials of a past study in the space of another.

    Args:
        params: Trials [N]: parameter → value; without those that are open.
        moved: Whether a value had to move or was dropped [N]: such a trial is another one here.
        new: Searched parameters that the past study did not have.
        gone: Parameters that only the past study searched.
        clipped: Parameter → number of trials whose value moved into the range.
        unknown: Parameter → values that do not exist here.

    """

    params: Sequence[Mapping[str, ParamValue]]
    moved: NDArray[np.bool_]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    clipped: Mapping[str, int]
    unknown: Mapping[str, tuple[ParamValue, ...]]

    @property
    def shared(self) -> bool:
        """Whether the studies have any parameter in common."""
        return any(self.params)

    def describe(self) -> list[str]:
        """Say what differs between the spaces, in clauses; none if nothing does."""
        clauses = []
        if self.new:
            verb = "was" if len(self.new) == 1 else "were"
            clauses.append(f"{_names(self.new)} {verb} not searched there")
        if self.gone:
            verb = "is" if len(self.gone) == 1 else "are"
            clauses.append(f"{_names(self.gone)} {verb} not searched here")
        for name, count in self.clipped.items():
            clauses.append(f"{name} of {counted(count, 'trial')} was moved into its range")
        for name, values in self.unknown.items():
            noun = "choice" if len(values) == 1 else "choices"
            clauses.append(f"{name} has no {noun} {listed(values)} here")
        return clauses


def _names(names: Sequence[str]) -> str:
    if len(names) <= NAMED:
        return listed(names)
    return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} others"


def map_trials(past: PastStudy, space: Space) -> Mapped:
    """Map the kept trials of a past study into a space."""
    columns = {name: _external(past, column) for column, name in enumerate(past.space)}
    searched = {
        name: parameter
        for name, parameter in space.parameters.items()
        if not isinstance(parameter, FixedParameter)
    }
    count = len(past.numbers)
    rows: list[dict[str, ParamValue]] = [{} for _ in range(count)]
    moved = np.zeros(count, bool)
    clipped: Counter[str] = Counter()
    unknown: dict[str, list[ParamValue]] = {}
    for name, parameter in space.parameters.items():
        if name in columns:
            column = columns[name]
        elif name in past.pinned:
            column = [(past.pinned[name],)] * count
        else:
            continue
        for place, cell in enumerate(column):
            if not cell or not space.is_active(name, rows[place]):
                continue
            (value,) = cell
            fitted = _nearest(value, parameter)
            if fitted is None:
                moved[place] = True
                if value not in unknown.setdefault(name, []):
                    unknown[name].append(value)
                continue
            rows[place][name], is_moved = fitted
            if is_moved:
                moved[place] = True
                clipped[name] += 1
    return Mapped(
        params=[{name: row[name] for name in searched if name in row} for row in rows],
        moved=moved,
        new=tuple(n for n in searched if n not in columns and n not in past.pinned),
        gone=tuple(name for name in columns if name not in space.parameters),
        clipped={name: n for name, n in clipped.items() if name in searched},
        unknown={name: tuple(values) for name, values in unknown.items() if name in searched},
    )


def complete(
    params: Mapping[str, ParamValue], space: Space, default: Mapping[str, ParamValue]
) -> dict[str, ParamValue]:
    """Return a whole configuration: open parameters by default, or in the middle of their range.

    An open choice without a default is the first.
    """
    whole: dict[str, ParamValue] = {}
    for name, parameter in space.parameters.items():
        if space.is_active(name, whole):
            value = params.get(name, default.get(name, _middle(parameter)))
            whole[name] = canonical(value, parameter)
    return {
        name: value
        for name, value in whole.items()
        if not isinstance(space.parameters[name], FixedParameter)
    }


def _middle(parameter: Searched) -> ParamValue:
    return at(parameter, 0.0 if isinstance(parameter, CategoricalParameter) else 0.5)


def _external(past: PastStudy, column: int) -> list[tuple[ParamValue, ...]]:
    """Return a parameter's values, each in a tuple that is empty where it has none."""
    distribution: BaseDistribution = list(past.space.values())[column]
    values = past.params[:, column].tolist()
    is_choice = isinstance(distribution, CategoricalDistribution)
    return [
        ()
        if math.isnan(value)  # inactive
        else (distribution.to_external_repr(int(value) if is_choice else value),)
        for value in values
    ]


def _nearest(value: ParamValue, parameter: Searched) -> tuple[ParamValue, bool] | None:
    """Return the nearest value that the parameter can take, and whether it had to move.

    None for a value that no nearest one exists of.
    """
    if isinstance(parameter, FixedParameter):
        return parameter.value, not same(value, parameter.value)
    if isinstance(parameter, CategoricalParameter):
        for choice in parameter.choices:
            if same(choice, value):
                return choice, False
        numbers = [choice for choice in parameter.choices if is_number(choice)]
        if not is_number(value) or len(numbers) < len(parameter.choices):
            return None
        return min(numbers, key=lambda choice: abs(choice - value)), True
    if not is_number(value):
        return None
    inside = min(max(value, parameter.low), parameter.high)
    return _on_grid(inside, parameter), not parameter.low <= value <= parameter.high


def _on_grid(value: float, parameter: FloatParameter | IntParameter) -> ParamValue:
    if isinstance(parameter, IntParameter):
        steps = (parameter.high - parameter.low) // parameter.step
        step = min(round((value - parameter.low) / parameter.step), steps)
        return parameter.low + step * parameter.step
    if parameter.step is None:
        return float(value)
    steps = int((parameter.high - parameter.low) / parameter.step + 1e-6)
    step = min(round((value - parameter.low) / parameter.step), steps)
    return canonical(parameter.low + step * parameter.step, parameter)
