"""Our parameters and stored rows ↔ Optuna's distributions and trials."""

import json
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tuner.database import attributes
from tuner.database.readers.feed import TrialRow
from tuner.database.spaces import Distributions
from tuner.study_file.parameters import CategoricalParameter, FloatParameter, IntParameter, on_step
from tuner.trials import TrialState

OPTUNA_STATE: Mapping[str, OptunaState] = {
    TrialState.WAITING: OptunaState.WAITING,
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
    # it has not ended, and may go on; Optuna itself cannot take it, as it can one that waits
    TrialState.PAUSED: OptunaState.WAITING,
}
OUR_STATE: Mapping[OptunaState, TrialState] = {
    v: TrialState(k) for k, v in OPTUNA_STATE.items() if k != TrialState.PAUSED
}


def distribution(
    parameter: FloatParameter | IntParameter | CategoricalParameter,
) -> BaseDistribution:
    """Optuna's distribution of a searched parameter."""
    if isinstance(parameter, CategoricalParameter):
        return CategoricalDistribution(parameter.choices)
    low, high, log = parameter.low, parameter.high, parameter.log
    with warnings.catch_warnings():
        # a range that does not end on a step is common
        warnings.simplefilter("ignore")
        if isinstance(parameter, FloatParameter):
            return FloatDistribution(low, high, log=log, step=parameter.step)
        return IntDistribution(int(low), int(high), log=log, step=parameter.step)


def as_json(distributions: Mapping[str, BaseDistribution]) -> list[tuple[str, dict[str, Any]]]:
    """Distributions as the database stores them."""
    return [(name, json.loads(distribution_to_json(d))) for name, d in distributions.items()]


def from_json(stored: Distributions) -> dict[str, BaseDistribution]:
    """Distributions from what the database stores."""
    return {name: json_to_distribution(json.dumps(value)) for name, value in stored}


def internal(
    params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
) -> list[float]:
    """Optuna's internal representation of parameters, in the distributions' order."""
    return [canonical(d.to_internal_repr(params[name]), d) for name, d in distributions.items()]


def canonical(value: float, distribution: BaseDistribution) -> float:
    """An internal value as it is stored: one that steps, in the decimals of its steps.

    Optuna adds up steps as floats, so that its third step of 0.1 is 0.30000000000000004.
    """
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        return on_step(value, distribution.low, distribution.step)
    return value


def frozen(row: TrialRow, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """Optuna's view of a stored trial; a paused one has neither an end nor a value."""
    if row.state == TrialState.PAUSED:
        row = row._replace(values=None, finished_at=None)
    return FrozenTrial(
        trial_id=row.id,
        number=row.number,
        state=OPTUNA_STATE[row.state],
        value=None,
        values=row.values,
        datetime_start=naive(row.started_at),
        datetime_complete=naive(row.finished_at),
        params={
            name: d.to_external_repr(value)
            for (name, d), value in zip(distributions.items(), row.params, strict=True)
        },
        distributions=dict(distributions),
        user_attrs=attributes.decode(json.loads(row.user_attrs)),
        system_attrs=attributes.decode(json.loads(row.system_attrs)),
        intermediate_values=dict(zip(row.steps or (), row.report_values or (), strict=True)),
    )


def naive(moment: datetime | None) -> datetime | None:
    """Optuna's times are local and without a zone."""
    return None if moment is None else moment.astimezone().replace(tzinfo=None)


def aware(moment: datetime | None) -> datetime | None:
    """A local time without a zone, as Optuna gives it, in UTC."""
    return None if moment is None else moment.astimezone(UTC)
