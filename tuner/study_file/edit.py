"""Change single values in the text of a study file; comments and order stay."""

import io
from collections.abc import MutableMapping
from typing import Any

from ruamel.yaml import YAML

from tuner.errors import SpecError
from tuner.study_file import overrides
from tuner.study_file.document import NotYamlError, parse

MAX_BYTES = 250_000  # as of a study file


def edited(text: str, path: tuple[str, ...], value: Any) -> str:
    """Return the text with the value at `path` set, or removed if `value` is None.

    A section that becomes empty is removed as well. SpecError if the text is not a study file that
    can be edited.
    """
    data = _loaded(text)
    if value is None:
        _remove(data, path)
    else:
        overrides.put(data, path, value)
    stream = io.StringIO()
    _yaml().dump(data, stream)
    return stream.getvalue()


def _loaded(text: str) -> Any:
    """Load text with its comments; only what our own small YAML accepts gets this far."""
    if len(text) > MAX_BYTES:
        raise SpecError("the study file is larger than any")
    try:
        document = parse(text)
    except NotYamlError as error:
        raise SpecError(f"line {error.line or 1}: {error}") from None
    if document.problems:
        raise SpecError("\n".join(f"line {line}: {what}" for line, what in document.problems))
    if document.data is None:
        return {}
    if not isinstance(document.data, dict):
        raise SpecError("must consist of `key: value` lines")
    return _yaml().load(text)


def _yaml() -> YAML:
    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True
    yaml.width = 120
    return yaml


def _remove(data: Any, path: tuple[str, ...]) -> None:
    if not isinstance(data, MutableMapping) or path[0] not in data:
        return
    if len(path) > 1:
        _remove(data[path[0]], path[1:])
        if data[path[0]] not in ({}, None):
            return
    del data[path[0]]
