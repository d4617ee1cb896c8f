"""A past study in few numbers: a bounded choice of its trials, with the values they have reached.

The choice is made at launch and stored beside the study that learns, so every worker knows the
same, and neither a later trial of the past study nor its deletion changes anything.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution

from tuner.search.cells import searched
from tuner.search.distributions import as_json, from_json
from tuner.search.history import History
from tuner.search.observations import Observer
from tuner.search.tried import Tried
from tuner.study_file.parameters import FixedParameter
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import ParamValue, Study

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BEST = 100  # trials that are kept for their values
SPREAD = 100  # trials that are kept of the others, evenly spaced by value


@dataclass(frozen=True, slots=True)
class PastStudy:
    """What is known of a past study.

    Args:
        name: Its name when the other study was launched.
        metric: Its first objective.
        total: The number of its trials that had a value; at most `BEST + SPREAD` are kept.
        space: Optuna's distributions of its searched parameters.
        pinned: The values of those that it had pinned without a condition.
        numbers: The numbers of the trials that are kept [N].
        params: Their parameters [N, p] in Optuna's internal representation; NaN where inactive.
        values: The values they have reached or would reach [N]; smaller is better.
        deviations: Their standard deviations [N]; 0 for complete trials.

    """

    name: str
    metric: str
    total: int
    space: Mapping[str, BaseDistribution]
    pinned: Mapping[str, ParamValue]
    numbers: Integers
    params: Floats
    values: Floats
    deviations: Floats

    def as_json(self) -> dict[str, Any]:
        """Return plain values; `from_json` returns an equal record."""
        return {
            "name": self.name,
            "metric": self.metric,
            "total": self.total,
            "space": as_json(self.space),
            "pinned": dict(self.pinned),
            "numbers": self.numbers.tolist(),
            "params": self.params.tolist(),
            "values": self.values.tolist(),
            "deviations": self.deviations.tolist(),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "PastStudy":
        """Read what `as_json` returned."""
        space = from_json(stored["space"])
        numbers = np.asarray(stored["numbers"], np.int64)
        return cls(
            name=stored["name"],
            metric=stored["metric"],
            total=stored["total"],
            space=space,
            pinned=stored["pinned"],
            numbers=numbers,
            params=np.asarray(stored["params"], np.float64).reshape(len(numbers), len(space)),
            values=np.asarray(stored["values"], np.float64),
            deviations=np.asarray(stored["deviations"], np.float64),
        )


@dataclass(frozen=True, slots=True)
class Advice:
    """A past configuration to try, in the space of the study that learns.

    Args:
        study: The name of the past study.
        number: The number of the past trial.
        params: The searched parameters.

    """

    study: str
    number: int
    params: Mapping[str, ParamValue]


@dataclass(frozen=True, slots=True)
class WarmStart:
    """What a study has learned at its launch."""

    studies: tuple[PastStudy, ...] = ()
    portfolio: tuple[Advice, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.studies)

    def as_text(self) -> str:
        """Return it as it is stored."""
        portfolio = [
            {"study": advice.study, "number": advice.number, "params": dict(advice.params)}
            for advice in self.portfolio
        ]
        studies = [study.as_json() for study in self.studies]
        return json.dumps({"studies": studies, "portfolio": portfolio})

    @classmethod
    def from_text(cls, stored: str | None) -> "WarmStart":
        """Read what is stored; nothing was learned where nothing is."""
        if stored is None:
            return cls()
        content = json.loads(stored)
        return cls(
            tuple(map(PastStudy.from_json, content["studies"])),
            tuple(Advice(**advice) for advice in content["portfolio"]),
        )


def summarize(study: Study, history: History) -> PastStudy:
    """Return a study whose history has been read: its best trials, and some of all others."""
    space, pinned = _space(history, study)
    observer = Observer(list(space), study.directions, Tried(space))
    history.watch(observer)
    observations = observer.observations()
    values = observations.values[:, 0]
    order = np.argsort(values, kind="stable")
    others = order[BEST:]
    if len(others) > SPREAD:
        others = others[np.linspace(0, len(others) - 1, SPREAD).astype(int)]
    kept = np.sort(np.concatenate([order[:BEST], others]))
    return PastStudy(
        name=study.name,
        metric=study.metric,
        total=len(values),
        space=space,
        pinned=pinned,
        numbers=observations.numbers[kept],
        params=observations.params[kept],
        values=values[kept],
        deviations=observations.deviations[kept, 0],
    )


def _space(
    history: History, study: Study
) -> tuple[dict[str, BaseDistribution], dict[str, ParamValue]]:
    """Return the searched parameters, and the pinned ones.

    Trials of a study made through Optuna may have different distributions under one name: the
    latest counts, and trials with another one are left out.
    """
    if study.spec is None:
        return {name: d for space in history.spaces for name, d in space.items()}, {}
    space = ResolvedSpec.from_json(study.spec).space
    pinned = {
        name: parameter.value
        for name, parameter in space.parameters.items()
        if isinstance(parameter, FixedParameter) and not parameter.when
    }
    return searched(space), pinned
