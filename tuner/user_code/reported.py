"""Reported numbers, checked: what a program sends is anything."""

import math
from collections.abc import Mapping
from typing import Any

MAX_STEP = 2**53  # beyond, JSON's numbers skip some
MAX_METRICS = 100  # of one report
NAME_LENGTH = 100  # characters


def number(given: Any, what: str) -> float:
    """The number as a float, also of NumPy and torch; TypeError for what is no number."""
    kind = getattr(getattr(given, "dtype", None), "kind", None)  # of NumPy's: b is bool, c complex
    if isinstance(given, bool | str | bytes | bytearray) or kind in ("b", "c"):
        raise TypeError(f"{what} must be a number, is {given!r:.60}")
    try:
        return float(given)
    except OverflowError:
        return math.inf if given > 0 else -math.inf
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of many elements
        raise TypeError(f"{what} must be a number, is {_kind(given)}") from None


def checked_step(given: Any, what: str = "the step") -> int:
    """A step, or another count; TypeError or ValueError for what is none."""
    step = number(given, what)
    if not step.is_integer():
        raise TypeError(f"{what} must be a whole number, is {given!r:.60}")
    if not 0 <= step <= MAX_STEP:
        raise ValueError(f"{what} must be between 0 and 2^53, is {given!r:.60}")
    return int(given)


def checked_metrics(given: Mapping[str, Any]) -> dict[str, float]:
    """What else was measured; TypeError or ValueError with a sentence for anything else."""
    if len(given) > MAX_METRICS:
        raise ValueError(f"a report has at most {MAX_METRICS} metrics, not {len(given)}")
    for name in given:
        if not name.isprintable() or not 0 < len(name) <= NAME_LENGTH:
            raise ValueError(f"the name of a metric must be short, printable text, is {name!r:.60}")
    return {name: number(value, f"`{name}`") for name, value in given.items()}


def parsed(line: Any, next_step: int) -> tuple[int, float, dict[str, float]]:
    """Step, value and metrics of a report as it stands in a line of JSON.

    TypeError or ValueError with a sentence for anything else.
    """
    if not isinstance(line, dict):
        raise TypeError("must be an object")
    unknown = line.keys() - {"step", "value", "metrics"}
    if unknown or "value" not in line:
        wrong = f"has the unknown key {min(unknown)!r:.60}" if unknown else "has no `value`"
        raise ValueError(f"{wrong}; it has `value`, `step` and `metrics`")
    step = checked_step(line["step"]) if line.get("step") is not None else next_step
    value = number(line["value"], "`value`")
    given = line.get("metrics") or {}
    if not isinstance(given, dict):
        raise TypeError("`metrics` must be an object")
    return step, value, checked_metrics(given)


def _kind(given: Any) -> str:
    shape = getattr(given, "shape", None)
    return f"a {type(given).__name__}" + (f" of shape {tuple(shape)}" if shape else "")
