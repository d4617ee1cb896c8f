"""Python values as the plain values of a study file.

NumPy scalars and one-dimensional arrays, paths, ranges, tuples and enum members stand for what they
hold. NumPy is recognized without importing it, and pydantic is not needed: a function
under test (`tuner.testing`) loads neither.
"""

import math
import sys
import unicodedata
from collections.abc import Mapping
from enum import Enum
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any

from tuner.errors import Issue, SpecError, visible

MAX_DEPTH = 20  # sections within sections, as in study files
# where a class may stand
_OF_CLASSES = (("sampler",), ("sampler", "class"), ("pruner",), ("pruner", "class"))
MAX_ENTRIES = 20_000  # of a list; a range may have any number


def plain(value: Any) -> Any:
    """Convert a value to text, numbers, booleans, null, lists and sections.

    SpecError with one line per value that is none of these, by its field.
    """
    issues: list[Issue] = []
    result = _plain(value, (), issues)
    if issues:
        raise SpecError(issues=issues)
    return result


def _plain(value: Any, loc: tuple[str | int, ...], issues: list[Issue]) -> Any:
    if value is None or type(value) is bool:
        return value
    if type(value) in (int, str):
        if (sentence := _unwritable(value)) is not None:
            issues.append(Issue(loc, sentence))
            return None
        return value
    if len(loc) > MAX_DEPTH:
        issues.append(Issue(loc, f"is nested more than {MAX_DEPTH} levels deep"))
        return None
    if isinstance(value, Enum):
        return _plain(value.value, loc, issues)
    if loc in _OF_CLASSES and not isinstance(value, str | int | float | Mapping | list | tuple):
        return _class(value, loc, issues)
    if isinstance(value, Mapping):
        return _section(value, loc, issues)
    if isinstance(value, list | tuple | range):
        if len(value) > MAX_ENTRIES:
            issues.append(Issue(loc, f"has {len(value):,} entries; {MAX_ENTRIES:,} are allowed"))
            return None
        return [_plain(entry, (*loc, index), issues) for index, entry in enumerate(value)]
    if isinstance(value, PurePath):
        return str(value)
    shape = _shape(value)
    if shape is None or shape == ():
        return _scalar(value, loc, issues)
    if len(shape) == 1:
        return _plain(list(value), loc, issues)  # not `tolist()`: float32's 0.1 must stay 0.1
    sentence = f"must be a single value or a list, is an array of shape {tuple(shape)}"
    issues.append(Issue(loc, sentence))
    return None


def _class(value: Any, loc: tuple[str | int, ...], issues: list[Issue]) -> Any:
    """Return the path of a class in place of the class."""
    if not isinstance(value, type):
        role = loc[0]
        sentence = (
            f"must be a name, a class or a section, is {_kind(value)}; to name its class, write "
            f'`{{"{role}": {{"class": {type(value).__name__}, "options": {{…}}}}}}`'
        )
        issues.append(Issue(loc, sentence))
        return None
    module, name = value.__module__, value.__qualname__
    if module == "__main__" or "." in name:
        sentence = f"{name} must be defined at the top of a module, which workers can import"
        issues.append(Issue(loc, sentence))
        return None
    parts = module.split(".")
    packages = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
    # the shortest path that leads to it, which is the documented one
    path = next(p for p in packages if getattr(sys.modules.get(p), name, None) is value)
    return f"{path}:{name}"


def _section(section: Mapping[Any, Any], loc: tuple[str | int, ...], issues: list[Issue]) -> Any:
    out: dict[str, Any] = {}
    for key, value in section.items():
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


def _scalar(value: Any, loc: tuple[str | int, ...], issues: list[Issue]) -> Any:
    if isinstance(value, str):
        return _plain(str(value), loc, issues)
    if isinstance(value, bool) or type(value).__name__ in (
        "bool",
        "bool_",
    ):  # NumPy's bool is not an int
        return bool(value)
    if isinstance(value, Integral):
        return _plain(int(value), loc, issues)
    is_numpy = _shape(value) is not None
    if isinstance(value, float) or (is_numpy and isinstance(value, Real)):
        # the decimal that a short float shows: float32's 0.1 is not 0.10000000149011612
        number = float(str(value)) if is_numpy else float(value)
        if math.isfinite(number):
            return number
        issues.append(Issue(loc, f"must be a finite number, is {number}"))
        return None
    if is_numpy and hasattr(value, "item") and _shape(item := value.item()) is None:
        return _scalar(item, loc, issues)  # an array or tensor without a dimension
    sentence = "must be text, a number, true or false, a list or a section"
    issues.append(Issue(loc, f"{sentence}; is {_kind(value)}"))
    return None


def _kind(value: Any) -> str:
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _unwritable(value: str | int) -> str | None:
    """Return why a study file cannot hold the value; None if it can."""
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**63 else "is too large a number"
    for character in value:
        if character not in "\t\n" and unicodedata.category(character) in ("Cc", "Cs"):
            return f"holds a control character, U+{ord(character):04X}"
    return None


def _shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of a NumPy array or scalar; None for anything else."""
    shape = getattr(value, "shape", None)
    return shape if isinstance(shape, tuple) and hasattr(value, "dtype") else None
