"""The captions of the figures, as plain sentences; the code that shows them escapes them."""

from tuner.figures import (
    burndown,
    confirmation,
    curves,
    edf,
    history,
    hypervolume,
    importance,
    pairs,
    parallel,
    pareto,
    rivals,
    slices,
    spending,
    spread,
    text,
    timeline,
)
from tuner.trials import TrialState


def of_history(info: history.Info) -> str:
    """Explain the marks, and say how often the best improved."""
    if not info.records:
        violating = any(p.trial.violates_constraint for p in info.points[TrialState.COMPLETE])
        reason = "All complete trials violate a constraint" if violating else "None is complete yet"
        return f"Each mark is a trial. {reason}."
    last = info.records[-1][0].trial.number
    gains = len(info.records) - 1
    if not gains:
        return f"Each mark is a trial. No trial has beaten trial {last}."
    times = {1: "once,", 2: "twice, last"}.get(gains, f"{gains} times, last")
    strip = any(p.value is not None for points in info.strip.values() for p in points)
    return f"Each mark is a trial. The best {info.metric} improved {times} with trial {last}." + (
        " Trials far worse than the rest are in the strip." if strip else ""
    )


def of_curves(info: curves.Info) -> str:
    """Explain the curves, and say how many are drawn."""
    parts = [f"Validation {info.metric} after each epoch."]
    if any(info.curves[s] for s in (TrialState.PRUNED, TrialState.PAUSED, TrialState.FAILED)):
        parts.append("A faint curve ends in a mark where its trial stopped early or paused.")
    if info.count < info.total:
        parts.append(f"Shows {info.count:,} of {info.total:,} trials, chosen evenly.")
    return " ".join(parts)


def of_parallel(info: parallel.Info) -> str:
    """Explain the lines, how to use them, and what is left out."""
    parts = [
        "Each line is a complete trial; stronger is better. Drag along an axis to select lines."
    ]
    if len(info.trials) < info.total:
        parts.append(f"Shows {len(info.trials):,} of {info.total:,} trials.")
    if info.left_out:
        parts.append(f"{text.count(info.left_out, 'more parameter')} not shown.")
    return " ".join(parts)


def of_slices(info: slices.Info) -> str:
    """Explain the points, and say what is left out."""
    parts = [
        f"{info.metric[:1].upper()}{info.metric[1:]} of complete trials against each parameter. "
        "Later trials have a stronger colour: where they cluster, the search has converged."
    ]
    if info.count < info.total:
        parts.append(f"Shows {info.count:,} of {info.total:,} trials.")
    if info.left_out:
        parts.append(f"{text.count(info.left_out, 'more parameter')} not shown.")
    return " ".join(parts)


def of_importance(info: importance.Info) -> str:
    """Explain the shares and the dashed lines, and say if no share exceeds its line."""
    sentence = (
        f"How much of the variation in {info.metric} each parameter explains, alone and together "
        "with others, among complete and pruned trials."
    )
    if info.baselines is None:
        return sentence
    sentence += (
        " A parameter without effect stays below its dashed line in at least 19 of 20 studies."
    )
    if not any(info.clear):
        sentence += " None is above its line yet: it takes more trials to tell what matters."
    return sentence


def of_rank(_: pairs.Info) -> str:
    """Explain the marks."""
    return "Each mark is a complete trial, coloured by its rank among those shown."


def of_contour(_: pairs.Info) -> str:
    """Explain the surface."""
    return "Values smoothed over nearby trials; blank where there are none."


def of_heat(_: pairs.Info) -> str:
    """Explain the cells."""
    return "The median of the trials in each cell, and their number."


def of_burndown(info: burndown.Info) -> str:
    """Say how much is left."""
    if info.budget is None:
        return f"{text.count(info.ended, 'trial')} ended; the study has no limit on trials."
    remaining = max(info.budget - info.ended, 0)
    return f"{remaining:,} of {text.count(info.budget, 'trial')} left." + (
        " Dashed: forecast at the pace of the latest trials." if info.forecast is not None else ""
    )


def of_edf(info: edf.Info) -> str:
    """Explain how to read the distribution."""
    side = "right" if info.direction == "maximize" else "left"
    at_most = f"The share of complete trials with at most this {info.metric}"
    return f"{at_most}; further {side} is better."


def of_pareto(info: pareto.Info) -> str:
    """Explain the front."""
    return (
        f"{text.count(len(info.front), 'trial')} that no other beats in every objective, "
        f"and {text.count(len(info.others), 'other')}."
    )


def of_hypervolume(info: hypervolume.Info) -> str:
    """Explain what is measured, and from where."""
    return (
        "How much of the space between the reference point and the ideal the Pareto front covers; "
        f"more is better. {hypervolume.describe_reference(info)}"
    )


def of_timeline(info: timeline.Info) -> str:
    """Explain the bars, and say what is left out."""
    parts = ["Each bar is the latest attempt of a trial, in one of its worker's lanes."]
    if len(info.bars) < info.total and info.bars:
        parts.append(f"Shows {len(info.bars):,} of {info.total:,} trials.")
    if info.left_out:
        parts.append(f"{text.count(info.left_out, 'more lane')} not shown.")
    return " ".join(parts)


def of_confirmation(info: confirmation.Info) -> str:
    """Name the winner, what was shown, and by how much the search was lucky."""
    parts = ["The leading configurations, trained again with fresh seeds.", *info.findings]
    if info.gap is not None:
        by = f"overstated its best {info.metric} by {text.number(info.gap)} (the winner's curse)"
        parts.append(
            f"The search {by}." if info.gap > 0 else "The search did not overstate its best."
        )
    return " ".join(parts)


def of_spending(info: spending.Info) -> str:
    """Say how much time it was, and how much of it was lost."""
    total = info.total()
    parts = [f"{text.duration(total)} of trial time, counting every attempt."]
    lost = info.total(TrialState.FAILED)
    if lost and total:
        parts.append(f"{importance.percent(lost / total)} of it failed or was repeated.")
    return " ".join(parts)


def of_rivals(info: rivals.Info) -> str:
    """Explain the lines."""
    if info.by == "trials":
        return (
            "The best value of each family by the number of trials that have ended, pruned or not."
        )
    return "The best value of each family by total trial time: what it costs to tune."


def of_spread(_: spread.Info) -> str:
    """Explain the boxes, and what they warn of."""
    return (
        "Quartiles and range of the complete trials' values; the star is the best. A best value "
        "far from its box may be luck."
    )
