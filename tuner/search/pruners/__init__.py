"""When to end a trial early: decided from reports that the worker already holds, without a query.

    pruner.py   what a pruner is told and asked; the one that never prunes
    rungs.py    asynchronous successive halving
    ranking.py  who is ahead at a rung: by value, or by the fronts of several objectives
    median.py   the median stopping rule

A pruner is fed every report of the study that this worker learns of, its own at once and those of
other workers as it reads them. Values are on the objectives' own scales; a first objective of NaN
is always worst. Of several objectives, only rungs look beyond the first. Scores are kept sorted, so
an answer does not take longer when the study is long.
"""

from collections.abc import Sequence

from tuner.search.pruners.median import MedianPruner
from tuner.search.pruners.pruner import NoPruner, ReportPoint
from tuner.search.pruners.rungs import RungPruner
from tuner.study_file.study import Pruner as PrunerSpec
from tuner.trials import Direction

__all__ = ["MedianPruner", "NoPruner", "ReportPoint", "RungPruner", "make"]


def make(spec: PrunerSpec, direction: Direction, others: Sequence[Direction] = ()) -> NoPruner:
    """Make the pruner that a study asks for; `others` are the directions of other objectives."""
    if spec.name == "rungs":
        return RungPruner(
            direction,
            min_epochs=spec.min_epochs,
            reduction=spec.reduction,
            startup_trials=spec.startup_trials,
            others=others,
        )
    if spec.name == "median":
        return MedianPruner(
            direction, min_epochs=spec.min_epochs, startup_trials=spec.startup_trials
        )
    return NoPruner()
