"""Merge one parameter of a study file over the family's default of the same name."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from tuner.errors import Issue
from tuner.study_file.fit import NotFittingError, fit, in_range, numeric, whole
from tuner.study_file.messages import issues, listed
from tuner.study_file.parameters import (
    CategoricalParameter,
    FixedParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    Searched,
)
from tuner.study_file.study import ParameterSpec
from tuner.trials import ParamValue

RANGE_KEYS = ("low", "high", "log", "step", "points")


def complete(name: str, parameter: object) -> Parameter:
    """Return a parameter of a family's card, written with the shorthands of study files.

    ValueError if anything is missing or wrong, for there is no default to fall back on.
    """
    if isinstance(parameter, Searched):
        return parameter
    merged_parameter = merge(ParameterSpec.model_validate(parameter), None)
    if not isinstance(merged_parameter, list):
        return merged_parameter
    raise ValueError("; ".join(f"{name}.{issue}" for issue in merged_parameter))


def merge(
    overrides: ParameterSpec, default: Searched | None, also: Sequence[ParamValue] = ()
) -> Parameter | list[Issue]:
    """Return the complete parameter, or all that is wrong with it; the default may be None.

    `also` are choices that the family supports but does not search by default.
    """
    parameter = _merge(overrides, default, also)
    if isinstance(parameter, list) or overrides.prior is None:
        return parameter
    if isinstance(parameter, FixedParameter):
        sentence = "has no meaning: the family pins the parameter; name a range or choices as well"
        return [Issue(("prior",), sentence)]
    try:
        prior = in_range(overrides.prior, parameter)
    except NotFittingError as error:
        return [Issue(("prior",), str(error))]
    strength = overrides.prior_strength
    return parameter.model_copy(update={"prior": prior, "prior_strength": strength})


def _merge(
    overrides: ParameterSpec, default: Searched | None, also: Sequence[ParamValue]
) -> Parameter | list[Issue]:
    keys = overrides.keys
    possible = default
    if isinstance(default, CategoricalParameter):
        possible = default.model_copy(update={"choices": (*default.choices, *also)})
    elif isinstance(default, FixedParameter) and also:
        possible = CategoricalParameter(choices=(default.value, *also))
    common: dict[str, Any] = {
        "structural": default.structural if default is not None else False,
        "when": dict(default.when) if default is not None else {},
    }
    if overrides.structural is not None:
        common["structural"] = overrides.structural
    if overrides.when is not None:
        common["when"] = overrides.when
    if "value" in keys:
        return _pin(overrides.value, possible, common)
    if overrides.choices is not None:
        return _choose(overrides.choices, possible, common)
    ranged = [key for key in RANGE_KEYS if key in keys]
    if not ranged and default is not None and overrides.type in (None, default.type):
        return default.model_copy(update=common)
    return _span(overrides, possible, common)


def _pin(
    value: ParamValue, default: Searched | None, common: dict[str, Any]
) -> Parameter | list[Issue]:
    if default is not None:
        try:
            value = fit(value, default)
        except NotFittingError as error:
            return [Issue(("value",), str(error))]
    return FixedParameter(value=value, **common)


def _choose(
    choices: tuple[ParamValue, ...], default: Searched | None, common: dict[str, Any]
) -> Parameter | list[Issue]:
    problems: list[Issue] = []
    fitted: list[ParamValue] = []
    for index, choice in enumerate(choices):
        try:
            fitted.append(choice if default is None else fit(choice, default))
        except NotFittingError as error:
            problems.append(Issue(("choices", index), str(error)))
    if problems:
        return problems
    try:
        return CategoricalParameter(choices=tuple(fitted), **common)
    except ValidationError as error:
        return issues(error, CategoricalParameter)


def _span(
    overrides: ParameterSpec, default: Searched | None, common: dict[str, Any]
) -> Parameter | list[Issue]:
    first = next((key for key in RANGE_KEYS if getattr(overrides, key) is not None), "type")
    if default is not None and not numeric(default):
        options = default.choices if isinstance(default, CategoricalParameter) else ()
        end = f"the values are {listed(options)}" if options else "the family takes no number"
        return [Issue((first,), f"has no meaning here; {end}")]
    if overrides.type == "categorical":
        return [Issue(("choices",), "is missing")]
    kind = _type(overrides, default)
    if default is not None and whole(default) and kind == "float":
        return [Issue(("type",), "must be int; the family takes whole numbers")]
    fields = _inherit(overrides, default) if default is not None and default.type == kind else {}
    fields.update({k: v for k in RANGE_KEYS if (v := getattr(overrides, k)) is not None})
    model = IntParameter if kind == "int" else FloatParameter
    try:
        return model.model_validate({**fields, **common})
    except ValidationError as error:
        return issues(error, model)


def _inherit(overrides: ParameterSpec, default: Searched) -> dict[str, Any]:
    """Return the fields that the file leaves to the family; step and log exclude each other."""
    fields = {key: getattr(default, key) for key in RANGE_KEYS}
    if overrides.log:
        fields.pop("step")
    elif overrides.step is not None:
        fields.pop("log")
    return {key: value for key, value in fields.items() if value is not None}


def _type(overrides: ParameterSpec, default: Searched | None) -> str:
    if overrides.type is not None:
        return overrides.type
    if default is not None:
        return "int" if whole(default) else "float"
    numbers = [n for n in (overrides.low, overrides.high, overrides.step) if n is not None]
    return "int" if all(isinstance(n, int) for n in numbers) else "float"
