"""Studies and trials as plain JSON types, for scripts and the REST API."""

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

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # first characters of spreadsheet formulas


def plain(value: Any) -> Any:
    """Convert records, times and paths to JSON types; NaN and infinities become null.

    Lone surrogates in names become escapes: the REST API's encoder refuses them.
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
    """The fields of a dataclass, without copying their values."""
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def of_trial(trial: Trial) -> dict[str, Any]:
    """Convert a trial, adding its seconds."""
    origin = None if trial.origin is None else trial.origin.as_json()
    return {**shallow(trial), "origin": origin, "seconds": trial.seconds}


def of_study(study: Study) -> dict[str, Any]:
    """Convert a study."""
    return shallow(study)


def cell(value: object) -> object:
    """Convert a value to a CSV cell that no spreadsheet runs as a formula.

    Invisible characters are escaped, so a record is one line and cannot control a terminal.
    """
    if isinstance(value, str):
        return f"'{visible(value)}" if value[:1] in _FORMULAS else visible(value)
    return "" if value is None else value
