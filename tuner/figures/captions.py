"""What stands beside each figure, as plain sentences: whoever shows them escapes them."""

from collections.abc import Sequence

from tuner.figures import curves, history, importance, parallel, slices, text
from tuner.trials import Trial, TrialState


def of_history(found: history.Info) -> str:
    """The marks, and how often the best improved."""
    if not found.records:
        return "Each mark is a trial. None has completed yet."
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


def of_importance(metric: str) -> str:
    """What the shares are."""
    return (
        f"What share of the differences in {metric} each parameter explains "
        "(PED-ANOVA over the complete trials)."
    )


def why_no_importance(trials: Sequence[Trial]) -> str:
    """Why there are no importances: too few complete trials, or all alike."""
    complete = sum(t.state is TrialState.COMPLETE for t in trials)
    if complete < importance.MIN_TRIALS:
        so_far = f"{'is' if complete == 1 else 'are'} {complete or 'none'} so far"
        return (
            f"Importance is computed from {importance.MIN_TRIALS} complete trials on: with fewer, "
            f"any ranking would be noise. There {so_far}."
        )
    return "The complete trials do not differ enough to tell what matters."
