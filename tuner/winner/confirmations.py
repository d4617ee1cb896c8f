"""What a confirmation has shown, as stored with its study: read it, describe it in English.

`commands.confirming` writes these records. Command line, cards, reports and figures read them here,
so that they agree.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tuner import shell
from tuner.study_file.messages import counted, listed
from tuner.study_file.study import metric_range
from tuner.trials import Study, Trial

ATTRIBUTE = "tuner:confirmation"  # of the study
ENOUGH = 3  # seeds from which differences are judged: two have no spread to speak of
FORMER = (
    "A former version of tuner made this confirmation. Its trainings had seeds of their own, so "
    "nothing is told apart; the best mean wins. Confirm the study again to compare them."
)


def read(study: Study) -> Mapping[str, Any] | None:
    """What a confirmation of the study has shown, in today's form; None if there is none.

    A study without a specification was made through Optuna or imported: there, an attribute of
    this name may hold anything and is ignored.
    """
    if study.spec is None:
        return None
    record: Mapping[str, Any] | None = study.user_attrs.get(ATTRIBUTE)
    if record is None or "standing" in record["candidates"][0]:
        return record
    return _upgraded(record, study)


def _upgraded(record: Mapping[str, Any], study: Study) -> dict[str, Any]:
    """A former version took what it did not tell apart for equal, and the cheapest of it won."""
    sign = 1.0 if study.direction == "maximize" else -1.0
    left = [c for c in record["candidates"] if c["number"] in record["tied"] and c["values"]]
    leader = max(left, key=lambda c: (sign * c["mean"], -c["number"]))["number"]
    candidates = []
    for candidate in record["candidates"]:
        standing = "wins" if candidate["number"] == leader else "not told apart"
        if candidate["number"] not in record["tied"]:
            standing = "failed" if candidate["failed"] else "worse"
        interval = candidate["interval"]
        if interval is not None:
            interval = (
                list(within_range(tuple(interval), study.metric, candidate["values"]))
                if len(candidate["values"]) >= ENOUGH
                else None
            )
        candidates.append({**candidate, "interval": interval, "standing": standing})
    return {
        **{key: value for key, value in record.items() if key != "tied"},
        "winner": leader,
        "best_mean": leader,
        "margin": None,
        "margin_given": False,
        "bound": None,
        "seeds": max(len(c["values"]) for c in left),
        "candidates": candidates,
        "former": True,
    }


def read_trial(study: Study, trial: Trial) -> dict[str, Any] | None:
    """What a confirmation has shown of this trial; None if nothing."""
    record = read(study)
    if record is None:
        return None
    for candidate in record["candidates"]:
        if candidate["number"] == trial.number:
            return {
                "mean": candidate["mean"],
                "interval": candidate["interval"],
                "seeds": len(candidate["values"]),
                "overstated_by": candidate["overstated_by"],
                "won": record["winner"] == trial.number,
                "standing": candidate["standing"],
                "best_mean": record["best_mean"],
                "margin": record["margin"],
                "bound": record["bound"],
                "shown": sentences(record),
            }
    return None


def numbers(record: Mapping[str, Any], *standings: str) -> list[int]:
    """The candidates of these standings, or all; the best first."""
    return [
        c["number"] for c in record["candidates"] if not standings or c["standing"] in standings
    ]


def sentences(record: Mapping[str, Any]) -> list[str]:
    """What it has shown and what it has not."""
    winner, best = record["winner"], record["best_mean"]
    if record.get("former"):
        return [f"Trial {winner} wins with the best mean.", FORMER]
    seeds = counted(record["seeds"], "fresh seed")
    failed = [c for c in record["candidates"] if c["standing"] == "failed"]
    if record["margin"] is None:
        return [
            f"Trial {winner} wins with the best mean of {seeds}.",
            f"Nothing is told apart: that takes {ENOUGH} seeds or more.",
            *([_left_out(record, failed)] if failed else []),
        ]
    margin = f"{record['margin']:.3g}"
    if not record["margin_given"]:
        margin += ", one standard error of the best mean"
    if winner != best:
        said = [
            f"Trial {winner} wins: it is cheaper than trial {best}, which has the best mean of "
            f"{seeds}, and is shown not inferior within the margin ({margin})."
        ]
    else:
        said = [f"Trial {winner} wins with the best mean of {seeds}."]
        cheaper = [c for c in record["candidates"] if c.get("cheaper")]
        if cheaper:
            said.append(
                f"{_trials([c['number'] for c in cheaper])} {_be(cheaper)} cheaper, but may be "
                f"worse than the best mean by more than the margin ({margin})."
            )
    if apart := numbers(record, "not told apart"):
        said.append(
            f"Not told apart from the best mean: {_trials(apart, capital=False)}. That does not "
            "make them equal; more seeds would tell."
        )
    if len(record["candidates"]) > 1:
        said.append(_bound(record))
    if failed:
        said.append(_left_out(record, failed))
    if unknown := [
        c["number"]
        for c in record["candidates"]
        if c["seconds"] is None and c["standing"] not in ("worse", "failed")
    ]:
        said.append(
            f"What {_trials(unknown, capital=False)} cost{'s' if len(unknown) == 1 else ''} is not "
            "compared: no training without a cold start was measured."
        )
    return said


def _bound(record: Mapping[str, Any]) -> str:
    """By how much another candidate may be better than the winner."""
    winner, bound = record["winner"], record["bound"]
    remaining = [c for c in record["candidates"] if c["standing"] != "failed"]
    if bound is None or math.isinf(bound):
        if len({value for c in remaining for value in c["values"]}) == 1:
            return (
                "All trainings gave the same value, which does not show how much seeds can change "
                f"it: another candidate may be better than trial {winner}."
            )
        return (
            f"By how much another candidate may be better than trial {winner} is unknown: too few "
            f"seeds have a value of both ({ENOUGH} are needed), because trainings failed."
        )
    by = f" by more than {_above(bound)}" if bound > 0 else ""
    which = "no candidate" if remaining == record["candidates"] else "no remaining candidate"
    return f"With 95 % confidence, {which} is better than trial {winner}{by}."


def _left_out(record: Mapping[str, Any], failed: Sequence[Mapping[str, Any]]) -> str:
    """Which candidates failed, and how to give them another attempt."""
    listing = listed(
        [f"trial {c['number']} ({c['failed']} of {len(c['values']) + c['failed']})" for c in failed]
    )
    retry = shell.command("retry", record["study"])
    return (
        f"Left out because trainings failed: {listing}. To try them again, run `{retry}` and "
        "confirm again."
    )


def _trials(found: Sequence[int], *, capital: bool = True) -> str:
    word = "trial" if len(found) == 1 else "trials"
    return f"{word.capitalize() if capital else word} {listed(list(map(str, found)))}"


def _be(found: Sequence[Any]) -> str:
    return "is" if len(found) == 1 else "are"


def _above(bound: float) -> str:
    """A bound above 0 with three digits, never rounded down."""
    unit = 10.0 ** (math.floor(math.log10(bound)) - 2)
    return f"{math.ceil(bound / unit) * unit:.3g}"


def within_range(
    interval: tuple[float, float], metric: str, values: Sequence[float]
) -> tuple[float, float]:
    """The part of an interval that is inside the metric's range.

    Where a value is outside of it, the name means something else in the user's code.
    """
    low, high = metric_range(metric)
    if any(not low <= value <= high for value in values):
        return interval
    return max(low, interval[0]), min(high, interval[1])
