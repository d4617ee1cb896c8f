"""The search space: parameters, conditions between them and forbidden combinations.

Plain frozen values without Optuna: `search/` turns them into distributions.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from tuner.trials import ParamValue

Condition = Mapping[str, tuple[ParamValue, ...]]


class _Parameter(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    structural: bool = Field(
        default=False,
        description="Changes tensor shapes or the batch, so such trials cannot be trained fused.",
    )
    when: dict[str, tuple[ParamValue, ...]] = Field(
        default_factory=dict,
        description="Searched only where every named parameter has one of these values.",
    )


class FloatParameter(_Parameter):
    """A real number in [low, high]."""

    type: Literal["float"] = "float"
    low: float
    high: float
    log: bool = False
    step: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check(self) -> "FloatParameter":
        _check_range(self.low, self.high, self.log, self.step)
        return self


class IntParameter(_Parameter):
    """A whole number in [low, high]."""

    type: Literal["int"] = "int"
    low: int
    high: int
    log: bool = False
    step: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _check(self) -> "IntParameter":
        _check_range(self.low, self.high, self.log, self.step if self.step != 1 else None)
        return self


class CategoricalParameter(_Parameter):
    """One of several values; their order carries no meaning."""

    type: Literal["categorical"] = "categorical"
    choices: tuple[ParamValue, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> "CategoricalParameter":
        # 1, 1.0 and True are equal in Python but different choices to a user
        seen = {(type(choice), choice) for choice in self.choices}
        if len(seen) != len(self.choices):
            raise ValueError("choices: has the same value twice")
        return self


class FixedParameter(_Parameter):
    """A pinned value: not searched, but part of every trial's parameters."""

    type: Literal["fixed"] = "fixed"
    value: ParamValue


Parameter = Annotated[
    FloatParameter | IntParameter | CategoricalParameter | FixedParameter,
    Field(discriminator="type"),
]


def _check_range(low: float, high: float, log: bool, step: float | None) -> None:
    if low >= high:
        raise ValueError(f"low: must be below high ({high:g}), is {low:g}")
    if log and low <= 0:
        raise ValueError(f"low: must be above 0 with `log: true`, is {low:g}")
    if log and step is not None:
        raise ValueError("step: cannot be combined with `log: true`; remove one of them")


class Range(BaseModel):
    """A bound in a forbidden combination: the values strictly above and/or strictly below."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _check(self) -> "Range":
        if self.above is None and self.below is None:
            raise ValueError("needs `above`, `below` or both")
        return self

    def holds(self, value: ParamValue) -> bool:
        """Whether a numeric value lies in the range; other values never do."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (self.above is None or value > self.above) and (
            self.below is None or value < self.below
        )


Forbidden = Mapping[str, Range | tuple[ParamValue, ...]]


class Space(BaseModel):
    """Every parameter of a study in an order in which each comes after those it depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: dict[str, Parameter]
    forbidden: tuple[dict[str, Range | tuple[ParamValue, ...]], ...] = ()

    @model_validator(mode="after")
    def _check(self, _info: ValidationInfo) -> "Space":
        ordered = _in_order_of_dependence(self.parameters)
        object.__setattr__(self, "parameters", ordered)
        for index, combination in enumerate(self.forbidden):
            for name in combination:
                if name not in self.parameters:
                    raise ValueError(f"forbidden.{index}: there is no parameter `{name}`")
        if self.forbidden and not _has_allowed_draw(self):
            raise ValueError("forbidden: no allowed combination was found in 10,000 random draws")
        return self

    def is_active(self, name: str, params: Mapping[str, ParamValue]) -> bool:
        """Whether `name` is searched, given the parameters before it."""
        return all(
            key in params and _among(params[key], allowed)
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
                    else _among(params[name], rule)
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
    parameter: FloatParameter | IntParameter | CategoricalParameter | FixedParameter,
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
        value = math.exp(rng.uniform(math.log(parameter.low), math.log(parameter.high)))
        return min(max(value, parameter.low), parameter.high)
    if parameter.step is not None:
        steps = int((parameter.high - parameter.low) / parameter.step + 1e-9)
        return parameter.low + parameter.step * rng.randint(0, steps)
    return rng.uniform(parameter.low, parameter.high)


def same(a: ParamValue, b: ParamValue) -> bool:
    """Equality as a user means it: numbers compare by value, but True is not 1."""
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def _among(value: ParamValue, allowed: Sequence[ParamValue]) -> bool:
    return any(same(value, other) for other in allowed)


def _in_order_of_dependence(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parents before children, otherwise the order of the file; refuses unknown parents, cycles."""
    ordered: dict[str, Any] = {}
    for name, parameter in parameters.items():
        for parent in parameter.when:
            if parent not in parameters:
                raise ValueError(f"search.{name}.when: there is no parameter `{parent}`")
    remaining = dict(parameters)
    while remaining:
        ready = [
            name for name, p in remaining.items() if all(parent in ordered for parent in p.when)
        ]
        if not ready:
            raise ValueError(
                f"search.{next(iter(remaining))}.when: the conditions form a circle through "
                + ", ".join(f"`{name}`" for name in remaining)
            )
        for name in ready:
            ordered[name] = remaining.pop(name)
    return ordered


def _has_allowed_draw(space: Space) -> bool:
    rng = random.Random(0)
    return any(not space.is_forbidden(space.random(rng)) for _ in range(10_000))


def _describe(
    parameter: FloatParameter | IntParameter | CategoricalParameter | FixedParameter,
) -> str:
    if isinstance(parameter, FixedParameter):
        return f"{parameter.value} (fixed)"
    if isinstance(parameter, CategoricalParameter):
        text = ", ".join(str(choice) for choice in parameter.choices)
    else:
        text = f"{parameter.low:g} … {parameter.high:g}"
        if parameter.log:
            text += " (log)"
        elif parameter.step not in (None, 1):
            text += f" in steps of {parameter.step:g}"
    if parameter.when:
        text += " when " + " and ".join(
            f"{name} is {' or '.join(map(str, allowed))}"
            for name, allowed in parameter.when.items()
        )
    return text
