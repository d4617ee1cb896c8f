"""Attributes as stored: a JSONB object from key to the value's JSON *as text*.

JSONB refuses NaN, infinities and NUL characters, which Optuna's users may store; as text they are
accepted, one `||` sets an attribute without reading the others, and Optuna's own layout is a plain
view.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tuner.database.storable_text import is_storable

CONSTRAINT = "constraints:"  # the start of a system attribute's key, in Optuna's words
# Of a trial that no device had the memory for. Above 0, the constraint is violated.
INFEASIBLE = CONSTRAINT + "memory"
QUEUED_SEED = "tuner:seed"  # the seed that a trial was queued with
# In SQL: the system attributes of those trials that have any, by number.
CONSTRAINED = f"""
    json_object_agg(number, system_attrs) FILTER (
        WHERE CAST(system_attrs AS text) LIKE '%"{CONSTRAINT}%'
    )
"""


def has_constraints(stored: str) -> bool:
    """Whether the text of the JSONB object holds any constraint."""
    return f'"{CONSTRAINT}' in stored


def encode(attrs: Mapping[str, Any]) -> str:
    """Encode attributes as the text of the JSONB object."""
    return json.dumps({key: json.dumps(value) for key, value in attrs.items()})


def decode(stored: Mapping[str, str]) -> dict[str, Any]:
    """Decode the attributes of a JSONB object as the driver returns it."""
    return {key: json.loads(value) for key, value in stored.items()}


def violate_constraints(stored: Mapping[str, str]) -> bool:
    """Whether a trial's attributes hold a constraint of Optuna's that is above 0 or NaN."""
    for key, value in stored.items():
        if key.startswith(CONSTRAINT):
            constraint = json.loads(value)
            if isinstance(constraint, int | float) and not constraint <= 0:
                return True
    return False


def unstorable(names: Iterable[str]) -> Iterator[str]:
    """Yield the names of attributes or studies that PostgreSQL's text cannot hold."""
    return (name for name in names if not is_storable(name))
