"""The search space: parameters, conditions between them and forbidden combinations."""

import itertools
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

from tuner.study_file.messages import instead, problem, written
from tuner.study_file.parameters import (
    FixedParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    Searched,
    among,
    at,
    canonical,
    describe,
    draw,
    values,
)
from tuner.study_file.values import Number, Value, some
from tuner.trials import ParamValue


class Range(BaseModel):
    """Bounds in a forbidden combination: values strictly above and/or strictly below."""

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
        """Whether a number lies in the range; other values never do."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (self.above is None or value > self.above) and (
            self.below is None or value < self.below
        )


_VALUES: TypeAdapter[tuple[ParamValue, ...]] = TypeAdapter(tuple[Value, ...])


def _rule(rule: Any, _: ValidatorFunctionWrapHandler) -> Any:
    """Choose the branch of the union by type, so that errors name only what was meant.

    `{optimizer: sgd}` means `{optimizer: [sgd]}`.
    """
    if isinstance(rule, Range | Mapping):
        return Range.model_validate(rule)
    return some(_VALUES.validate_python(rule if isinstance(rule, list | tuple) else [rule]))


MAX_CELLS = 10_000  # up to so many configurations a space counts as small

Rule = Annotated[Range | tuple[Value, ...], WrapValidator(_rule)]
Combination = dict[str, Rule]


class Space(BaseModel):
    """All parameters of a study, each after those that it depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: dict[str, Parameter]
    forbidden: tuple[Combination, ...] = ()

    @field_validator("parameters", mode="before")
    @classmethod
    def _from_list(cls, parameters: Any) -> Any:
        if isinstance(parameters, list | tuple):
            return {
                entry["name"]: {k: v for k, v in entry.items() if k != "name"}
                for entry in parameters
            }
        return parameters

    @field_serializer("parameters", when_used="json")
    def _as_list(self, parameters: dict[str, Any], _: SerializationInfo) -> list[dict[str, Any]]:
        """Restore the order: PostgreSQL's jsonb keeps the order of lists, not of keys."""
        return [{"name": n, **p.model_dump(mode="json")} for n, p in parameters.items()]

    @model_validator(mode="after")
    def _check(self) -> "Space":
        ordered = _in_order_of_dependence(self.parameters)
        for name, parameter in ordered.items():
            when = {
                parent: tuple(canonical(value, ordered[parent]) for value in allowed)
                for parent, allowed in parameter.when.items()
            }
            if when != parameter.when:
                ordered[name] = parameter.model_copy(update={"when": when})
        object.__setattr__(self, "parameters", ordered)
        for index, combination in enumerate(self.forbidden):
            if not combination:
                raise problem("must name at least one parameter", "forbidden", index)
            for name in combination:
                if name not in self.parameters:
                    end = instead(name, self.parameters)
                    raise problem(f"there is no parameter `{name}`{end}", "forbidden", index, name)
        if self.forbidden:
            forbidden = tuple(
                {name: _canonical(rule, self.parameters[name]) for name, rule in entry.items()}
                for entry in self.forbidden
            )
            object.__setattr__(self, "forbidden", forbidden)
            _refuse_nothing_allowed(self)
        return self

    def is_active(self, name: str, params: Mapping[str, ParamValue]) -> bool:
        """Whether `name` is searched, given the values of the parameters before it."""
        return all(
            key in params and among(canonical(params[key], self.parameters[key]), allowed)
            for key, allowed in self.parameters[name].when.items()
        )

    def is_forbidden(self, params: Mapping[str, ParamValue]) -> bool:
        """Whether the parameters match one of the forbidden combinations."""
        return any(
            all(
                name in params and _holds(rule, canonical(params[name], self.parameters[name]))
                for name, rule in combination.items()
            )
            for combination in self.forbidden
        )

    def random(
        self, rng: random.Random, pinned: Mapping[str, ParamValue] = MappingProxyType({})
    ) -> dict[str, ParamValue]:
        """Draw uniformly (log-uniformly where asked) every active parameter not in `pinned`.

        The draw may be forbidden.
        """
        params: dict[str, ParamValue] = {}
        for name, parameter in self.parameters.items():
            if self.is_active(name, params):
                value = pinned[name] if name in pinned else draw(parameter, rng)
                params[name] = canonical(value, parameter)
        return params

    def cells(self, limit: int) -> list[dict[str, ParamValue]] | None:
        """Return every configuration that is not forbidden; None if there are more than `limit`."""
        cells: list[dict[str, ParamValue]] = [{}]
        for name, parameter in self.parameters.items():
            options = values(parameter, limit)
            if options is None:
                return None
            extended = (
                {**params, **value}
                for params in cells
                for value in (
                    ({name: option} for option in options)
                    if self.is_active(name, params)
                    else ({},)
                )
            )
            cells = list(itertools.islice(extended, limit + 1))
            if len(cells) > limit:
                return None
        return [params for params in cells if not self.is_forbidden(params)]

    def complete(self, params: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
        """Return these parameters and the active pinned ones beside them, in order."""
        out: dict[str, ParamValue] = {}
        for name, parameter in self.parameters.items():
            if name in params:
                out[name] = params[name]
            elif isinstance(parameter, FixedParameter) and self.is_active(name, out):
                out[name] = parameter.value
        return out

    def pinned(self, params: Mapping[str, ParamValue]) -> dict[str, dict[str, Any]]:
        """Return the `search` section of a study file that allows only this configuration."""
        out: dict[str, dict[str, Any]] = {}
        for name, parameter in self.parameters.items():
            # an inactive parameter keeps its condition, beside a value that is never used
            out[name] = {"value": params.get(name, at(parameter, 0.0))}
            if parameter.when:
                out[name]["when"] = {key: list(allowed) for key, allowed in parameter.when.items()}
        return out

    @property
    def log_parameters(self) -> frozenset[str]:
        """Names of the parameters that are searched on a log scale."""
        return frozenset(
            name
            for name, parameter in self.parameters.items()
            if isinstance(parameter, FloatParameter | IntParameter) and parameter.log
        )

    def describe(self) -> dict[str, str]:
        """Return each parameter's range as a short text for people."""
        return {name: describe(parameter) for name, parameter in self.parameters.items()}


def _holds(rule: Range | tuple[ParamValue, ...], value: ParamValue) -> bool:
    return rule.holds(value) if isinstance(rule, Range) else among(value, rule)


def _canonical(
    rule: Range | tuple[ParamValue, ...], parameter: Searched
) -> Range | tuple[ParamValue, ...]:
    if isinstance(rule, Range):
        bounds = {key: canonical(bound, parameter) for key, bound in rule if bound is not None}
        return rule.model_copy(update=bounds)
    return tuple(canonical(value, parameter) for value in rule)


def _in_order_of_dependence(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Sort parents before children, keeping the file's order; refuse unknown parents, cycles."""
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
            circle = _circle(remaining)
            cycle = " → ".join(f"`{name}`" for name in (*circle, circle[0]))
            raise problem(f"the conditions form a circle: {cycle}", "search", circle[0], "when")
        for name in ready:
            ordered[name] = remaining.pop(name)
    return ordered


def _circle(stuck: Mapping[str, Searched]) -> list[str]:
    """Return a cycle among parameters that all depend on another of them."""
    path = [next(iter(stuck))]
    while True:
        parent = next(p for p in stuck[path[-1]].when if p in stuck)
        if parent in path:
            return path[path.index(parent) :]
        path.append(parent)


def _refuse_nothing_allowed(space: Space) -> None:
    cells = space.cells(MAX_CELLS)
    if cells == []:
        raise problem("forbids everything", "forbidden")
    if cells is not None:
        return
    rng = random.Random(0)
    draws = max(100, min(10_000, 300_000 // len(space.forbidden)))  # half a second
    if all(space.is_forbidden(space.random(rng)) for _ in range(draws)):
        raise problem(
            f"forbids everything: none of {draws:,} random draws was allowed", "forbidden"
        )
