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

ATTRIBUTE = "tuner:confirmation"  # of the confirmed study
ENOUGH = 3  # seeds needed to judge differences: two show too little of the spread
FORMER = (
    "A former version of tuner made this confirmation. Its trainings had seeds of their own, so "
    "nothing is told apart; the best mean wins. Confirm the study again to compare them."
)


def read(study: Study) -> Mapping[str, Any] | None:
    """Read what a confirmation of the study has shown, in today's form; None if there is none.

    Ignored for a study without a specification: it was made through Optuna or imported, and an
    attribute of this name may hold anything.
    """
    if study.spec is None:
        return None
    record: Mapping[str, Any] | None = study.user_attrs.get(ATTRIBUTE)
    if record is None or "standing" in record["candidates"][0]:
        return record
    return _upgrade(record, study)


def _upgrade(record: Mapping[str, Any], study: Study) -> dict[str, Any]:
    """Judge a former version's record anew: there, candidates not told apart counted as equal."""
    sign = 1.0 if study.direction == "maximize" else -1.0
    tied = [c for c in record["candidates"] if c["number"] in record["tied"] and c["values"]]
    leader = max(tied, key=lambda c: (sign * c["mean"], -c["number"]))["number"]
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
        "seeds": max(len(c["values"]) for c in tied),
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
    """The numbers of the candidates with these standings, or of all; best first."""
    return [
        c["number"] for c in record["candidates"] if not standings or c["standing"] in standings
    ]


def sentences(record: Mapping[str, Any]) -> list[str]:
    """Say what the confirmation has shown and what it has not."""
    return [*_sentences(record), *_on_constraints(record)]


def _on_constraints(record: Mapping[str, Any]) -> list[str]:
    """Say which configurations keep the constraints on average, and how surely the winner does."""
    winner = next(c for c in record["candidates"] if c["number"] == record["winner"])
    lines = []
    if any(constraint["mean"] > 0 for constraint in winner.get("constraints", ())):
        lines.append(
            "No configuration keeps all constraints on average over the fresh seeds; trial "
            f"{winner['number']} is nearest."
        )
    lines += [
        f"On average, trial {winner['number']} {_on_constraint(constraint)}."
        for constraint in winner.get("constraints", ())
    ]
    if infeasible := [c for c in record["candidates"] if c["standing"] == "infeasible"]:
        listing = ", ".join(
            f"trial {c['number']} {_on_constraint(constraint)}"
            for c in infeasible
            for constraint in c["constraints"]
            if constraint["mean"] > 0
        )
        lines.append(f"Not feasible on average: {listing}.")
    return lines


def _on_constraint(constraint: Mapping[str, Any]) -> str:
    """Say by how much a constraint is kept or missed: `misses latency below 5 by 12 %`."""
    is_share, mean = constraint["is_share"], constraint["mean"]

    def amount(value: float) -> str:
        return f"{100 * value:.3g} %" if is_share else f"{value:.3g}"

    sentence = (
        f"misses {constraint['name']} by {amount(mean)}"
        if mean > 0
        else f"keeps {constraint['name']} by {amount(abs(mean))}"
    )
    if constraint["interval"] is None:
        return sentence
    low, high = constraint["interval"]
    interval = f"95 % interval of its distance: {amount(low)} to {amount(high)}"
    unsure = "; whether it is kept is not shown" if low <= 0 < high else ""
    return f"{sentence} ({interval}{unsure})"


def _sentences(record: Mapping[str, Any]) -> list[str]:
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
        lines = [
            f"Trial {winner} wins: it is cheaper than trial {best}, which has the best mean of "
            f"{seeds}, and is shown not inferior within the margin ({margin})."
        ]
    else:
        lines = [f"Trial {winner} wins with the best mean of {seeds}."]
        cheaper = [c for c in record["candidates"] if c.get("cheaper")]
        if cheaper:
            lines.append(
                f"{_trials([c['number'] for c in cheaper])} {_be(cheaper)} cheaper, but may be "
                f"worse than the best mean by more than the margin ({margin})."
            )
    if apart := numbers(record, "not told apart"):
        lines.append(
            f"Not told apart from the best mean: {_trials(apart, capital=False)}. That does not "
            "make them equal; more seeds would tell."
        )
    if len(record["candidates"]) > 1:
        lines.append(_bound(record))
    if failed:
        lines.append(_left_out(record, failed))
    if unknown := [
        c["number"]
        for c in record["candidates"]
        if c["seconds"] is None and c["standing"] not in ("worse", "failed")
    ]:
        lines.append(
            f"The cost of {_trials(unknown, capital=False)} is not compared: no training without a "
            "cold start was measured."
        )
    return lines


def _bound(record: Mapping[str, Any]) -> str:
    """Say by how much another candidate may be better than the winner."""
    winner, bound = record["winner"], record["bound"]
    remaining = [c for c in record["candidates"] if c["standing"] not in ("failed", "infeasible")]
    if bound is None or math.isinf(bound):
        if len({value for c in remaining for value in c["values"]}) == 1:
            return (
                "All trainings gave the same value, which does not show how much seeds can change "
                f"it: another candidate may be better than trial {winner}."
            )
        return (
            f"It is unknown by how much another candidate may be better than trial {winner}: too "
            f"few seeds have a value of both ({ENOUGH} are needed), because trainings failed."
        )
    by = f" by more than {_round_up(bound)}" if bound > 0 else ""
    which = "no candidate" if remaining == record["candidates"] else "no remaining candidate"
    return f"With 95 % confidence, {which} is better than trial {winner}{by}."


def _left_out(record: Mapping[str, Any], failed: Sequence[Mapping[str, Any]]) -> str:
    """Say which candidates failed, and how to try them again."""
    listing = listed(
        [f"trial {c['number']} ({c['failed']} of {len(c['values']) + c['failed']})" for c in failed]
    )
    retry = shell.command("retry", record["study"])
    return (
        f"Left out because trainings failed: {listing}. To try them again, run `{retry}` and "
        "confirm again."
    )


def _trials(numbers: Sequence[int], *, capital: bool = True) -> str:
    word = "trial" if len(numbers) == 1 else "trials"
    return f"{word.capitalize() if capital else word} {listed(list(map(str, numbers)))}"


def _be(candidates: Sequence[Any]) -> str:
    return "is" if len(candidates) == 1 else "are"


def _round_up(bound: float) -> str:
    """Format a positive bound with three digits, rounded up."""
    unit = 10.0 ** (math.floor(math.log10(bound)) - 2)
    return f"{math.ceil(bound / unit) * unit:.3g}"


def within_range(
    interval: tuple[float, float], metric: str, values: Sequence[float]
) -> tuple[float, float]:
    """Clip an interval to the metric's range.

    If a value is outside the range, the user's code means another metric by the name: no clipping.
    """
    low, high = metric_range(metric)
    if any(not low <= value <= high for value in values):
        return interval
    return max(low, interval[0]), min(high, interval[1])
