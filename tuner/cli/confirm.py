"""Confirm the winner: `confirm`."""

import math
from typing import Any

import typer

from tuner.cli import interrupts
from tuner.cli.local_worker import confirm_here
from tuner.cli.outcome import export_command
from tuner.cli.output import (
    AsJson,
    StudyName,
    command_markup,
    duration,
    err,
    literal,
    number,
    open_database,
    out,
    print_json,
    repeat_options,
    table,
)
from tuner.cli.run import PANEL, Threads, Workers
from tuner.commands import reading
from tuner.errors import BadInputError
from tuner.study_file.messages import counted
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.study import Confirm
from tuner.trials import Study
from tuner.winner import confirmations
from tuner.winner.elimination import Verdict

MANY = 1000  # a typo must not queue more
STYLES = {"wins": "bold green", "worse": "dim", "infeasible": "yellow", "failed": "red"}


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(rich_help_panel=PANEL)(confirm)


def confirm(
    name: str = StudyName,
    top: int | None = typer.Option(
        None,
        "--top",
        "-n",
        min=1,
        max=MANY,
        help="How many of the best to retrain (default: 5).",
    ),
    seeds: int | None = typer.Option(
        None, "--seeds", min=2, max=MANY, help="Maximum number of trainings of each (default: 5)."
    ),
    margin: float | None = typer.Option(
        None,
        "--margin",
        min=0.0,
        help="How much worse a cheaper one may be and still win (default: one standard error of "
        "the best mean).",
    ),
    workers: int | None = Workers,
    threads: int | None = Threads,
    as_json: bool = AsJson,
) -> None:
    """Retrain the leading configurations with the same fresh seeds; the best mean wins.

    A cheaper one wins only if it is shown not to be inferior. Candidates shown to be worse drop out
    early. The study file's `confirm` section sets the defaults. Ctrl-C pauses; run it again to
    resume. With several objectives, the Pareto front is compared by the first objective.
    """
    if margin is not None and not math.isfinite(margin):
        raise BadInputError(f"--margin: must be a finite number, is `{margin}`")
    with open_database() as (settings, database):
        study = reading.find(database, name)
        options = {"top": top, "seeds": seeds, "margin": margin}
        spec = None if study.spec is None else ResolvedSpec.from_json(study.spec)
        request = ((spec and spec.confirm) or Confirm()).model_copy(
            update={field: value for field, value in options.items() if value is not None}
        )

        def on_round(seeds_used: int, verdict: Verdict) -> None:
            if not as_json:
                remaining = counted(len(verdict.ranked), "candidate")
                err.print(f"[dim]{counted(seeds_used, 'seed')} each: {remaining} left[/]")

        try:
            confirm_here(
                database,
                settings,
                study,
                request,
                workers=workers,
                threads=threads,
                on_round=on_round,
            )
        except interrupts.Interrupted:
            repeat = {
                "--top": top,
                "--seeds": seeds,
                "--margin": margin,
                "--workers": workers,
                "--threads": threads,
                "--json": as_json,
            }
            command = command_markup("confirm", name, options=repeat_options(repeat))
            err.print(f"[yellow]paused[/]. Continue with {command}")
            raise typer.Exit(interrupts.exit_code()) from None
        study = reading.find(database, name)
        record = confirmations.read(study)
        assert record is not None
        if as_json:
            print_json({**record, "shown": confirmations.sentences(record)})
            return
        _show(study, record)


def _show(study: Study, record: dict[str, Any] | Any) -> None:
    listing = table(
        *("trial", "search", "mean", "95 % interval", "seeds", "training", ""),
        right=frozenset({"trial", "search", "mean", "seeds", "training"}),
    )
    for candidate in record["candidates"]:
        interval = candidate["interval"]
        listing.add_row(
            str(candidate["number"]),
            number(candidate["searched"]),
            number(candidate["mean"]),
            "–" if interval is None else f"{number(interval[0])} … {number(interval[1])}",
            str(len(candidate["values"])),
            duration(candidate["seconds"]),
            _standing(candidate),
        )
    out.print(listing)
    out.print()
    for sentence in confirmations.sentences(record):
        out.print(literal(sentence))
    out.print(literal(overstatement(study, record)))
    out.print(f"next: {literal(export_command(study.name))}")


def overstatement(study: Study, record: dict[str, Any] | Any) -> str:
    """Say how much the search overstated its best value."""
    sign = 1.0 if study.direction == "maximize" else -1.0
    first = max(record["candidates"], key=lambda c: (sign * c["searched"], -c["number"]))
    gap = first["overstated_by"]
    if gap is None or gap <= 0:
        return f"The search did not overstate its best {study.metric}."
    return f"The search overstated its best {study.metric} by {number(gap)} (the winner's curse)."


def _standing(candidate: dict[str, Any]) -> str:
    standing = candidate["standing"]
    if standing == "failed":
        standing = f"{candidate['failed']} failed" if candidate["failed"] else "no values"
    style = STYLES.get(candidate["standing"])
    return f"[{style}]{standing}[/]" if style else standing
