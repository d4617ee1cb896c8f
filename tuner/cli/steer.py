"""Steering studies: `change`, `enqueue`, `retry`, `kill`, `pause`, `resume`, `stop`, `delete`."""

from collections.abc import Callable, Sequence
from typing import Any

import typer

from tuner import study_json
from tuner.cli import names
from tuner.cli.conclude import how_to_export
from tuner.cli.output import (
    AsJson,
    StudyName,
    as_called,
    err,
    how_to_work,
    opened,
    out,
    print_json,
    shown,
    typed,
    user,
)
from tuner.commands import changing, reading, sources, steering
from tuner.database.engine import Database
from tuner.errors import BadInputError, StudyStateError
from tuner.settings import Settings
from tuner.study_file.messages import counted
from tuner.study_file.overrides import parse_assignments
from tuner.trials import Study, StudyState, TrialState

_COMPLETE = TrialState.COMPLETE
Named = typer.Argument(
    help="The name of a study or an experiment.",
    show_default=False,
    autocompletion=names.study_names,
)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (change, enqueue, retry, kill, pause, resume, stop, delete):
        app.command(rich_help_panel="Steer")(command)


def change(
    name: str = StudyName,
    fields: list[str] = typer.Argument(
        help="New values: budget.trials=200 resources.priority=5", show_default=False
    ),
    as_json: bool = AsJson,
) -> None:
    """Change budgets, priority and other limits of a study, from the next claim on."""
    with opened() as (_, database):
        done = changing.change(database, name, fields)
        if as_json:
            record = {"changes": done.changes, "notes": done.notes}
            print_json({**study_json.of_study(done.study), **record})
            return
        for line in done.changes:
            out.print(f"[yellow]changed:[/] {shown(line)}")
        for note in done.notes:
            err.print(f"[yellow]{shown(as_called(note))}[/]")
        if not done.changes and not done.notes:
            out.print("nothing has changed: these are its values already")
        _say_how_to_go_on(done.study)


def enqueue(
    name: str = StudyName,
    params: list[str] = typer.Argument(
        help="Parameters: learning_rate=0.001 (others are searched)."
    ),
    extend: bool = typer.Option(
        False, "--extend", help="Raise `budget.trials` by one if it is used up."
    ),
    as_json: bool = AsJson,
) -> None:
    """Queue a configuration to be tried next."""
    chosen = parse_assignments(params)
    with opened() as (settings, database):
        before = reading.find(database, name)
        number = steering.enqueue(database, name, chosen, extend=extend)
        study = reading.find(database, name)
        if as_json:
            print_json({"study": name, "trial": number})
        else:
            out.print(f"queued as trial {number}")
            if before.max_trials != study.max_trials:
                changed = f"budget.trials: {before.max_trials} → {study.max_trials}"
                out.print(f"[yellow]changed:[/] {changed}")
            if before.state is StudyState.FINISHED and study.state is StudyState.ACTIVE:
                who = _who_works(database, settings, study)
                err.print(f"[dim]the study is active again; {who}[/]")
        _say_how_to_go_on(study)


def _say_how_to_go_on(study: Study) -> None:
    if study.state in (StudyState.PAUSED, StudyState.STOPPED):
        again = typed("resume", study.name)
        err.print(f"[yellow]the study is {study.state}[/]; continue it with {again}")


def _say_if_changed(study: Study) -> None:
    if (why := sources.explain_changed_code(study)) is not None:
        err.print(f"[yellow]no worker here runs it: {shown(why)}[/]")


def _who_works(database: Database, settings: Settings, study: Study) -> str:
    if study.spec is None:
        return "its trials run where `study.optimize` is called"
    start = f"[bold]{shown(how_to_work(database, settings, [study]))}[/]"
    return f"workers continue it ({start} starts one)"


def retry(
    name: str = StudyName,
    trial: int | None = typer.Argument(
        None, help="One trial's number; by default all failed ones."
    ),
    as_json: bool = AsJson,
) -> None:
    """Queue failed trials again."""
    with opened() as (settings, database):
        numbers = steering.retry(database, name, trial)
        if as_json:
            print_json({"study": name, "trials": numbers})
        elif not numbers:
            out.print("no trial has failed")
        else:
            out.print(f"queued again: {', '.join(map(str, numbers))}")
            study = reading.find(database, name)
            if study.state is StudyState.ACTIVE:
                err.print(f"[dim]the study is active; {_who_works(database, settings, study)}[/]")
            _say_how_to_go_on(study)
            _say_if_changed(study)


def kill(
    name: str = StudyName,
    trial: int = typer.Argument(help="The trial's number.", show_default=False),
    as_json: bool = AsJson,
) -> None:
    """Stop a running or enqueued trial and record it as failed."""
    with opened() as (_, database):
        steering.kill(database, name, trial, by=user())
        if as_json:
            print_json({"study": name, "trial": trial})
        else:
            out.print(f"killed trial {trial}; {typed('retry', name, str(trial))} queues it again")


def pause(name: str = Named, as_json: bool = AsJson) -> None:
    """Pause a study: no trial starts, and running ones go back to the queue."""
    how = f"paused; continue with {typed('resume', name)}"
    _steer(name, steering.pause, lambda *_: how, as_json=as_json)


def resume(name: str = Named, as_json: bool = AsJson) -> None:
    """Let workers continue a paused or stopped study."""

    def how(database: Database, settings: Settings, study: Study) -> str:
        _say_if_changed(study)
        return f"active; {_who_works(database, settings, study)}"

    _steer(name, steering.resume, how, as_json=as_json)


def stop(name: str = Named, as_json: bool = AsJson) -> None:
    """End a study before its budget is used up."""

    def how(database: Database, _: Settings, study: Study) -> str:
        if study.spec is None or not reading.load_overview(database, study.name).counts[_COMPLETE]:
            return "stopped"
        return f"stopped; [bold]{shown(how_to_export(study.name))}[/] exports the best so far"

    _steer(name, steering.stop, how, as_json=as_json)


def _steer(
    name: str,
    do: Callable[[Database, str], Study],
    sentence: Callable[[Database, Settings, Study], str],
    *,
    as_json: bool,
) -> None:
    """Do it to a study, or to those of an experiment that are in a state for it, if any is."""
    with opened() as (settings, database):
        found = reading.find_all(database, name)
        done, refused = [], []
        for study in found:
            try:
                done.append(do(database, study.name))
            except StudyStateError as error:
                refused.append(error)
        if not done:
            raise refused[0]
        if as_json:
            print_json(_record(name, found, [study_json.of_study(study) for study in done]))
            return
        for study in done:
            whose = "" if study.name == name else f"{shown(study.name)}: "
            out.print(f"{whose}{sentence(database, settings, study)}")
        for why in refused:
            err.print(f"[yellow]{shown(as_called(str(why)))}[/]")


def _record(name: str, found: Sequence[Study], each: list[dict[str, Any]]) -> dict[str, Any]:
    """What scripts read: of a study its record, of an experiment those of its studies."""
    if [study.name for study in found] == [name]:
        return each[0]
    return {"experiment": name, "studies": each}


def delete(
    name: str = Named,
    yes: bool = typer.Option(False, "--yes", help="Do not ask for confirmation."),
    as_json: bool = AsJson,
) -> None:
    """Delete a study, or all of an experiment, with its trials and weights, for good."""
    with opened() as (settings, database):
        found = reading.find_all(database, name)
        totals = {
            study.name: sum(reading.load_overview(database, study.name).counts.values())
            for study in found
        }
        if not yes:
            _ask(name, sum(totals.values()))
        steering.delete(database, settings, *totals)
        if as_json:
            deleted = [{"study": of, "deleted_trials": total} for of, total in totals.items()]
            print_json(_record(name, found, deleted))
            return
        for of, total in totals.items():
            out.print(f"deleted {shown(of)} with {counted(total, 'trial')}")


def _ask(name: str, total: int) -> None:
    """BadInputError unless the user types the study's name."""
    if not name.isprintable() or name != name.strip() or not name:
        raise BadInputError("this name cannot be typed: `--yes` deletes the study without asking")
    what = f"{counted(total, 'trial')} of {shown(name)}"
    err.print(f"this deletes {what} and {'its' if total == 1 else 'their'} weights for good")
    try:
        given = typer.prompt("its name", default="", show_default=False, err=True)
    except typer.Abort:
        err.print()
        given = ""
    if given != name:
        raise BadInputError("that is not its name; nothing was deleted")
