"""The search space: parameters, conditions between them and forbidden combinations.

Plain frozen values without Optuna: `search/` turns them into distributions.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializationInfo,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_serializer,
    field_validator,
    model_validator,
)

from tuner.spec.values import Flag, Number, Real, Value, Whole
from tuner.spec.words import instead, problem, written
from tuner.trials import ParamValue

Condition = Mapping[str, tuple[ParamValue, ...]]


class _Parameter(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    structural: Flag = Field(
        default=False,
        description="Changes tensor shapes or the batch, so such trials cannot be trained fused.",
    )
    when: dict[str, tuple[Value, ...]] = Field(
        default_factory=dict,
        description="Searched only where every named parameter has one of these values.",
    )


class FloatParameter(_Parameter):
    """A real number in [low, high]."""

    type: Literal["float"] = "float"
    low: Real
    high: Real
    log: Flag = False
    step: Annotated[Real, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _check(self) -> "FloatParameter":
        _check_range(self.low, self.high, self.log, self.step)
        return self


class IntParameter(_Parameter):
    """A whole number in [low, high]."""

    type: Literal["int"] = "int"
    low: Whole
    high: Whole
    log: Flag = False
    step: Whole = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _check(self) -> "IntParameter":
        _check_range(self.low, self.high, self.log, self.step if self.step != 1 else None)
        return self


class CategoricalParameter(_Parameter):
    """One of several values; their order carries no meaning."""

    type: Literal["categorical"] = "categorical"
    choices: tuple[Value, ...]

    @model_validator(mode="after")
    def _check(self) -> "CategoricalParameter":
        if not self.choices:
            raise problem("must have at least one value", "choices")
        for index, choice in enumerate(self.choices):
            # Optuna finds a choice by `==`, so of 1, 1.0 and True it would only see the first
            if choice in self.choices[:index]:
                first = self.choices[self.choices.index(choice)]
                twice = f"{written(choice)} is there twice"
                equal = f"{choice} equals {first}, so a trial could not tell them apart"
                message = twice if type(first) is type(choice) else equal
                raise problem(message, "choices", index)
        return self


class FixedParameter(_Parameter):
    """A pinned value: not searched, but part of every trial's parameters."""

    type: Literal["fixed"] = "fixed"
    value: Value


Parameter = Annotated[
    FloatParameter | IntParameter | CategoricalParameter | FixedParameter,
    Field(discriminator="type"),
]


Searched = FloatParameter | IntParameter | CategoricalParameter | FixedParameter


def _check_range(low: float, high: float, log: bool, step: float | None) -> None:
    if low == high:
        raise problem(
            f"must be below high ({written(high)}); to pin it, give the value alone", "low"
        )
    if low > high:
        raise problem(f"must be below high ({written(high)}), is {written(low)}", "low")
    if log and low <= 0:
        raise problem(f"must be above 0 with `log: true`, is {written(low)}", "low")
    if log and step is not None:
        raise problem("cannot be combined with `log: true`; remove one of them", "step")
    if step is not None and step > high - low:
        raise problem(f"must be at most high - low, is {written(step)}", "step")
    if not math.isfinite(float(high) - float(low)):
        raise problem("high - low is too large to compute with", "high")


class Range(BaseModel):
    """A bound in a forbidden combination: the values strictly above and/or strictly below."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    above: Number | None = None
    below: Number | None = None

    @model_validator(mode="after")
    def _check(self) -> "Range":
        if self.above is None and self.below is None:
            raise problem("must have `above`, `below` or both")
        if self.above is not None and self.below is not None and self.above >= self.below:
            raise problem(f"must be below {written(self.below)}, is {written(self.above)}", "above")
        return self

    def holds(self, value: ParamValue) -> bool:
        """Whether a numeric value lies in the range; other values never do."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (self.above is None or value > self.above) and (
            self.below is None or value < self.below
        )


_VALUES: TypeAdapter[tuple[ParamValue, ...]] = TypeAdapter(tuple[Value, ...])


def _rule(given: Any, _: ValidatorFunctionWrapHandler) -> Any:
    """Takes the branch of the union by the given type, so that errors name only what was meant.

    `{optimizer: sgd}` means `{optimizer: [sgd]}`.
    """
    if isinstance(given, Range | Mapping):
        return Range.model_validate(given)
    values = _VALUES.validate_python(given if isinstance(given, list | tuple) else [given])
    if not values:
        raise problem("must have at least one value")
    return values


Rule = Annotated[Range | tuple[Value, ...], WrapValidator(_rule)]
Combination = dict[str, Rule]
Forbidden = Mapping[str, Range | tuple[ParamValue, ...]]


class Space(BaseModel):
    """Every parameter of a study in an order in which each comes after those it depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: dict[str, Parameter]
    forbidden: tuple[Combination, ...] = ()

    @field_validator("parameters", mode="before")
    @classmethod
    def _from_list(cls, given: Any) -> Any:
        if isinstance(given, list | tuple):
            return {
                entry["name"]: {k: v for k, v in entry.items() if k != "name"} for entry in given
            }
        return given

    @field_serializer("parameters", when_used="json")
    def _as_list(self, parameters: dict[str, Any], _: SerializationInfo) -> list[dict[str, Any]]:
        """PostgreSQL's jsonb forgets the order of keys, but the order of a list it keeps."""
        return [{"name": n, **p.model_dump(mode="json")} for n, p in parameters.items()]

    @model_validator(mode="after")
    def _check(self) -> "Space":
        ordered = _in_order_of_dependence(self.parameters)
        object.__setattr__(self, "parameters", ordered)
        for index, combination in enumerate(self.forbidden):
            if not combination:
                raise problem("must name at least one parameter", "forbidden", index)
            for name in combination:
                if name not in self.parameters:
                    end = instead(name, self.parameters)
                    raise problem(f"there is no parameter `{name}`{end}", "forbidden", index, name)
        if self.forbidden and not _has_allowed_draw(self):
            raise problem("forbids everything: 10,000 random draws held none allowed", "forbidden")
        return self

    def is_active(self, name: str, params: Mapping[str, ParamValue]) -> bool:
        """Whether `name` is searched, given the parameters before it."""
        return all(
            key in params and among(params[key], allowed)
            for key, allowed in self.parameters[name].when.items()
        )

    def is_forbidden(self, params: Mapping[str, ParamValue]) -> bool:
        """Whether the parameters form one of the forbidden combinations."""
        return any(
            all(
                name in params
                and (
                    rule.holds(params[name])
                    if isinstance(rule, Range)
                    else among(params[name], rule)
                )
                for name, rule in combination.items()
            )
            for combination in self.forbidden
        )

    def random(self, rng: random.Random) -> dict[str, ParamValue]:
        """One draw, uniform (log-uniform where asked) in each active parameter."""
        params: dict[str, ParamValue] = {}
        for name, parameter in self.parameters.items():
            if self.is_active(name, params):
                params[name] = draw(parameter, rng)
        return params

    @property
    def log_parameters(self) -> frozenset[str]:
        """Names of the parameters that are searched on a log scale."""
        return frozenset(
            name
            for name, parameter in self.parameters.items()
            if isinstance(parameter, FloatParameter | IntParameter) and parameter.log
        )

    def describe(self) -> dict[str, str]:
        """Each parameter's range as a short text, for people."""
        return {name: _describe(parameter) for name, parameter in self.parameters.items()}


def draw(
    parameter: Searched,
    rng: random.Random,
) -> ParamValue:
    """One random value of a parameter."""
    if isinstance(parameter, FixedParameter):
        return parameter.value
    if isinstance(parameter, CategoricalParameter):
        return rng.choice(parameter.choices)
    if isinstance(parameter, IntParameter):
        if parameter.log:
            value = round(math.exp(rng.uniform(math.log(parameter.low), math.log(parameter.high))))
            return min(max(value, parameter.low), parameter.high)
        return rng.randrange(parameter.low, parameter.high + 1, parameter.step)
    if parameter.log:
        real = math.exp(rng.uniform(math.log(parameter.low), math.log(parameter.high)))
        return min(max(real, parameter.low), parameter.high)
    if parameter.step is not None:
        steps = int((parameter.high - parameter.low) / parameter.step + 1e-9)
        real = parameter.low + parameter.step * rng.randint(0, steps)
        return min(real, parameter.high)  # 3 * 0.1 is above 0.3
    return rng.uniform(parameter.low, parameter.high)


def same(a: ParamValue, b: ParamValue) -> bool:
    """Equality as a user means it: numbers compare by value, but True is not 1."""
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def among(value: ParamValue, allowed: Sequence[ParamValue]) -> bool:
    """Whether a value is one of several, as a user means it."""
    return any(same(value, other) for other in allowed)


def _in_order_of_dependence(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parents before children, otherwise the order of the file; refuses unknown parents, cycles."""
    ordered: dict[str, Any] = {}
    for name, parameter in parameters.items():
        for parent in parameter.when:
            if parent not in parameters:
                end = instead(parent, parameters)
                raise problem(
                    f"there is no parameter `{parent}`{end}", "search", name, "when", parent
                )
    remaining = dict(parameters)
    while remaining:
        ready = [
            name for name, p in remaining.items() if all(parent in ordered for parent in p.when)
        ]
        if not ready:
            circle = ", ".join(f"`{name}`" for name in remaining)
            first = next(iter(remaining))
            raise problem(f"the conditions form a circle through {circle}", "search", first, "when")
        for name in ready:
            ordered[name] = remaining.pop(name)
    return ordered


def _has_allowed_draw(space: Space) -> bool:
    rng = random.Random(0)
    return any(not space.is_forbidden(space.random(rng)) for _ in range(10_000))


def _describe(parameter: Searched) -> str:
    if isinstance(parameter, FixedParameter):
        return f"{written(parameter.value)} (fixed)"
    if isinstance(parameter, CategoricalParameter):
        text = ", ".join(written(choice) for choice in parameter.choices)
    else:
        text = f"{parameter.low:g} … {parameter.high:g}"
        if parameter.log:
            text += " (log)"
        elif parameter.step not in (None, 1):
            text += f" in steps of {parameter.step:g}"
    if parameter.when:
        text += " when " + " and ".join(
            f"{name} is {' or '.join(map(written, allowed))}"
            for name, allowed in parameter.when.items()
        )
    return text
