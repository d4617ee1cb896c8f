"""How much each parameter explains of the differences between trials (PED-ANOVA)."""

import copy
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import SimpleNamespace
from typing import Any

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial

from tuner.database.engine import Database
from tuner.search.draft import DraftStorage, study
from tuner.search.history import History
from tuner.trials import Direction, Study

MIN_TRIALS = 10  # complete ones; with fewer any ranking is noise
ROUNDS = 24  # bootstrap samples
INTERVAL = (0.1, 0.9)  # quantiles over the rounds
BASELINE = "a random number"


@dataclass(frozen=True, slots=True)
class Share:
    """What a parameter explains, with where that lies in most samples of the trials."""

    value: float
    low: float
    high: float


def importances(database: Database, of: Study) -> dict[str, float] | None:
    """Parameter → share of what all parameters explain, the largest first.

    PED-ANOVA (Watanabe, Bansal & Hutter, IJCAI 2023) over complete trials; None while there are
    fewer than `MIN_TRIALS` or where nothing can be said (all values equal).
    """
    history = History(of.id)
    with database.statement() as connection:
        history.refresh(connection)
    complete = [t for t in history.trials if t.state is optuna.trial.TrialState.COMPLETE]
    return None if len(complete) < MIN_TRIALS else _evaluate(complete, of.directions)


def shares(
    database: Database, of: Study, numbers: Sequence[int]
) -> tuple[dict[str, Share], float] | None:
    """Share of each parameter, the largest first, and what a random number would seem to explain.

    Over the complete ones among these trials. Medians over bootstrap samples (Efron, 1979), in each
    of which the random number is drawn anew: a parameter whose interval reaches down to the
    baseline may have no effect at all. None as in `importances`.
    """
    history = History(of.id, with_reports=False)
    with database.statement() as connection:
        history.refresh(connection)
    complete = [t for t in history.select(numbers) if t.state is optuna.trial.TrialState.COMPLETE]
    if len(complete) < MIN_TRIALS:
        return None
    rng = random.Random(of.id)
    name = BASELINE
    while any(name in t.params for t in complete):
        name += "_"
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        sample = [_with_random(t, name, rng) for t in rng.choices(complete, k=len(complete))]
        for parameter, share in (_evaluate(sample, of.directions) or {}).items():
            found.setdefault(parameter, []).append(share)
    baseline = found.pop(name, [0.0])
    if not found:
        return None
    ordered = sorted(found.items(), key=lambda pair: -median(pair[1]))
    return {parameter: _share(drawn) for parameter, drawn in ordered}, median(baseline)


def _share(drawn: list[float]) -> Share:
    ordered = sorted(drawn)
    low, high = (ordered[round(q * (len(ordered) - 1))] for q in INTERVAL)
    return Share(median(ordered), low, high)


def _with_random(trial: FrozenTrial, name: str, rng: random.Random) -> FrozenTrial:
    made = copy.copy(trial)
    made.params = {**trial.params, name: rng.random()}
    made.distributions = {**trial.distributions, name: FloatDistribution(0.0, 1.0)}
    return made


def _evaluate(
    trials: Sequence[FrozenTrial], directions: Sequence[Direction]
) -> dict[str, float] | None:
    known: Any = SimpleNamespace(trials=trials)  # all of a history that a storage of drafts reads
    view = study(DraftStorage(known, directions), optuna.samplers.RandomSampler())
    try:
        # of several objectives the first, as for everything that can speak of one alone
        first = None if len(directions) == 1 else _first_value
        found: Mapping[str, float] = optuna.importance.get_param_importances(view, target=first)
    except (RuntimeError, ValueError):
        return None
    return dict(found) or None


def _first_value(trial: FrozenTrial) -> float:
    return float(trial.values[0])
