"""Confirming the winner: `confirm`."""

import typer

from tuner import commands
from tuner.cli.output import (
    AsJson,
    StudyName,
    duration,
    err,
    number,
    opened,
    out,
    print_json,
    program,
    shown,
    table,
    typed,
)
from tuner.cli.run import PANEL, Threads, Workers, work_here
from tuner.errors import TunerError
from tuner.spec.resolved import ResolvedSpec
from tuner.spec.words import counted
from tuner.trials import Study, StudyState
from tuner.winner.choice import confirmation
from tuner.winner.confirm import Confirmation
from tuner.winner.elimination import Candidate, Verdict
from tuner.worker import devices

MANY = 1000  # a typing error must not queue more


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(rich_help_panel=PANEL)(confirm)


def confirm(
    name: str = StudyName,
    top: int = typer.Option(5, "--top", "-n", min=1, max=MANY, help="So many of the best."),
    seeds: int = typer.Option(5, "--seeds", min=2, max=MANY, help="Trainings of each at most."),
    workers: int | None = Workers,
    threads: int | None = Threads,
    as_json: bool = AsJson,
) -> None:
    """Train the leading configurations again with fresh seeds; the truly better one wins.

    Those that are clearly worse drop out early. Ctrl-C pauses; run again, it goes on. Of several
    objectives the first is judged, of the configurations on the Pareto front.
    """
    with opened() as (settings, database):
        study = commands.find(database, name)
        contest = Confirmation(database, study, top, seeds)
        spec = ResolvedSpec.from_json(study.spec or {})
        slots = devices.slots(
            devices.find(spec.resources.device),
            workers or spec.resources.workers,
            threads or spec.resources.threads,
        )
        verdict: Verdict | None = None
        for wanted in contest.rounds():
            while contest.queue(wanted):
                if work_here(database, settings, [contest.study], slots):
                    err.print(f"[yellow]paused[/]. Continue with {typed('confirm', name)}")
                    raise typer.Exit(130)
                _refuse_ended(commands.find(database, contest.study.name))
            verdict = contest.judge(wanted)
            if verdict is not None and not as_json:
                err.print(f"[dim]{counted(wanted, 'seed')} each: {len(verdict.tied)} left[/]")
        if verdict is None:
            raise TunerError(
                f"no configuration gave two values with {seeds} fresh seeds, so nothing is "
                f"confirmed; `tuner show {contest.study.name}` says what went wrong"
            )
        contest.keep(verdict)
        if as_json:
            print_json(confirmation(commands.find(database, name)))
            return
        _show(study, verdict)


def _refuse_ended(study: Study) -> None:
    """TunerError where the trials were not trained to their end."""
    if study.state is not StudyState.FINISHED:
        raise TunerError(
            f"the confirmation `{study.name}` is {study.state} ({study.reason or 'no reason'}); "
            "run the command again to go on"
        )


def _show(study: Study, verdict: Verdict) -> None:
    made = table(
        *("trial", "search", "mean", "95 % interval", "seeds", "training", ""),
        right=frozenset({"trial", "search", "mean", "seeds", "training"}),
    )
    for candidate in (*verdict.tied, *verdict.dropped):
        low, high = candidate.interval or (None, None)
        made.add_row(
            str(candidate.number),
            number(candidate.searched),
            number(candidate.mean),
            f"{number(low)} … {number(high)}" if candidate.interval else "–",
            str(len(candidate.values)),
            duration(candidate.seconds),
            _standing(candidate, verdict),
        )
    out.print(made)
    won = verdict.winner
    others = len(verdict.tied) - 1
    tie = f", the cheapest of {others + 1} that are not told apart" if others else ""
    out.print(f"\ntrial [bold]{won.number}[/] wins{tie}")
    out.print(
        f"the search overstated its best {shown(study.metric)} by {number(verdict.gap)} "
        "(the winner's curse)"
    )
    command = " ".join([*program(), "export", study.name])
    out.print(f"next: {shown(command)}")


def _standing(candidate: Candidate, verdict: Verdict) -> str:
    if candidate.number == verdict.winner.number:
        return "[bold green]wins[/]"
    if candidate.failed:
        return f"[red]{candidate.failed} failed[/]"
    return "tied" if candidate in verdict.tied else "[dim]out[/]"
