"""Hard limits of parameters: a search space may be wider than usual, but not impossible.

A name means the same in every family, so most limits stand here once; cards add their own.
"""

import math
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict, model_validator

from tuner.errors import Issue
from tuner.study_file.fit import is_number
from tuner.study_file.messages import a, written
from tuner.study_file.parameters import CategoricalParameter, FixedParameter, Parameter
from tuner.study_file.values import Real
from tuner.trials import ParamValue


class Limit(BaseModel):
    """A bound per side, inclusive or exclusive; None means unbounded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_least: Real | None = None
    above: Real | None = None
    at_most: Real | None = None
    below: Real | None = None

    @model_validator(mode="after")
    def _check(self) -> "Limit":
        if None not in (self.at_least, self.above) or None not in (self.at_most, self.below):
            raise ValueError("has two bounds on the same side")
        return self

    def allows(self, value: float) -> bool:
        """Whether the value lies within the bounds."""
        low = value > self.above if self.above is not None else value >= _or(self.at_least, -1)
        high = value < self.below if self.below is not None else value <= _or(self.at_most, 1)
        return low and high

    def __str__(self) -> str:
        bounds = {name.replace("_", " "): bound for name, bound in self if bound is not None}
        return " and ".join(f"{name} {written(bound)}" for name, bound in bounds.items())


def _or(bound: float | None, sign: int) -> float:
    return sign * math.inf if bound is None else bound


_SHARE = Limit(at_least=0, at_most=1)
_DROPPED = Limit(at_least=0, below=1)
_COUNT = Limit(at_least=1)
_NOT_NEGATIVE = Limit(at_least=0)

COMMON: Mapping[str, Limit] = {
    **dict.fromkeys(("learning_rate", "encoder_learning_rate"), Limit(above=0)),
    **dict.fromkeys(("dropout", "embedding_dropout", "label_smoothing", "momentum"), _DROPPED),
    **dict.fromkeys(
        ("weight_decay", "clip_norm", "max_norm", "sample", "min_alpha"), _NOT_NEGATIVE
    ),
    **dict.fromkeys(("warmup", "teacher_forcing"), _SHARE),
    "shift": _DROPPED,
    "max_df": Limit(above=0, at_most=1),
    "layer_decay": Limit(above=0, at_most=1),
    "alpha": Limit(above=0, at_most=1),
    **dict.fromkeys(
        (
            *("batch_size", "batch_words", "epochs", "hidden", "layers", "embedding_size"),
            *("depth", "filters", "kernel", "dense", "heads", "head_width", "feed_forward"),
            *("min_df", "max_terms", "vector_size", "window", "min_count", "negative"),
            *("min_n", "max_n", "bucket", "beam", "trained_layers", "lora_rank", "max_length"),
        ),
        _COUNT,
    ),
}


def outside(parameter: Parameter, limit: Limit) -> Iterator[Issue]:
    """Yield an issue per impossible value of a parameter, located at its key."""
    for loc, value in _values(parameter):
        if is_number(value) and not limit.allows(value):
            yield Issue(loc, f"must be {limit}, is {a(value)}")


def _values(parameter: Parameter) -> list[tuple[tuple[str | int, ...], ParamValue]]:
    if isinstance(parameter, FixedParameter):
        return [(("value",), parameter.value)]
    if isinstance(parameter, CategoricalParameter):
        return [(("choices", n), choice) for n, choice in enumerate(parameter.choices)]
    return [(("low",), parameter.low), (("high",), parameter.high)]
