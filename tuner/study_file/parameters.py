"""The kinds of parameters of a search space: a range, choices, or a pinned value.

Plain frozen values without Optuna: `search/` turns them into distributions.
"""

import math
import random
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tuner.study_file.messages import problem, written
from tuner.study_file.values import Flag, Real, Value, Whole
from tuner.trials import ParamValue

STEP_TOLERANCE = Fraction(1, 1_000_000)  # of a step: a value this far off still lies on it
MAX_POINTS = 10_000
PRIOR_STRENGTH = 5.0  # trials
MAX_STRENGTH = 1e6
MAX_WHOLE = 2**53  # beyond it, floats skip whole numbers, and Optuna and JSON use floats


class _Parameter(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    structural: Flag = Field(
        default=False,
        description="Changes tensor shapes or the batch, so trials that differ in "
        "it cannot be fused.",
    )
    when: dict[str, tuple[Value, ...]] = Field(
        default_factory=dict,
        description="Searched only if every named parameter has one of these values.",
    )


_Points = Annotated[Whole, Field(ge=1, le=MAX_POINTS)] | None  # values on a grid; None: all steps


class _Open(_Parameter):
    """A parameter with more than one value."""

    prior: Value = Field(default=None, description="Where the user expects the best value.")
    prior_strength: Annotated[Real, Field(gt=0, le=MAX_STRENGTH)] | None = Field(
        default=None,
        description="Number of trials up to which the prior counts fully; "
        f"by default {PRIOR_STRENGTH:g}.",
    )


class FloatParameter(_Open):
    """A real number in [low, high]."""

    type: Literal["float"] = "float"
    low: Real
    high: Real
    log: Flag = False
    step: Annotated[Real, Field(gt=0)] | None = None
    points: _Points = None

    @model_validator(mode="after")
    def _check(self) -> "FloatParameter":
        _check_range(self.low, self.high, self.log, self.step)
        return self


def _searchable(value: Any) -> Any:
    if isinstance(value, int | float) and abs(value) > MAX_WHOLE:
        raise problem("is too large: whole numbers up to 2^53 can be searched")
    return value


_End = Annotated[Whole, BeforeValidator(_searchable)]


class IntParameter(_Open):
    """A whole number in [low, high]."""

    type: Literal["int"] = "int"
    low: _End
    high: _End
    log: Flag = False
    step: Whole = Field(default=1, ge=1)
    points: _Points = None

    @model_validator(mode="after")
    def _check(self) -> "IntParameter":
        _check_range(self.low, self.high, self.log, self.step if self.step != 1 else None)
        return self


class CategoricalParameter(_Open):
    """One of several values; their order carries no meaning."""

    type: Literal["categorical"] = "categorical"
    choices: tuple[Value, ...]

    @model_validator(mode="after")
    def _check(self) -> "CategoricalParameter":
        if not self.choices:
            raise problem("must have at least one value", "choices")
        choices_so_far: dict[ParamValue, ParamValue] = {}
        for index, choice in enumerate(self.choices):
            # Optuna looks up choices with `==`: of 1, 1.0 and True it would only see the first
            first = choices_so_far.setdefault(choice, choice)
            if len(choices_so_far) <= index:
                twice = f"{written(choice)} appears twice"
                if _may_have_commas(self.choices):
                    twice += "; decimals are written with a point, as 0.5"
                equal = f"{choice} equals {first}, so a trial could not tell them apart"
                message = twice if type(first) is type(choice) else equal
                raise problem(message, "choices", index)
        return self


def _may_have_commas(choices: tuple[ParamValue, ...]) -> bool:
    """Whether a list may have been written as `[0,5, 1,5]`."""
    are_whole = all(isinstance(value, int | float) and value % 1 == 0 for value in choices)
    return are_whole and len(choices) >= 4 and len(choices) % 2 == 0


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
    if step is not None and (high - low) / step > MAX_WHOLE:
        raise problem(f"is too small: {written(low)} to {written(high)} has too many steps", "step")


def draw(parameter: Searched, rng: random.Random) -> ParamValue:
    """Draw a random value of a parameter, uniform on its scale."""
    return at(parameter, rng.random())


def at(parameter: Searched, share: float) -> ParamValue:
    """Return the value at a fraction `share` in [0, 1) of the parameter's scale."""
    if isinstance(parameter, FixedParameter):
        return parameter.value
    if isinstance(parameter, CategoricalParameter):
        return parameter.choices[int(share * len(parameter.choices))]
    low, high = parameter.low, parameter.high
    if isinstance(parameter, IntParameter):
        if parameter.log:  # half a step around, so that the ends are as likely as their neighbours
            return min(max(round(_between_logs(low - 0.5, high + 0.5, share)), low), high)
        return after(parameter, int(share * (steps(parameter) + 1)))
    if parameter.log:
        return min(max(_between_logs(low, high, share), low), high)
    if parameter.step is not None:
        return after(parameter, int(share * (steps(parameter) + 1)))
    return min(low + share * (high - low), high)


def share_of(parameter: FloatParameter | IntParameter, value: float) -> float:
    """Return the fraction of the scale at which a value lies; the ends for one beyond them.

    A value with steps lies in the middle of the fractions that lead to it.
    """
    low, high = parameter.low, parameter.high
    value = min(max(value, low), high)
    if parameter.log:
        half = 0.5 if isinstance(parameter, IntParameter) else 0.0
        start, end = math.log(low - half), math.log(high + half)
        return (math.log(value) - start) / (end - start)
    if isinstance(parameter, FloatParameter) and parameter.step is None:
        return (value - low) / (high - low)
    step = parameter.step or 1
    return min((round((value - low) / step) + 0.5) / (steps(parameter) + 1), 1.0)


def _between_logs(low: float, high: float, share: float) -> float:
    return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))


def values(parameter: Searched, limit: int) -> Sequence[ParamValue] | None:
    """Return all values that the parameter can take; None if there are more than `limit`."""
    if isinstance(parameter, FixedParameter):
        return [parameter.value]
    if isinstance(parameter, CategoricalParameter):
        return parameter.choices if len(parameter.choices) <= limit else None
    if isinstance(parameter, FloatParameter) and parameter.step is None:
        return None
    last = steps(parameter)
    return None if last >= limit else [after(parameter, n) for n in range(last + 1)]


def steps(parameter: FloatParameter | IntParameter) -> int:
    """Count the steps that fit between low and high, in the decimals as written.

    Optuna counts this way and draws nothing beyond the last step; in floats, 0.3 / 0.1 is below 3.
    """
    if isinstance(parameter, IntParameter):
        return (parameter.high - parameter.low) // parameter.step
    low, high, step = (Fraction(str(n)) for n in (parameter.low, parameter.high, parameter.step))
    return (high - low) // step


def after(parameter: FloatParameter | IntParameter, count: int) -> int | float:
    """Return the value so many steps above low; in floats, 3 * 0.1 is above 0.3."""
    if isinstance(parameter, IntParameter):
        return parameter.low + parameter.step * count
    return float(Fraction(str(parameter.low)) + Fraction(str(parameter.step)) * count)


def canonical(value: ParamValue, parameter: Searched) -> ParamValue:
    """Return the value in the decimals of the step: 0.3, not 3 * 0.1 = 0.30000000000000004."""
    if not isinstance(parameter, FloatParameter) or parameter.step is None:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return on_step(value, parameter.low, parameter.step)


@lru_cache(maxsize=4096)
def on_step(value: float, low: float, step: float) -> float:
    """Round `value` to `low` plus a whole number of steps if only rounding separates them.

    A value between two steps, which users may enqueue, stays as it is.
    """
    if not math.isfinite(value):
        return value
    start, width = Fraction(str(low)), Fraction(str(step))
    nearest = start + width * round((Fraction(value) - start) / width)
    # with large numbers and small steps, rounding errors are a larger part of a step
    rounding = 4 * math.ulp(max(abs(value), abs(low)))
    if abs(nearest - Fraction(value)) > max(STEP_TOLERANCE * width, Fraction(rounding)):
        return value
    return float(nearest)


def describe(parameter: Searched) -> str:
    """Return the range as a short text for people."""
    if isinstance(parameter, FixedParameter):
        return f"{written(parameter.value)} (fixed)"
    if isinstance(parameter, CategoricalParameter):
        text = ", ".join(written(choice) for choice in parameter.choices)
    else:
        kind: list[str] = [parameter.type]
        if parameter.log:
            kind.append("log")
        elif parameter.step != (1 if isinstance(parameter, IntParameter) else None):
            kind.append(f"steps of {written(parameter.step)}")
        text = f"{written(parameter.low)} … {written(parameter.high)} ({', '.join(kind)})"
    if parameter.prior is not None:
        text += f", expected near {written(parameter.prior)}"
    if parameter.when:
        text += " when " + " and ".join(
            f"{name} is {' or '.join(map(written, allowed))}"
            for name, allowed in parameter.when.items()
        )
    return text


def same(a: ParamValue, b: ParamValue) -> bool:
    """Equality as a user means it: numbers compare by value, but True is not 1."""
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def among(value: ParamValue, allowed: Sequence[ParamValue]) -> bool:
    """Whether a value is one of several, as a user means it."""
    return any(same(value, other) for other in allowed)
