"""Trials on their way between Optuna's storages and ours: what each side stores of them.

A copy has no running trials: nobody would ever end them, and samplers keep away from where they
are. They are failed in the copy, with their parameters and reports, and can be queued again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, distribution_to_json
from optuna.trial import FrozenTrial

from tuner.database import spaces
from tuner.database.bulk import NewTrial
from tuner.database.feed import TrialRow
from tuner.database.spaces import StoredSpace
from tuner.search.distributions import OUR_STATE, aware, frozen
from tuner.trials import Cause, TrialState

CAUSE, MESSAGE = "tuner:cause", "tuner:message"  # system attributes: why a trial failed, here
WAS_RUNNING = "it was running when the study was copied"


def new_trials(trials: Iterable[FrozenTrial], now: datetime) -> Iterator[NewTrial]:
    """Optuna's trials as the database stores them; those that run end at `now`."""
    known = _Spaces()
    for trial in trials:
        state = OUR_STATE[trial.state]
        cause: Cause | None = None
        message: str | None = None
        finished_at = aware(trial.datetime_complete)
        system_attrs: Mapping[str, Any] = trial.system_attrs
        if state is TrialState.RUNNING:
            state, cause, message = TrialState.FAILED, Cause.LOST, WAS_RUNNING
            finished_at = now
        elif CAUSE in system_attrs or MESSAGE in system_attrs:
            cause, message, system_attrs = _reason(system_attrs)
        space, params = known.stored(trial)
        yield NewTrial(
            number=trial.number,
            state=state,
            space=space,
            params=params,
            values=trial.values,
            reports=trial.intermediate_values,
            user_attrs=trial.user_attrs,
            system_attrs=system_attrs,
            started_at=aware(trial.datetime_start),
            finished_at=finished_at,
            cause=cause,
            message=message,
        )


def _reason(attrs: Mapping[str, Any]) -> tuple[Cause | None, str | None, Mapping[str, Any]]:
    """Cause, message and the other attributes of a trial that was exported from tuner."""
    others = {key: value for key, value in attrs.items() if key not in (CAUSE, MESSAGE)}
    cause, message = attrs.get(CAUSE), attrs.get(MESSAGE)
    if cause not in (None, *Cause) or not isinstance(message, str | None):
        return None, None, attrs  # somebody else's
    return None if cause is None else Cause(cause), message, others


class _Spaces:
    """Turns thousands of trials' distributions, each an object of its own, into the few sets."""

    def __init__(self) -> None:
        self._sets: dict[tuple[Any, ...], StoredSpace] = {}
        self._choices: dict[str, dict[str, int]] = {}  # choices → choice → its index, by repr

    def stored(self, trial: FrozenTrial) -> tuple[StoredSpace | None, list[float]]:
        """The set that a trial's parameters were drawn from, and the parameters in its order."""
        if not trial.distributions:
            return None, []
        values = trial.params
        params: list[float] = []
        key: list[Any] = []
        for name, distribution in trial.distributions.items():
            kind = type(distribution)
            if kind is CategoricalDistribution:
                choices = repr(distribution.__dict__["choices"])
                key += (name, choices)
                params.append(self._index(choices, distribution, values[name]))
            else:
                key += (name, kind, *distribution.__dict__.values())
                params.append(values[name])
        found = self._sets.get(whole := tuple(key))
        if found is None:
            found = self._sets[whole] = spaces.stored(
                [
                    (name, json.loads(distribution_to_json(d)))
                    for name, d in trial.distributions.items()
                ]
            )
        return found, params

    def _index(self, choices: str, distribution: BaseDistribution, value: Any) -> float:
        """The choice's index; Optuna itself takes True for 1 and 1.0 for 1."""
        known = self._choices.get(choices)
        if known is None:
            known = self._choices[choices] = {}
            for index, choice in enumerate(distribution.__dict__["choices"]):
                known.setdefault(repr(choice), index)
        index_ = known.get(repr(value))
        return distribution.to_internal_repr(value) if index_ is None else index_


def template(
    row: TrialRow, distributions: Mapping[str, BaseDistribution], now: datetime
) -> FrozenTrial:
    """A stored trial as Optuna is to store it; one that runs ends at `now`."""
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
