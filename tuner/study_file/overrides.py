"""`--set search.learning_rate.high=0.01`: single values set over a study file.

A shorthand (`data: digits`, `learning_rate: 0.1`) is written out before a key inside it is set, and
keys that the new one makes meaningless are dropped: a range over a pinned parameter frees it.
"""

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import PydanticCustomError

from tuner.errors import SpecError
from tuner.study_file.document import Loc, NotYamlError, parse
from tuner.study_file.messages import a, problem, quoted
from tuner.study_file.study import EXCLUDED_BY
from tuner.study_file.values import label
from tuner.trials import ParamValue

PAIR = "write it as in `learning_rate=0.001`"

_NAMED_BY = {"data": "source", "sampler": "name", "pruner": "name"}


def apply(
    data: Mapping[str, Any],
    origins: Mapping[Loc, str],
    overrides: Sequence[str],
    *,
    option: str = "--set ",
) -> tuple[dict[str, Any], dict[Loc, str]]:
    """Return the data with every override set, and the new origin of each value.

    `option` is what precedes an override on the command line.
    """
    example = f"write it as in `{option}budget.trials=20`"
    changed = copy.deepcopy(dict(data))
    where = dict(origins)
    problems: list[str] = []
    for override in overrides:
        label = f"{option}{quoted(override)[1:-1]}"
        try:
            path, value = _parse(override, example)
            loc = _set(changed, path, value)
        except _CannotSetError as error:
            problems.append(f"{label}: {error}")
            continue
        for keys in [keys for keys in where if keys[: len(loc)] == loc]:
            del where[keys]
        # sections that the path created have no line either
        for depth in range(1, len(loc) + 1):
            where.setdefault(loc[:depth], label)
    if problems:
        raise SpecError("\n".join(problems))
    return changed, where


def parse_assignments(pairs: Sequence[str]) -> dict[str, ParamValue]:
    """Parse `["learning_rate=0.01", "optimizer=sgd"]`; SpecError with one line per problem."""
    out: dict[str, ParamValue] = {}
    problems: list[str] = []
    for pair in pairs:
        try:
            path, value = _parse(pair, PAIR)
            name = ".".join(map(str, path))
            if isinstance(value, dict | list):
                raise _CannotSetError(f"must be a single value, is {a(value)}")
            if name in out:
                raise _CannotSetError(f"{quoted(name)} is given twice")
            out[name] = value
        except _CannotSetError as error:
            problems.append(f"{quoted(pair)}: {error}")
    if problems:
        raise SpecError("\n".join(problems))
    return out


def parse_configuration(text: str) -> dict[str, ParamValue]:
    """Parse lines `name: value` as parameters; SpecError with one line per problem."""
    try:
        document = parse(text)
    except NotYamlError as error:
        raise SpecError(f"line {error.line or 1}: {error}") from None
    problems = [f"line {line}: {what}" for line, what in document.problems]
    params = document.data if document.data is not None else {}
    if not isinstance(params, dict):
        problems.append("must be lines `name: value`, as in `learning_rate: 0.001`")
        params = {}
    for name, value in params.items():
        if isinstance(value, dict | list):
            problems.append(f"{quoted(name)}: must be a single value, is {a(value)}")
    if problems:
        raise SpecError("\n".join(problems))
    return params


def parse_labels(pairs: Sequence[str]) -> dict[str, str]:
    """Parse `["gpu=h200"]` as a worker's labels; SpecError with one line per problem."""
    out: dict[str, str] = {}
    problems: list[str] = []
    for pair in pairs:
        key, equals, value = pair.partition("=")
        try:
            if not equals:
                raise problem("must be a name, `=` and a value; write it as in `gpu=h200`")
            out[label(key)] = label(value)
        except PydanticCustomError as error:
            problems.append(f"--label {quoted(pair)}: {error.message()}")
    if problems:
        raise SpecError("\n".join(problems))
    return out


def put(data: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set one value in place, as an override does; SpecError if it cannot be set."""
    try:
        _set(data, path, value)
    except _CannotSetError as error:
        raise SpecError(str(error)) from None


class _CannotSetError(Exception):
    """An override has no meaning; the message continues `--set …: `."""


def _parse(override: str, example: str) -> tuple[Loc, Any]:
    path, equals, text = override.partition("=")
    parts = path.strip().split(".")
    if not equals or not all(parts):
        raise _CannotSetError(f"must be a name, `=` and a value; {example}")
    try:
        document = parse(text)
    except NotYamlError as error:
        raise _CannotSetError(f"the value {error}") from None
    if document.problems:
        raise _CannotSetError(document.problems[0][1])
    return tuple(parts), document.data


def _set(data: dict[str, Any], path: Loc, value: Any) -> Loc:
    """Set one value in place; return its location, with list indices as numbers."""
    here: Any = data
    loc: Loc = ()
    for part, inner in itertools.pairwise(path):
        key = _key(here, part, loc)
        if isinstance(here, dict) and not isinstance(here.get(key), dict | list):
            here[key] = _written_out((*loc, key), here.get(key))
        elif (
            _is_parameter((*loc, key))
            and isinstance(here[key], list)
            and not str(inner).isdecimal()  # `search.depth.0` is the first choice
        ):
            here[key] = {"choices": here[key]}
        here, loc = here[key], (*loc, key)
    key = _key(here, path[-1], loc)
    if _is_parameter(loc) and isinstance(key, str):
        for other in EXCLUDED_BY.get(key, ()):
            here.pop(other, None)
    here[key] = value
    return (*loc, key)


def _key(container: Any, part: str | int, loc: Loc) -> str | int:
    if isinstance(container, dict):
        return str(part)
    text = ".".join(map(str, loc))
    if not isinstance(container, list):
        raise _CannotSetError(f"{quoted(text)} is {a(container)}, so nothing inside it can be set")
    if not str(part).isdecimal() or len(str(part)) > 6 or int(part) >= len(container):
        raise _CannotSetError(
            f"{quoted(text)} is a list of {len(container)}; "
            f"{quoted(part)} is not one of its positions, which count from 0"
        )
    return int(part)


def _is_parameter(loc: Loc) -> bool:
    return len(loc) == 2 and loc[0] == "search"


def _written_out(loc: Loc, value: Any) -> Any:
    """Expand a shorthand to the section it stands for; None becomes an empty section."""
    if value is None:
        return {}
    if len(loc) == 1 and loc[0] in _NAMED_BY:
        return {_NAMED_BY[str(loc[0])]: value}
    if _is_parameter(loc):
        return {"value": value}
    return value
