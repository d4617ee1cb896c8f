"""What stands beside each figure, as plain sentences: whoever shows them escapes them."""

from tuner.figures import (
    burndown,
    confirmation,
    curves,
    edf,
    history,
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


def of_history(found: history.Info) -> str:
    """The marks, and how often the best improved."""
    if not found.records:
        violating = any(p.trial.violates_constraint for p in found.points[TrialState.COMPLETE])
        said = (
            "All that are complete violate a constraint" if violating else "None has completed yet"
        )
        return f"Each mark is a trial. {said}."
    last = found.records[-1][0].trial.number
    gains = len(found.records) - 1
    if not gains:
        return f"Each mark is a trial. No trial has beaten trial {last}."
    times = {1: "once,", 2: "twice, last"}.get(gains, f"{gains} times, last")
    strip = any(p.value is not None for points in found.strip.values() for p in points)
    return f"Each mark is a trial. The best {found.metric} improved {times} with trial {last}." + (
        " Trials far worse than the rest stand in the strip." if strip else ""
    )


def of_curves(found: curves.Info) -> str:
    """What the curves are, and how many of them are drawn."""
    parts = [f"Validation {found.metric} after each epoch."]
    if any(found.curves[state] for state in (TrialState.PRUNED, TrialState.FAILED)):
        parts.append("Faint curves end in a mark where a trial was ended early.")
    if found.drawn < found.total:
        parts.append(f"Drawn are {found.drawn:,} of {found.total:,} trials, evenly chosen.")
    return " ".join(parts)


def of_parallel(found: parallel.Info) -> str:
    """What the lines are, what to do with them, what is left out."""
    parts = [
        "Each line is a complete trial, the stronger the better. "
        "Drag along an axis to follow only some of them."
    ]
    if len(found.trials) < found.total:
        parts.append(f"Drawn are {len(found.trials):,} of {found.total:,}.")
    if found.left_out:
        parts.append(f"{text.count(found.left_out, 'further parameter')} not shown.")
    return " ".join(parts)


def of_slices(found: slices.Info) -> str:
    """What the points are, and what is left out."""
    parts = [
        f"{found.metric[:1].upper()}{found.metric[1:]} of complete trials against each parameter. "
        "Later trials are stronger in colour, so a cloud that gathers shows where the search went."
    ]
    if found.drawn < found.total:
        parts.append(f"Drawn are {found.drawn:,} of {found.total:,}.")
    if found.left_out:
        parts.append(f"{text.count(found.left_out, 'further parameter')} not shown.")
    return " ".join(parts)


def of_importance(found: importance.Info) -> str:
    """What the shares and the dashed lines are, and whether anything is beyond them."""
    said = (
        f"The share of the differences in {found.metric} that each parameter explains, by itself "
        "and together with others, among complete and pruned trials."
    )
    if found.baselines is None:
        return said
    said += (
        " A parameter without any effect stays below its dashed line in at least 19 of 20 studies."
    )
    if not any(found.clear):
        said += " None is above it yet: more trials are needed to tell what matters."
    return said


def of_rank(_: pairs.Info) -> str:
    """What the marks are."""
    return "Each mark is a complete trial, coloured by its rank among those shown."


def of_contour(_: pairs.Info) -> str:
    """What the surface is."""
    return "Values smoothed over the trials nearby; blank where none was."


def of_heat(_: pairs.Info) -> str:
    """What the cells are."""
    return "The median of the trials in each cell, with how many there are."


def of_burndown(found: burndown.Info) -> str:
    """What is left."""
    if found.budget is None:
        return f"{text.count(found.ended, 'trial')} ended; the study has no budget of trials."
    left = max(found.budget - found.ended, 0)
    return f"{left:,} of {text.count(found.budget, 'trial')} left." + (
        " Dashed: at the pace of the latest trials." if found.forecast is not None else ""
    )


def of_edf(found: edf.Info) -> str:
    """How to read the distribution."""
    good = "the further right" if found.direction == "maximize" else "the further left"
    return f"The share of complete trials with at most that {found.metric}: {good}, the better."


def of_pareto(found: pareto.Info) -> str:
    """What the front is."""
    return (
        f"{text.count(len(found.front), 'trial')} that no other beats in every objective, "
        f"and {text.count(len(found.others), 'other')}."
    )


def of_timeline(found: timeline.Info) -> str:
    """What the bars are, and what is left out."""
    parts = ["Each bar is the latest attempt of a trial, in a lane of its worker."]
    if len(found.bars) < found.total and found.bars:
        parts.append(f"Drawn are {len(found.bars):,} of {found.total:,}.")
    if found.left_out:
        parts.append(f"{text.count(found.left_out, 'further lane')} not shown.")
    return " ".join(parts)


def of_confirmation(found: confirmation.Info) -> str:
    """Who has won, what was shown, and what luck there was in the search."""
    parts = ["The leading configurations, trained again with fresh seeds.", *found.shown]
    if found.gap is not None:
        by = f"overstated its best {found.metric} by {text.number(found.gap)} (the winner's curse)"
        parts.append(
            f"The search {by}." if found.gap > 0 else "The search did not overstate its best."
        )
    return " ".join(parts)


def of_spending(found: spending.Info) -> str:
    """How much it was, and what of it brought nothing."""
    total = found.total()
    parts = [f"{text.duration(total)} of trials, every attempt counted."]
    lost = found.total(TrialState.FAILED)
    if lost and total:
        parts.append(f"{importance.percent(lost / total)} of it failed or was done again.")
    return " ".join(parts)


def of_rivals(found: rivals.Info) -> str:
    """What the lines are."""
    if found.by == "trials":
        return (
            "The best value of each family after so many trials have ended, pruned ones among them."
        )
    return (
        "The same by the time that these trials have taken together: what a family costs to tune."
    )


def of_spread(_: spread.Info) -> str:
    """What the boxes are, and what they warn of."""
    return (
        "Quartiles and range of the values that complete trials have reached; the star is the "
        "best. A best far from its box may be luck."
    )
