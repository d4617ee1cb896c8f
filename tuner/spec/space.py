"""The search space: parameters, conditions between them and forbidden combinations."""

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializationInfo,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_serializer,
    field_validator,
    model_validator,
)

from tuner.spec.parameters import (
    FloatParameter,
    IntParameter,
    Parameter,
    among,
    describe,
    draw,
    values,
)
from tuner.spec.values import Number, Value
from tuner.spec.words import instead, problem, written
from tuner.trials import ParamValue


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

    def random(
        self, rng: random.Random, given: Mapping[str, ParamValue] = MappingProxyType({})
    ) -> dict[str, ParamValue]:
        """One draw, uniform (log-uniform where asked) in each active parameter that is not given.

        It may be a forbidden one.
        """
        params: dict[str, ParamValue] = {}
        for name, parameter in self.parameters.items():
            if self.is_active(name, params):
                params[name] = given[name] if name in given else draw(parameter, rng)
        return params

    def cells(self, limit: int) -> list[dict[str, ParamValue]] | None:
        """Every configuration that is not forbidden; None if these are endless or above `limit`."""
        found: list[dict[str, ParamValue]] = [{}]
        for name, parameter in self.parameters.items():
            options = values(parameter, limit)
            if options is None:
                return None
            found = [
                extended
                for params in found
                for extended in (
                    ({**params, name: value} for value in options)
                    if self.is_active(name, params)
                    else (params,)
                )
            ]
            if len(found) > limit:
                return None
        return [params for params in found if not self.is_forbidden(params)]

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
        return {name: describe(parameter) for name, parameter in self.parameters.items()}


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
