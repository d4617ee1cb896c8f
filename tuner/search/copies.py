"""Trials copied between Optuna's storages and ours: what each side stores of them.

A copy has no running trials: no process would ever end them, and samplers avoid their surroundings.
In the copy they have failed, with their parameters and reports, and can be queued again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tuner.database import attributes, spaces
from tuner.database.optuna.bulk import NewTrial
from tuner.database.optuna.rdb_rows import OptunaTrial
from tuner.database.readers.feed import TrialRow
from tuner.database.spaces import StoredSpace
from tuner.search import damage
from tuner.search.distributions import OUR_STATE, canonical, frozen
from tuner.trials import Cause, TrialState

CAUSE, MESSAGE = "tuner:cause", "tuner:message"  # system attributes: why a trial failed, here
WAS_RUNNING = "it was running when the study was copied"


def new_trials(
    trials: Iterable[OptunaTrial], now: datetime, *, objectives: int, count: int
) -> Iterator[NewTrial]:
    """Convert Optuna's trials to stored rows; running ones end at `now`.

    BadInputError if one of them is damaged: what is stored here can be shown and searched with.
    """
    numbers: set[int] = set()
    sets: dict[tuple[tuple[str, str], ...], StoredSpace] = {}
    parsed: dict[tuple[tuple[str, str], ...], list[BaseDistribution]] = {}
    for trial in trials:
        damage.check_trial(trial, objectives=objectives, count=count, numbers=numbers)
        state = OUR_STATE[OptunaState[trial.state]]
        cause: Cause | None = None
        message: str | None = None
        finished_at = trial.finished_at
        system_attrs: Mapping[str, Any] = trial.system_attrs
        if state is TrialState.RUNNING:
            state, cause, message = TrialState.FAILED, Cause.LOST, WAS_RUNNING
            finished_at = now
        elif CAUSE in system_attrs or MESSAGE in system_attrs:
            cause, message, system_attrs = _reason(system_attrs)
        names = tuple([(name, distribution) for name, _, distribution in trial.params])
        if names and names not in sets:
            damage.check_distributions(trial)
            sets[names] = spaces.encode([(name, _current(text)) for name, text in names])
            parsed[names] = [json_to_distribution(text) for _, text in names]
        if names:
            damage.check_params(trial, parsed[names])
        yield NewTrial(
            number=trial.number,
            state=state,
            space=sets[names] if names else None,
            params=[
                canonical(value, distribution)
                for (_, value, _), distribution in zip(
                    trial.params, parsed[names] if names else (), strict=True
                )
            ],
            values=trial.values or None,
            reports=trial.reports,
            user_attrs=trial.user_attrs,
            system_attrs=system_attrs,
            started_at=trial.started_at,
            finished_at=finished_at,
            cause=cause,
            message=message,
        )


def _current(distribution: str) -> dict[str, Any]:
    """A distribution's JSON as this version of Optuna writes it."""
    current: dict[str, Any] = json.loads(distribution_to_json(json_to_distribution(distribution)))
    return current


def _reason(attrs: Mapping[str, Any]) -> tuple[Cause | None, str | None, Mapping[str, Any]]:
    """Return cause, message and the other attributes of a trial that was exported from tuner."""
    others = {key: value for key, value in attrs.items() if key not in (CAUSE, MESSAGE)}
    cause, message = attrs.get(CAUSE), attrs.get(MESSAGE)
    is_ours = cause in (None, *Cause) and isinstance(message, str | None)
    if not is_ours or any(attributes.unstorable([message or ""])):
        return None, None, attrs  # somebody else's
    return None if cause is None else Cause(cause), message, others


def template(
    row: TrialRow, distributions: Mapping[str, BaseDistribution], now: datetime
) -> FrozenTrial:
    """Convert a stored trial to Optuna's form; a running one ends at `now`, a paused one too."""
    if row.state == TrialState.PAUSED:  # nothing promotes it there
        row = row._replace(state=TrialState.PRUNED)
    if row.state == TrialState.RUNNING:
        row = row._replace(
            state=TrialState.FAILED, cause=Cause.LOST, message=WAS_RUNNING, finished_at=now
        )
    trial = frozen(row, distributions)
    for name, distribution in distributions.items():
        if isinstance(distribution, CategoricalDistribution):
            trial.params[name] = _Exactly(trial.params[name])
    for key, reason in ((CAUSE, row.cause), (MESSAGE, row.message)):
        if reason is not None:
            trial.system_attrs[key] = str(reason)
    return trial


class _Exactly:
    """A choice that equals only itself, not True for 1, while Optuna looks for its index."""

    def __init__(self, value: Any) -> None:
        self._shown = repr(value)

    def __eq__(self, other: object) -> bool:
        return repr(other) == self._shown

    __hash__ = None  # type: ignore[assignment]
