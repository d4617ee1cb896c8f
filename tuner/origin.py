"""How a trial's configuration was proposed: stored with the trial, and shown wherever it is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

_NO_DETAILS: Mapping[str, Any] = MappingProxyType({})


NUMERICAL = "the model met a numerical problem"  # a reason
EXPECTED = "drawn near the values that the study file expects"  # a reason
RAISED = "the sampler raised"  # begins the reason where a class that the study names did


class OriginKind(StrEnum):
    """What proposed a configuration."""

    RANDOM = "random"
    QUASI_RANDOM = "quasi-random"
    GRID = "grid"
    MODEL = "model"  # what a sampler has learned from earlier trials
    ENQUEUED = "enqueued"  # by a user, at least in part
    DEFAULT = "default"  # the family's default configuration
    PORTFOLIO = "portfolio"  # a good configuration of an earlier study
    REPEATED = "repeated"  # another trial's configuration, once more
    PROMOTED = "promoted"
    IMPORTED = "imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How a trial was proposed.

    Args:
        kind: What proposed it: an `OriginKind`, or a word that a later version has stored.
        sampler: The name of the sampler that drew it, or what was left open of it.
        reason: Why the sampler's model was not asked.
        learned_from: How many trials the model had learned from.
        predicted: The first objective's value that the model expected.
        gain: The improvement on the best value that it expected, in the objective's unit; not
            negative.
        thompson: Whether it is the best of a function drawn from the posterior.
        study: The name of the study that it was taken from; None: the trial's own.
        trial: The number of the trial there that it was taken from.
        more: What later versions have stored beside that.

    """

    kind: str
    sampler: str | None = None
    reason: str | None = None
    learned_from: int | None = None
    predicted: float | None = None
    gain: float | None = None
    thompson: bool = False
    study: str | None = None
    trial: int | None = None
    more: Mapping[str, Any] = field(default_factory=lambda: _NO_DETAILS)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data, without what is not known."""
        known = {
            name: str(value) if isinstance(value, StrEnum) else value
            for name in _TYPES
            if not _is_unknown(value := getattr(self, name))
        }
        return {**self.more, **known}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> "Origin | None":
        """Read what `as_json` or a later version has stored; None where nothing is."""
        if not stored or not isinstance(stored.get("kind"), str):
            return None
        known: dict[str, Any] = {
            name: value
            for name, value in stored.items()
            if isinstance(value, _TYPES.get(name, ())) and not _is_unknown(value)
        }
        more = {name: value for name, value in stored.items() if name not in _TYPES}
        return cls(**known, more=more)

    def completed_by(self, draw: "Origin") -> "Origin":
        """Return the origin of a queued trial, what was left open of which a sampler has drawn."""
        others = {name: getattr(draw, name) for name in _TYPES if _is_unknown(getattr(self, name))}
        return replace(self, **others)


_TYPES: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "kind": (str,),
        "sampler": (str,),
        "reason": (str,),
        "learned_from": (int,),
        "predicted": (int, float),
        "gain": (int, float),
        "thompson": (bool,),
        "study": (str,),
        "trial": (int,),
    }
)
assert _TYPES.keys() == {each.name for each in fields(Origin)} - {"more"}


def _is_unknown(value: Any) -> bool:
    """Whether a detail says nothing; JSON has no NaN and no infinities."""
    return (
        value is None or value is False or (isinstance(value, float) and not math.isfinite(value))
    )
