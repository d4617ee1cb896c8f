"""Which trials keep a study's constraints, and how far the others are from it."""

import math
from collections.abc import Iterable, Sequence

from tuner.study_file import constraints
from tuner.study_file.messages import counted
from tuner.study_file.space import Range
from tuner.trials import Study, Trial, TrialState


def read_bounds(study: Study) -> dict[str, Range]:
    """Read the bounds of the study file; none for a study without one."""
    stored = (study.spec or {}).get("constraints") or {}
    return {name: Range.model_validate(bounds) for name, bounds in stored.items()}


def select_nearest(trials: Iterable[Trial]) -> Trial | None:
    """Select the complete trial that violates its constraints least; None if none is complete."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    return min(complete, key=lambda trial: (trial.violation, trial.number), default=None)


def describe_violations(trial: Trial, study: Study) -> str:
    """Say which constraints a trial violates and by how much: `latency below 5 by 26 %`.

    What user code calls a constraint has no bound, so its value is given as it is.
    """
    relative = set(constraints.names(read_bounds(study)))
    violated = {name: value for name, value in trial.constraints.items() if value > 0}
    return ", ".join(_describe(n, v, is_share=n in relative) for n, v in violated.items())


def _describe(name: str, value: float, *, is_share: bool) -> str:
    if math.isinf(value):
        return f"{name}, which is not known"
    if is_share and not name.endswith(" 0"):
        percent = 100 * value
        return f"{name} by {percent:,.0f} %" if percent >= 1 else f"{name} by {percent:.1g} %"
    return f"{name} by {value:.3g}"


def describe_infeasible(trials: Sequence[Trial], study: Study) -> str | None:
    """Say that no complete trial is feasible, and which one is nearest; None if one is."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    nearest = select_nearest(complete)
    if nearest is None or any(trial.is_feasible for trial in complete):
        return None
    return describe_nearest(nearest, study, len(complete))


def describe_nearest(nearest: Trial, study: Study, count: int) -> str:
    """Say that all of `count` complete trials are infeasible, and what the nearest one misses."""
    who = (
        "the only complete trial violates"
        if count == 1
        else f"all {counted(count, 'complete trial')} violate"
    )
    return (
        f"{who} a constraint; trial {nearest.number} is nearest: it misses "
        f"{describe_violations(nearest, study)}"
    )
