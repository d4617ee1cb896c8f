"""Attributes as stored: a JSONB object from key to the value's JSON *as text*.

JSONB refuses NaN, infinities and NUL characters, which Optuna's users may store; as text they pass,
one `||` sets an attribute without reading the others, and Optuna's own layout is a plain view.
"""

import json
from collections.abc import Mapping
from typing import Any


def encode(attrs: Mapping[str, Any]) -> str:
    """The text of the JSONB object."""
    return json.dumps({key: json.dumps(value) for key, value in attrs.items()})


def decode(stored: Mapping[str, str]) -> dict[str, Any]:
    """The attributes of a JSONB object as the driver returns it."""
    return {key: json.loads(value) for key, value in stored.items()}
