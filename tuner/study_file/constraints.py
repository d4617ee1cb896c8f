"""Constraints: bounds that what is measured of a trial must keep.

A constraint's value follows Optuna's convention: 0 or less is feasible. Here it is the distance
beyond the bound, as a share of the bound, so that constraints with other units can be compared.
"""

import math
from collections.abc import Iterable, Mapping

from tuner.study_file.messages import written
from tuner.study_file.space import Range
from tuner.trials import CONSTRAINT_PREFIX

Constraints = Mapping[str, Range]  # metric or cost → its bounds


def measure(constraints: Constraints, measured: Mapping[str, float]) -> dict[str, float]:
    """Return the values of the constraints on what was measured, by name.

    Those on something that was not measured are left out; NaN violates every constraint.
    """
    values: dict[str, float] = {}
    for metric, bounds in constraints.items():
        if metric not in measured:
            continue
        value = measured[metric]
        for side, bound, beyond in (
            ("below", bounds.below, value - (bounds.below or 0)),
            ("above", bounds.above, (bounds.above or 0) - value),
        ):
            if bound is not None:
                distance = beyond / abs(bound) if bound else beyond
                values[f"{metric} {side} {written(bound)}"] = (
                    math.inf if math.isnan(distance) else float(distance)
                )
    return values


def names(constraints: Constraints) -> list[str]:
    """Return the names of the constraints that `measure` returns the values of."""
    return list(measure(constraints, dict.fromkeys(constraints, 0.0)))


def sum_violations(values: Iterable[float]) -> float:
    """Sum up by how much constraints are violated; 0 if none is."""
    return sum(value for value in values if value > 0)


def of_user_code(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the constraints that user code has computed, by the name that it gave them."""
    return {
        name.removeprefix(CONSTRAINT_PREFIX): value
        for name, value in metrics.items()
        if name.startswith(CONSTRAINT_PREFIX)
    }
