"""One parameter of a study file over the family's default of the same name."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from tuner.errors import Issue
from tuner.study_file.fit import NotFittingError, fit, numeric, whole
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

RANGE_KEYS = ("low", "high", "log", "step")


def complete(name: str, written: object) -> Parameter:
    """A parameter that a family's card defines, in the words and shorthands of study files.

    ValueError if anything is missing or wrong: there is no default to take it from.
    """
    if isinstance(written, Searched):
        return written
    made = merged(ParameterSpec.model_validate(written), None)
    if not isinstance(made, list):
        return made
    raise ValueError("; ".join(f"{name}.{issue}" for issue in made))


def merged(
    given: ParameterSpec, default: Searched | None, also: Sequence[ParamValue] = ()
) -> Parameter | list[Issue]:
    """The complete parameter, or everything that is wrong with it; without a default, by itself.

    `also` are choices that the family knows besides those which it searches by default.
    """
    keys = given.given
    known = default
    if isinstance(default, CategoricalParameter):
        known = default.model_copy(update={"choices": (*default.choices, *also)})
    elif isinstance(default, FixedParameter) and also:
        known = CategoricalParameter(choices=(default.value, *also))
    common: dict[str, Any] = {
        "structural": default.structural if default is not None else False,
        "when": dict(default.when) if default is not None else {},
    }
    if given.structural is not None:
        common["structural"] = given.structural
    if given.when is not None:
        common["when"] = given.when
    if "value" in keys:
        return _pinned(given.value, known, common)
    if given.choices is not None:
        return _chosen(given.choices, known, common)
    ranged = [key for key in RANGE_KEYS if key in keys]
    if not ranged and default is not None and given.type in (None, default.type):
        return default.model_copy(update=common)
    return _ranged(given, known, common)


def _pinned(
    value: ParamValue, default: Searched | None, common: dict[str, Any]
) -> Parameter | list[Issue]:
    if default is not None:
        try:
            value = fit(value, default)
        except NotFittingError as error:
            return [Issue(("value",), str(error))]
    return FixedParameter(value=value, **common)


def _chosen(
    choices: tuple[ParamValue, ...], default: Searched | None, common: dict[str, Any]
) -> Parameter | list[Issue]:
    found: list[Issue] = []
    fitted: list[ParamValue] = []
    for index, choice in enumerate(choices):
        try:
            fitted.append(choice if default is None else fit(choice, default))
        except NotFittingError as error:
            found.append(Issue(("choices", index), str(error)))
    if found:
        return found
    try:
        return CategoricalParameter(choices=tuple(fitted), **common)
    except ValidationError as error:
        return issues(error, CategoricalParameter)


def _ranged(
    given: ParameterSpec, default: Searched | None, common: dict[str, Any]
) -> Parameter | list[Issue]:
    first = next((key for key in RANGE_KEYS if getattr(given, key) is not None), "type")
    if default is not None and not numeric(default):
        options = default.choices if isinstance(default, CategoricalParameter) else ()
        end = f"the values are {listed(options)}" if options else "the family takes no number"
        return [Issue((first,), f"has no meaning here; {end}")]
    if given.type == "categorical":
        return [Issue(("choices",), "is missing")]
    wanted = _type(given, default)
    if default is not None and whole(default) and wanted == "float":
        return [Issue(("type",), "must be int; the family takes whole numbers")]
    fields = _inherited(given, default) if default is not None and default.type == wanted else {}
    fields.update({k: v for k in RANGE_KEYS if (v := getattr(given, k)) is not None})
    model = IntParameter if wanted == "int" else FloatParameter
    try:
        return model.model_validate({**fields, **common})
    except ValidationError as error:
        return issues(error, model)


def _inherited(given: ParameterSpec, default: Searched) -> dict[str, Any]:
    """What the file leaves to the family; a step and a log scale exclude each other."""
    fields = {key: getattr(default, key) for key in RANGE_KEYS}
    if given.log:
        fields.pop("step")
    elif given.step is not None:
        fields.pop("log")
    return {key: value for key, value in fields.items() if value is not None}


def _type(given: ParameterSpec, default: Searched | None) -> str:
    if given.type is not None:
        return given.type
    if default is not None:
        return "int" if whole(default) else "float"
    numbers = [n for n in (given.low, given.high, given.step) if n is not None]
    return "int" if all(isinstance(n, int) for n in numbers) else "float"
