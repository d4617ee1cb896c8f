"""Studies and trials as JSON's own types, for scripts and the REST API alike."""

import math
from collections.abc import Mapping
from dataclasses import is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

from tuner.errors import visible
from tuner.trials import Study, Trial

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # how they begin


def plain(value: Any) -> Any:
    """Records, times and paths as JSON's own types; NaN and infinities become null.

    Half of a surrogate pair in a name becomes an escape, for the REST API's encoder refuses it.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return plain(shallow(value))
    if isinstance(value, Mapping):
        return {
            str(k).encode(errors="backslashreplace").decode(): plain(v) for k, v in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Path | UUID):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def shallow(record: Any) -> dict[str, Any]:
    """A dataclass's fields, without copying what they hold."""
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def of_trial(trial: Trial) -> dict[str, Any]:
    """A trial."""
    return {**shallow(trial), "seconds": trial.seconds}


def of_study(study: Study) -> dict[str, Any]:
    """A study."""
    return shallow(study)


def cell(value: object) -> object:
    """A value as a cell of CSV, where a spreadsheet runs no text as a formula.

    What cannot be seen is escaped, so that a record is a line and no terminal is steered.
    """
    if isinstance(value, str):
        return f"'{visible(value)}" if value[:1] in _FORMULAS else visible(value)
    return "" if value is None else value
