"""When to end a trial early: decided from reports that the worker already holds, without a query.

    pruner.py     what a pruner is told and asked; the one that never prunes
    ladder.py     where rungs lie
    rungs.py      asynchronous successive halving
    promotion.py  the same, but trials pause and may go on later
    adaptive.py   rungs that follow from what trials have shown
    yields.py     which rungs pay
    hyperband.py  several brackets of rungs
    ranking.py    who is ahead at a rung: by value, or by the fronts of several objectives
    curves.py     by where learning curves would end
    median.py     the median stopping rule

A pruner is fed every report of the study that this worker learns of, its own at once and those of
other workers as it reads them. Values are on the objectives' own scales; a first objective of NaN
is always worst. Of several objectives, only rungs look beyond the first. Scores are kept sorted, so
an answer does not take longer when the study is long.
"""

from collections.abc import Sequence
from functools import partial

from tuner.search.pruners.curves import CurvePruner
from tuner.search.pruners.hyperband import HyperbandPruner, make_brackets
from tuner.search.pruners.ladder import Ladder
from tuner.search.pruners.median import MedianPruner
from tuner.search.pruners.promotion import PromotingPruner
from tuner.search.pruners.pruner import NoPruner, ReportPoint
from tuner.search.pruners.rungs import RungPruner
from tuner.study_file.study import Pruner as PrunerSpec
from tuner.trials import Direction

__all__ = [
    "HyperbandPruner",
    "MedianPruner",
    "NoPruner",
    "PromotingPruner",
    "ReportPoint",
    "RungPruner",
    "make",
]


def make(
    spec: PrunerSpec,
    direction: Direction,
    others: Sequence[Direction] = (),
    *,
    last_step: int | None = None,
    by_level: bool = False,
) -> NoPruner:
    """Make the pruner that a study asks for.

    Args:
        spec: The section of the study file.
        direction: Of the first objective.
        others: Directions of the other objectives.
        last_step: The last step of a trial's reports, if it is known.
        by_level: Each step is a level of fidelity, and so a rung.

    """
    ladder = Ladder(spec.first_rung, None if by_level else spec.ratio)
    if spec.is_adaptive:
        # SciPy, which no other study's worker loads for its pruner
        from tuner.search.pruners.adaptive import AdaptiveRungPruner

        return AdaptiveRungPruner(
            direction,
            ladder,
            first_is_fixed=spec.min_epochs != "auto",
            ratio_is_fixed=spec.reduction != "auto",
            last_step=last_step,
            startup_trials=spec.startup_trials,
        )
    make_rungs = partial(
        PromotingPruner if spec.resume else RungPruner,
        direction,
        reduction=spec.ratio,
        startup_trials=spec.startup_trials,
        others=others,
        unit="level" if by_level else "epoch",
    )
    match spec.name:
        case "rungs":
            return make_rungs(ladder)
        case "hyperband":
            assert last_step is not None
            return make_brackets(make_rungs, ladder, last=last_step, reduction=spec.ratio)
        case "curves":
            return CurvePruner(
                direction,
                min_epochs=spec.first_rung,
                startup_trials=spec.startup_trials,
                by_level=by_level,
            )
        case "median":
            return MedianPruner(
                direction, min_epochs=spec.first_rung, startup_trials=spec.startup_trials
            )
        case "none" | None:  # None: a class of the user's choice, which runs elsewhere
            return NoPruner()
