"""Damaged trials in Optuna's tables, which neither the database nor Optuna prevents.

SQLite stores any text in any column, and studies get edited by hand or copied incompletely. Values
that would break a page, a sampler or an export are refused, with the trial's number. A parameter
outside its range is accepted: Optuna stores one that was enqueued.
"""

import math
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from optuna.distributions import BaseDistribution, CategoricalDistribution, json_to_distribution

from tuner.database import attributes
from tuner.database.optuna.rdb_rows import OptunaTrial
from tuner.errors import BadInputError, visible
from tuner.search.distributions import OUR_STATE

INT8 = range(-(2**63), 2**63)
# Optuna numbers trials without gaps, and pages allocate room by number
TRIALS = 1_000_000
# of a time, so that every time zone can show it and differences to now can be computed
EARLIEST, LATEST = datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC)
SHOWN = 60  # characters of a value in a message


class DamagedError(BadInputError):
    """A trial is not one that Optuna writes."""


_STATES = {state.name: state for state in OUR_STATE}


def check_trial(trial: OptunaTrial, *, objectives: int, count: int, numbers: set[int]) -> None:
    """Refuse a trial with an invalid row, values, reports or times; add its number to `numbers`.

    `count`: how many trials the study has.
    """
    number = trial.number
    if not _is_int(number) or not 0 <= number < max(TRIALS, 2 * count):
        raise DamagedError(
            f"a trial has the number {_shorten(number)}; Optuna numbers trials from 0 without gaps"
        )
    if number in numbers:
        raise DamagedError(f"two trials of the study have the number {number}")
    numbers.add(number)
    if trial.state not in _STATES:
        _refuse(trial, f"has the state {_shorten(trial.state)}; Optuna has {_listed(_STATES)}")
    _check_values(trial, objectives)
    for step, value in trial.reports.items():
        if not _is_int(step) or step not in INT8:
            _refuse(
                trial, f"has a report at step {_shorten(step)}, which is no 64-bit whole number"
            )
        if not isinstance(value, float | int):
            _refuse(trial, f"has reported {_shorten(value)} at step {step}, which is no number")
    for what, moment in (("start", trial.started_at), ("end", trial.finished_at)):
        if moment is not None and not EARLIEST <= moment <= LATEST:
            _refuse(trial, f"has its {what} in the year {moment.year}, beyond what every zone has")


def _check_values(trial: OptunaTrial, objectives: int) -> None:
    if trial.values and len(trial.values) != objectives:
        _refuse(trial, f"has {len(trial.values)} values; the study has {objectives} objectives")
    if trial.state == "COMPLETE" and not trial.values:
        _refuse(trial, "is complete and has no value")
    for value in trial.values:
        if not isinstance(value, float | int) or math.isnan(value):
            _refuse(trial, f"has the value {_shorten(value)}, which is no number")


def check_distributions(trial: OptunaTrial) -> None:
    """Refuse a trial with a parameter whose distribution Optuna does not know."""
    for name, _, text in trial.params:
        if not isinstance(name, str) or any(attributes.unstorable([name])):
            _refuse(trial, f"has a parameter named {_shorten(name)}, which PostgreSQL cannot store")
        try:
            parsed = json_to_distribution(text)
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ):
            parsed = None
        if not isinstance(parsed, BaseDistribution) or not _is_sound(parsed):
            _refuse(
                trial,
                f"has for its parameter {_shorten(name)} the distribution {_shorten(text)}, "
                "which Optuna cannot read",
            )


def _is_sound(distribution: BaseDistribution) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return True
    try:
        return all(math.isfinite(getattr(distribution, bound)) for bound in ("low", "high"))
    except (OverflowError, TypeError):  # an integer beyond all floats, or not a number
        return False


def check_params(trial: OptunaTrial, distributions: Sequence[BaseDistribution]) -> None:
    """Refuse a trial with a parameter without a value, or with an unknown choice."""
    for (name, value, _), distribution in zip(trial.params, distributions, strict=True):
        if not isinstance(value, float | int) or math.isnan(value):
            _refuse(trial, f"has {_shorten(value)} for its parameter {_shorten(name)}, no number")
        if isinstance(distribution, CategoricalDistribution):
            count = len(distribution.choices)
            if value not in range(count):
                _refuse(
                    trial,
                    f"has choice {_shorten(value)} of its parameter {_shorten(name)}, "
                    f"which has {count}, counted from 0",
                )


def _refuse(trial: OptunaTrial, why: str) -> NoReturn:
    raise DamagedError(f"trial {trial.number} {why}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _listed(names: Collection[str]) -> str:
    return ", ".join(names)


def _shorten(value: Any) -> str:
    text = visible(repr(value))
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
