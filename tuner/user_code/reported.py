"""Check what programs report: it may be anything."""

import math
from collections.abc import Mapping
from typing import Any

MAX_STEP = 2**53  # beyond it, JSON numbers skip integers
MAX_METRICS = 100  # per report
NAME_LENGTH = 100  # characters


def number(value: Any, name: str) -> float:
    """The number as a float, also of NumPy or torch; TypeError if it is not a number."""
    kind = getattr(getattr(value, "dtype", None), "kind", None)  # of NumPy: b is bool, c complex
    if isinstance(value, bool | str | bytes | bytearray) or kind in ("b", "c"):
        raise TypeError(f"{name} must be a number, is {value!r:.60}")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of many elements
        raise TypeError(f"{name} must be a number, is {_kind(value)}") from None


def checked_step(value: Any, name: str = "the step") -> int:
    """The step, or another count, as an int; TypeError or ValueError if it is not valid."""
    step = number(value, name)
    if not step.is_integer():
        raise TypeError(f"{name} must be a whole number, is {value!r:.60}")
    if not 0 <= step <= MAX_STEP:
        raise ValueError(f"{name} must be between 0 and 2^53, is {value!r:.60}")
    return int(value)


def checked_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics as floats; TypeError or ValueError with a sentence if one is not valid."""
    if len(metrics) > MAX_METRICS:
        raise ValueError(f"a report has at most {MAX_METRICS} metrics, not {len(metrics)}")
    for name in metrics:
        if not name.isprintable() or not 0 < len(name) <= NAME_LENGTH:
            raise ValueError(f"the name of a metric must be short, printable text, is {name!r:.60}")
    return {name: number(value, f"`{name}`") for name, value in metrics.items()}


def parse(line: Any, next_step: int) -> tuple[int, float, dict[str, float]]:
    """Parse a report, a line of JSON, into step, value and metrics.

    TypeError or ValueError with a sentence if it is not valid.
    """
    if not isinstance(line, dict):
        raise TypeError("must be an object")
    unknown = line.keys() - {"step", "value", "metrics"}
    if unknown or "value" not in line:
        wrong = f"has the unknown key {min(unknown)!r:.60}" if unknown else "has no `value`"
        raise ValueError(f"{wrong}; it has `value`, `step` and `metrics`, or `constraints` alone")
    step = checked_step(line["step"]) if line.get("step") is not None else next_step
    value = number(line["value"], "`value`")
    metrics = line.get("metrics") or {}
    if not isinstance(metrics, dict):
        raise TypeError("`metrics` must be an object")
    return step, value, checked_metrics(metrics)


def parse_constraints(line: Any) -> dict[str, float] | None:
    """Parse the values of constraints, a line of JSON; None if the line is something else.

    TypeError or ValueError with a sentence if it is not valid.
    """
    if not isinstance(line, dict) or line.keys() != {"constraints"}:
        return None
    if not isinstance(line["constraints"], dict):
        raise TypeError("`constraints` must be an object")
    return checked_constraints(line["constraints"])


def checked_constraints(values: Mapping[str, Any]) -> dict[str, float]:
    """The constraints as floats; TypeError or ValueError with a sentence if one is not valid."""
    checked = checked_metrics(values)
    for name, value in checked.items():
        if math.isnan(value):
            raise ValueError(f"the constraint {name!r:.60} must be a number, is NaN")
    return checked


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" + (f" of shape {tuple(shape)}" if shape else "")
