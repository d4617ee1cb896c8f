"""How much each parameter explains of the differences between a study's trials.

Complete and pruned trials count: if some were pruned, all are compared by their best value up to a
step that most of them have reached. With several objectives, the first one counts.
"""

import math
import random
from collections.abc import Mapping, Sequence

import numpy as np
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tuner.database.engine import Database
from tuner.database.readers.columns import Reports, reports_of
from tuner.search.effects import (
    Array,
    Effect,
    effects,
    kernel_of_choices,
    kernel_of_numbers,
    kernel_of_some,
)
from tuner.search.history import History
from tuner.trials import Study

MIN_TRIALS = 10  # with fewer, hardly any effect exceeds chance
SAMPLE = 160  # trials that are looked at: with more, only effects of a few percent become clearer
REACHED = 0.8  # of the trials at the step by which they are compared


def importances(database: Database, of: Study) -> dict[str, Effect] | None:
    """Return parameter → effect: those that exceed chance first, then by size.

    None while fewer than `MIN_TRIALS` are complete, pruned or paused, or if nothing can be said
    (all values equal).
    """
    history = History(of.id, with_reports=False)
    with database.statement() as connection:
        history.refresh(connection)
        numbers = history.ended()
        if len(numbers) > SAMPLE:  # whatever their values: a choice by these would be an effect
            numbers = sorted(random.Random(of.id).sample(numbers, SAMPLE))
        ended = history.select(numbers)
        pruned = any(t.state is not OptunaState.COMPLETE for t in ended)
        reports = reports_of(connection, of.id, numbers) if pruned else None
    maximize = of.directions[0] == "maximize"
    values = _values(ended, reports, maximize=maximize)
    columns = [(t, v) for t, v in zip(ended, values, strict=True) if not math.isnan(v)]
    if len(columns) < MIN_TRIALS:
        return None
    trials, complete = [t for t, _ in columns], np.array([v for _, v in columns])
    names = list(dict.fromkeys(name for t in trials for name in t.params))
    if not names or complete.min() == complete.max():
        return None
    explained = effects([_kernel(trials, name) for name in names], complete)
    pairs = zip(names, explained, strict=True)
    return dict(sorted(pairs, key=lambda pair: (not pair[1].is_clear, -pair[1].value)))


def shares(effects: Mapping[str, Effect] | None) -> dict[str, float] | None:
    """Return parameter → share of the variance that it explains."""
    return None if effects is None else {name: effect.value for name, effect in effects.items()}


def baselines(effects: Mapping[str, Effect] | None) -> dict[str, float] | None:
    """Return parameter → share that chance alone would explain."""
    return None if effects is None else {name: effect.baseline for name, effect in effects.items()}


def clear(effects: Mapping[str, Effect] | None) -> dict[str, float]:
    """Return parameter → share, of those whose effect exceeds chance."""
    return {name: effect.value for name, effect in (effects or {}).items() if effect.is_clear}


def _values(
    trials: Sequence[FrozenTrial], reports: Reports | None, *, maximize: bool
) -> Sequence[float]:
    """By which trials are compared; NaN for one that was pruned before the others' step."""
    complete = [
        t.values[0] if t.state is OptunaState.COMPLETE and t.values else math.nan for t in trials
    ]
    if reports is None:
        return complete
    better = max if maximize else min
    spans = reports.spans(np.array([t.number for t in trials], np.int64))
    steps, values = reports.steps.tolist(), reports.values.tolist()
    last = sorted(steps[b - 1] if b > a else -1 for a, b in spans)
    rung = last[int((1 - REACHED) * len(last))]  # so many have come as far, or farther
    if rung < 0:  # they were pruned without a report
        return complete
    out: list[float] = []
    for (a, b), value in zip(spans, complete, strict=True):
        upto = [v for s, v in zip(steps[a:b], values[a:b], strict=True) if s <= rung]
        numbers = [v for v in upto if not math.isnan(v)]
        came_as_far = b > a and steps[b - 1] >= rung
        out.append(better(numbers) if came_as_far and numbers else value)  # or it ended by itself
    return out


def _kernel(trials: Sequence[FrozenTrial], name: str) -> Array:
    having = [t for t in trials if name in t.params]
    values = [t.params[name] for t in having]
    if any(isinstance(t.distributions[name], CategoricalDistribution) for t in having):
        kernel = kernel_of_choices([(type(v), v) for v in values])
    else:
        kernel = kernel_of_numbers(np.array(values, float))
    return kernel_of_some(kernel, np.array([name in t.params for t in trials]))
