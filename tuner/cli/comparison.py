"""The comparison of an experiment's studies, as a table and as JSON."""

from collections.abc import Sequence
from typing import Any

from tuner import study_json
from tuner.cli.output import duration, literal, number, out, state, table
from tuner.commands.experiments import TOP, StudyResult
from tuner.figures import text
from tuner.study_file.messages import counted
from tuner.trials import count_finished


def print_comparison(experiment: str, results: Sequence[StudyResult]) -> None:
    """Print the table, best study first."""
    first = results[0].study
    out.print(
        f"[bold]{literal(experiment)}[/]  {counted(len(results), 'family', 'families')}, "
        f"{first.direction} {literal(first.metric)} on the validation part"
    )
    best, spread = "best", f"best {TOP}"
    right = frozenset({"trials", best, spread, "time", "size"})
    listing = table("family", "study", "state", "trials", best, spread, "time", "size", right=right)
    for result in results:
        study = result.study
        listing.add_row(
            literal(study.family or ""),
            literal(study.name),
            state(study.state),
            f"{count_finished(result.overview.counts)}/{study.max_trials or '∞'}",
            number(result.top[0] if result.top else None),
            _spread(result),
            duration(result.seconds),
            text.size(result.parameters),
        )
    out.print(listing)
    out.print(
        f"[dim]best {TOP}: mean ± standard deviation of the {TOP} best trials; time: total of all "
        "trials; size: parameters of the best trial's model[/]"
    )


def _spread(result: StudyResult) -> str:
    return "–" if result.spread is None else " ± ".join(map(number, result.spread))


def comparison_record(experiment: str, results: Sequence[StudyResult]) -> dict[str, Any]:
    """Return the comparison as JSON for scripts."""
    return {
        "experiment": experiment,
        "studies": [
            {
                **study_json.of_study(result.study),
                "counts": study_json.plain(result.overview.counts),
                "best": None if result.best is None else study_json.of_trial(result.best),
                "top": result.top,
                "seconds": result.seconds,
                "parameters": result.parameters,
            }
            for result in results
        ],
    }
