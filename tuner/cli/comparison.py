"""How the studies of an experiment compare, as a table and for scripts."""

from collections.abc import Sequence
from typing import Any

from tuner import study_json
from tuner.cli.output import duration, number, out, shown, state, table
from tuner.commands.experiments import TOP, StudyResult
from tuner.figures import text
from tuner.study_file.messages import counted
from tuner.trials import finished


def print_comparison(experiment: str, found: Sequence[StudyResult]) -> None:
    """The table, the best study first."""
    first = found[0].study
    out.print(
        f"[bold]{shown(experiment)}[/]  {counted(len(found), 'family', 'families')}, "
        f"{first.direction} {shown(first.metric)} on the validation part"
    )
    best, spread = "best", f"best {TOP}"
    right = frozenset({"trials", best, spread, "time", "size"})
    made = table("family", "study", "state", "trials", best, spread, "time", "size", right=right)
    for one in found:
        study = one.study
        made.add_row(
            shown(study.family or ""),
            shown(study.name),
            state(study.state),
            f"{finished(one.overview.counts)}/{study.max_trials or '∞'}",
            number(one.top[0] if one.top else None),
            _spread(one),
            duration(one.seconds),
            text.size(one.parameters),
        )
    out.print(made)
    out.print(
        f"[dim]best {TOP}: mean ± standard deviation of the {TOP} best trials; time: of all trials "
        "together; size: parameters of the best trial's model[/]"
    )


def _spread(one: StudyResult) -> str:
    return "–" if one.spread is None else " ± ".join(map(number, one.spread))


def comparison_record(experiment: str, found: Sequence[StudyResult]) -> dict[str, Any]:
    """The same for scripts."""
    return {
        "experiment": experiment,
        "studies": [
            {
                **study_json.of_study(one.study),
                "counts": study_json.plain(one.overview.counts),
                "best": None if one.best is None else study_json.of_trial(one.best),
                "top": one.top,
                "seconds": one.seconds,
                "parameters": one.parameters,
            }
            for one in found
        ],
    }
