"""What trials have cost, and on which device, from the attributes that workers store."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from tuner.trials import TRAINING_SECONDS

_OF_COMPLETE = text("""
    SELECT number, objective_values[1] AS value,
           CAST(extract(epoch FROM finished_at - started_at) AS double precision) AS seconds,
           ARRAY(SELECT user_attrs ->> name FROM unnest(CAST(:names AS text[])) WITH ORDINALITY
                 AS wanted (name, place) ORDER BY place) AS costs
    FROM tuner.trials
    WHERE study_id = :study AND state = 'complete'
    ORDER BY number
""")


_DEVICES = text("""
    SELECT number, user_attrs ->> 'device' AS device FROM tuner.trials
    WHERE study_id = :study AND number = ANY(CAST(:numbers AS integer[]))
      AND user_attrs ->> 'device' LIKE '"%"'
""")


@dataclass(frozen=True, slots=True)
class TrialCosts:
    """The costs of complete trials, by number."""

    numbers: NDArray[np.int64]
    values: NDArray[np.float64]  # of the first objective
    costs: NDArray[np.float64]  # (trials, names); NaN if not measured


def of_complete(connection: Connection, study_id: int, names: Sequence[str]) -> TrialCosts:
    """Read the costs of these names (`trials.COSTS`) of all complete trials of a study.

    If a trial did not measure how long it trained, how long it ran is used instead.
    """
    rows = connection.execute(_OF_COMPLETE, {"study": study_id, "names": list(names)}).all()
    costs = np.array([[_number(cost) for cost in row.costs] for row in rows], np.float64)
    costs = costs.reshape(len(rows), len(names))
    if TRAINING_SECONDS in names:
        place = list(names).index(TRAINING_SECONDS)
        ran = np.array([row.seconds for row in rows], np.float64)
        costs[:, place] = np.where(np.isfinite(costs[:, place]), costs[:, place], ran)
    return TrialCosts(
        np.array([row.number for row in rows], np.int64),
        np.array([row.value for row in rows], np.float64),
        costs,
    )


def devices(connection: Connection, study_id: int, numbers: Sequence[int]) -> dict[int, str]:
    """Read the devices that trials ran on, by number, if their workers stored them."""
    rows = connection.execute(_DEVICES, {"study": study_id, "numbers": list(numbers)})
    return {row.number: str(json.loads(row.device)) for row in rows}


def _number(stored: str | None) -> float:
    """Parse an attribute as a number; NaN if it is none: programs may write anything."""
    try:
        value = json.loads(stored or "null")
    except ValueError:
        return float("nan")
    return float(value) if type(value) in (int, float) else float("nan")
