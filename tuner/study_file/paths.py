"""The files and folders of the machine that a specification names.

Launching a study makes workers read what it names. So that no check overlooks anything, every field
that names a file or folder is a `FilePath`, a family's card lists the parameters that do
(`checkpoint`), and `named` returns all of them. A test walks the specification for others.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from tuner.study_file.parameters import CategoricalParameter, FixedParameter
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import ParamValue


class Named(NamedTuple):
    """A file that a specification names."""

    field: str  # `data.path`, `search.checkpoint`
    name: str


def named(spec: ResolvedSpec, parameters: Collection[str]) -> Iterator[Named]:
    """Yield all files, folders and pretrained models that the study names.

    `parameters` are those of its family whose values name files. Vectors taken from another study
    (`data.vectors: study:NAME`) are not a file that its author names.
    """
    for field, path in _paths(spec, ""):
        if field != "data.vectors" or spec.data is None or spec.data.vectors_study is None:
            yield Named(field, str(path))
    for name in parameters:
        parameter = spec.space.parameters.get(name)
        if isinstance(parameter, CategoricalParameter):
            yield from _texts(f"search.{name}", parameter.choices)
        elif isinstance(parameter, FixedParameter):
            yield from _texts(f"search.{name}", [parameter.value])
        for number, combination in enumerate(spec.space.forbidden):
            rule = combination.get(name, ())
            if isinstance(rule, tuple):
                yield from _texts(f"forbidden.{number}.{name}", rule)
        for number, configuration in enumerate(spec.enqueue):
            yield from _texts(f"enqueue.{number}.{name}", [configuration.get(name)])


def _paths(value: object, field: str) -> Iterator[tuple[str, Path]]:
    """Yield every path inside a value, with its field."""
    inner: Iterator[tuple[object, object]]
    if isinstance(value, Path):
        yield field, value
        return
    if isinstance(value, BaseModel):
        inner = iter(value)  # pairs of field name and value
    elif isinstance(value, Mapping):
        inner = iter(value.items())
    elif isinstance(value, list | tuple):
        inner = iter(enumerate(value))
    else:
        return
    for key, child in inner:
        yield from _paths(child, f"{field}.{key}" if field else str(key))


def _texts(field: str, values: Collection[ParamValue]) -> Iterator[Named]:
    return (Named(field, value) for value in values if isinstance(value, str))
