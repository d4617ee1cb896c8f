"""Whether a value is possible for a parameter, and its conversion to the parameter's type."""

from collections.abc import Sequence
from typing import TypeGuard

from tuner.study_file.messages import a, decimal_comma, one_of, written
from tuner.study_file.parameters import (
    CategoricalParameter,
    FixedParameter,
    FloatParameter,
    IntParameter,
    Searched,
    among,
    canonical,
    same,
)
from tuner.study_file.values import MOST
from tuner.trials import ParamValue


class NotFittingError(ValueError):
    """The value is impossible; the message says which would be possible."""


def fit(value: ParamValue, parameter: Searched) -> ParamValue:
    """Convert a value to the parameter's type, without checking its range.

    A family accepts no texts but its choices; numeric choices are only its usual sizes.
    """
    if isinstance(parameter, CategoricalParameter):
        return _choose(value, parameter.choices)
    if isinstance(parameter, FloatParameter):
        return _number(value)
    if isinstance(parameter, IntParameter):
        return _whole(value)
    if parameter.value is None:  # only the user knows the values, as for pretrained models
        return _text(value)
    # the type of a pinned value says what the family accepts instead
    if isinstance(parameter.value, bool):
        if not isinstance(value, bool):
            raise NotFittingError(f"must be true or false, is {a(value)}")
        return value
    if isinstance(parameter.value, int):
        return _whole(value)
    if isinstance(parameter.value, float):
        return _number(value)
    if not same(value, parameter.value):  # only the family knows which other texts it accepts
        raise NotFittingError(one_of(value, [parameter.value]))
    return value


def in_range(value: ParamValue, parameter: Searched) -> ParamValue:
    """Convert a value to the parameter's type; it must be one that the study can draw."""
    fitted = fit(value, parameter)
    if isinstance(parameter, FixedParameter):
        if not same(fitted, parameter.value):
            raise NotFittingError(f"is pinned to {written(parameter.value)}; is {a(value)}")
        return parameter.value
    if isinstance(parameter, CategoricalParameter):
        if not among(fitted, parameter.choices):
            raise NotFittingError(one_of(value, parameter.choices))
        return fitted
    fitted = canonical(fitted, parameter)
    assert is_number(fitted)
    low, high, step = parameter.low, parameter.high, parameter.step
    if not low <= fitted <= high:
        raise NotFittingError(
            f"must be between {written(low)} and {written(high)}, is {written(value)}"
        )
    if step is not None:
        steps = (fitted - low) / step
        if abs(steps - round(steps)) > 1e-6:
            raise NotFittingError(
                f"must be {written(low)} plus a multiple of {written(step)}, is {written(value)}"
            )
    return fitted


def numeric(parameter: Searched) -> bool:
    """Whether every value of the parameter is a number."""
    if isinstance(parameter, CategoricalParameter):
        return all(is_number(choice) for choice in parameter.choices)
    return not isinstance(parameter, FixedParameter) or is_number(parameter.value)


def whole(parameter: Searched) -> bool:
    """Whether every value of the parameter is a whole number."""
    if isinstance(parameter, CategoricalParameter):
        return all(isinstance(c, int) and is_number(c) for c in parameter.choices)
    if isinstance(parameter, FixedParameter):
        return isinstance(parameter.value, int) and is_number(parameter.value)
    return isinstance(parameter, IntParameter)


def is_number(value: ParamValue) -> TypeGuard[int | float]:
    """Whether a value is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _choose(value: ParamValue, choices: Sequence[ParamValue]) -> ParamValue:
    for choice in choices:
        if same(choice, value):
            return choice
    numbers = [choice for choice in choices if is_number(choice)]
    if len(numbers) < len(choices) or not is_number(value):
        raise NotFittingError(one_of(value, choices))
    if value <= 0 < min(numbers) or value < 0 <= min(numbers):
        bound = "above" if min(numbers) > 0 else "at least"
        raise NotFittingError(f"must be {bound} 0, is {a(value)}")
    return _whole(value) if all(isinstance(n, int) for n in numbers) else float(value)


def _text(value: ParamValue) -> str:
    if not isinstance(value, str) or not value.strip():
        raise NotFittingError(f"must be text, is {a(value)}")
    return value


def _number(value: ParamValue) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise NotFittingError(f"must be a number, is {a(value)}{decimal_comma(value)}")
    return float(value)


def _whole(value: ParamValue) -> int:
    if isinstance(value, float) and value.is_integer():
        if abs(value) > MOST:
            raise NotFittingError(f"must be a number of at most {len(str(MOST))} digits, is longer")
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise NotFittingError(f"must be a whole number, is {a(value)}{decimal_comma(value)}")
    return value
