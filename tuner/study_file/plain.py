"""Values of a Python program as the plain values of a study file.

NumPy's scalars and arrays of one dimension, paths, ranges, tuples and members of enumerations mean
what they hold. NumPy is recognized without importing it, and pydantic is not needed: a function
under test (`tuner.testing`) loads neither.
"""

import math
import unicodedata
from collections.abc import Mapping
from enum import Enum
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any

from tuner.errors import Issue, SpecError, visible

MAX_DEPTH = 20  # sections within sections, as in study files
MAX_ENTRIES = 20_000  # of a list; a range may have any number


def plain(given: Any) -> Any:
    """The value with nothing in it but text, numbers, true and false, null, lists and sections.

    SpecError with a line for each value that is none of these, by its field.
    """
    issues: list[Issue] = []
    value = _plain(given, (), issues)
    if issues:
        raise SpecError(issues=issues)
    return value


def _plain(given: Any, loc: tuple[str | int, ...], issues: list[Issue]) -> Any:
    if given is None or type(given) is bool:
        return given
    if type(given) in (int, str):
        if (sentence := _unwritable(given)) is not None:
            issues.append(Issue(loc, sentence))
            return None
        return given
    if len(loc) > MAX_DEPTH:
        issues.append(Issue(loc, f"is nested more than {MAX_DEPTH} levels deep"))
        return None
    if isinstance(given, Enum):
        return _plain(given.value, loc, issues)
    if isinstance(given, Mapping):
        return _section(given, loc, issues)
    if isinstance(given, list | tuple | range):
        if len(given) > MAX_ENTRIES:
            issues.append(Issue(loc, f"has {len(given):,} entries; {MAX_ENTRIES:,} are allowed"))
            return None
        return [_plain(value, (*loc, index), issues) for index, value in enumerate(given)]
    if isinstance(given, PurePath):
        return str(given)
    shape = _shape(given)
    if shape is None or shape == ():
        return _scalar(given, loc, issues)
    if len(shape) == 1:
        return _plain(list(given), loc, issues)  # not `tolist()`: float32's 0.1 is to stay 0.1
    sentence = f"must be a single value or a list, is an array of shape {tuple(shape)}"
    issues.append(Issue(loc, sentence))
    return None


def _section(given: Mapping[Any, Any], loc: tuple[str | int, ...], issues: list[Issue]) -> Any:
    out: dict[str, Any] = {}
    for key, value in given.items():
        name = key.value if isinstance(key, Enum) else key
        if not isinstance(name, str):
            sentence = f"the key `{visible(str(name))[:60]}` must be text, is {_kind(name)}"
            issues.append(Issue((*loc, str(name)), sentence, of_key=True))
        elif (problem := _unwritable(name)) is not None:
            sentence = f"the key `{visible(name)[:60]}` {problem}"
            issues.append(Issue((*loc, visible(name)), sentence, of_key=True))
        else:
            out[str(name)] = _plain(value, (*loc, str(name)), issues)
    return out


def _scalar(given: Any, loc: tuple[str | int, ...], issues: list[Issue]) -> Any:
    if isinstance(given, str):
        return _plain(str(given), loc, issues)
    if isinstance(given, bool) or type(given).__name__ in ("bool", "bool_"):  # NumPy's is no int
        return bool(given)
    if isinstance(given, Integral):
        return _plain(int(given), loc, issues)
    is_numpy = _shape(given) is not None
    if isinstance(given, float) or (is_numpy and isinstance(given, Real)):
        # the decimal that a short float shows: float32's 0.1 is not 0.10000000149011612
        number = float(str(given)) if is_numpy else float(given)
        if math.isfinite(number):
            return number
        issues.append(Issue(loc, f"must be a finite number, is {number}"))
        return None
    if is_numpy and hasattr(given, "item") and _shape(value := given.item()) is None:
        return _scalar(value, loc, issues)  # an array or tensor without a dimension
    sentence = "must be text, a number, true or false, a list or a section"
    issues.append(Issue(loc, f"{sentence}; is {_kind(given)}"))
    return None


def _kind(given: Any) -> str:
    kind = type(given)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _unwritable(given: str | int) -> str | None:
    """Why no study file can hold the value; None where one can."""
    if isinstance(given, int):
        return None if -(2**63) <= given < 2**63 else "is too large a number"
    for character in given:
        if character not in "\t\n" and unicodedata.category(character) in ("Cc", "Cs"):
            return f"holds a control character, U+{ord(character):04X}"
    return None


def _shape(given: Any) -> tuple[int, ...] | None:
    """Of an array or a scalar of NumPy; None of everything else."""
    shape = getattr(given, "shape", None)
    return shape if isinstance(shape, tuple) and hasattr(given, "dtype") else None
