"""Attributes as stored: a JSONB object from key to the value's JSON *as text*.

JSONB refuses NaN, infinities and NUL characters, which Optuna's users may store; as text they are
accepted, one `||` sets an attribute without reading the others, and Optuna's own layout is a plain
view.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tuner.database.storable_text import is_storable
from tuner.trials import CONSTRAINT_PREFIX

# Of a trial that no device had the memory for. Above 0, the constraint is violated.
INFEASIBLE = CONSTRAINT_PREFIX + "memory"
# Of a pruned trial of a study with several objectives, whose values Optuna's samplers cannot
# compare: it comes after all that were not pruned, the later the earlier it was. Optuna's alone.
PRUNED = "pruned"
QUEUED_SEED = "tuner:seed"  # the seed that a trial was queued with
# In SQL: whether a trial has any; and the system attributes of those that have, by number.
HAS_CONSTRAINTS = f"""(
    system_attrs <> '{{}}' AND CAST(system_attrs AS text) LIKE '%"{CONSTRAINT_PREFIX}%'
)"""
CONSTRAINED = f"json_object_agg(number, system_attrs) FILTER (WHERE {HAS_CONSTRAINTS})"


def has_constraints(stored: str) -> bool:
    """Whether the text of the JSONB object holds any constraint."""
    return f'"{CONSTRAINT_PREFIX}' in stored


def encode(attrs: Mapping[str, Any]) -> str:
    """Encode attributes as the text of the JSONB object."""
    return json.dumps({key: json.dumps(value) for key, value in attrs.items()})


def encode_constraints(constraints: Mapping[str, float]) -> str:
    """Encode the values of constraints, by name, as the text of system attributes."""
    return encode({CONSTRAINT_PREFIX + name: value for name, value in constraints.items()})


def decode_constraints(stored: Mapping[str, str]) -> dict[str, float]:
    """Decode the values of the constraints in a trial's system attributes, by name; NaN as inf.

    Without `PRUNED`, which is none.
    """
    values = {
        key.removeprefix(CONSTRAINT_PREFIX): json.loads(value)
        for key, value in stored.items()
        if key.startswith(CONSTRAINT_PREFIX) and key != CONSTRAINT_PREFIX + PRUNED
    }
    return {
        name: math.inf if math.isnan(value) else float(value)
        for name, value in values.items()
        if isinstance(value, int | float)
    }


def decode(stored: Mapping[str, str]) -> dict[str, Any]:
    """Decode the attributes of a JSONB object as the driver returns it."""
    return {key: json.loads(value) for key, value in stored.items()}


def violate_constraints(stored: Mapping[str, str]) -> bool:
    """Whether a trial's attributes hold a constraint of Optuna's that is above 0 or NaN."""
    return any(value > 0 for value in decode_constraints(stored).values())


def unstorable(names: Iterable[str]) -> Iterator[str]:
    """Yield the names of attributes or studies that PostgreSQL's text cannot hold."""
    return (name for name in names if not is_storable(name))
