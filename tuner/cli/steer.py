"""Steer studies: `change`, `enqueue`, `retry`, `kill`, `pause`, `resume`, `stop`, `delete`."""

from collections.abc import Callable, Sequence
from typing import Any

import typer

from tuner import study_json
from tuner.cli import completion
from tuner.cli.outcome import export_command
from tuner.cli.output import (
    AsJson,
    StudyName,
    command_markup,
    current_user,
    err,
    literal,
    open_database,
    out,
    print_json,
    spell_commands,
    worker_command,
)
from tuner.commands import changing, reading, sources, steering
from tuner.database.engine import Database
from tuner.errors import BadInputError, StudyStateError
from tuner.settings import Settings
from tuner.study_file.messages import counted
from tuner.study_file.overrides import parse_assignments
from tuner.trials import Study, StudyState, TrialState

_COMPLETE = TrialState.COMPLETE
StudyOrExperimentName = typer.Argument(
    help="The study's or experiment's name.",
    show_default=False,
    autocompletion=completion.study_names,
)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (change, enqueue, retry, kill, pause, resume, stop, delete):
        app.command(rich_help_panel="Steer")(command)


def change(
    name: str = StudyName,
    fields: list[str] = typer.Argument(
        help="New values, as in budget.trials=200 resources.priority=5.", show_default=False
    ),
    as_json: bool = AsJson,
) -> None:
    """Change a study's budgets, priority and other limits, from the next claim on."""
    with open_database() as (_, database):
        result = changing.change(database, name, fields)
        if as_json:
            record = {"changes": result.changes, "notes": result.notes}
            print_json({**study_json.of_study(result.study), **record})
            return
        for line in result.changes:
            out.print(f"[yellow]changed:[/] {literal(line)}")
        for note in result.notes:
            err.print(f"[yellow]{literal(spell_commands(note))}[/]")
        if not result.changes and not result.notes:
            out.print("nothing changed: the study has these values already")
        _print_how_to_continue(result.study)


def enqueue(
    name: str = StudyName,
    params: list[str] = typer.Argument(
        help="Parameters, as in learning_rate=0.001; the others are searched."
    ),
    extend: bool = typer.Option(
        False, "--extend", help="Raise `budget.trials` by one if it is used up."
    ),
    as_json: bool = AsJson,
) -> None:
    """Queue a configuration to try next."""
    configuration = parse_assignments(params)
    with open_database() as (settings, database):
        before = reading.find(database, name)
        number = steering.enqueue(database, name, configuration, extend=extend)
        study = reading.find(database, name)
        if as_json:
            print_json({"study": name, "trial": number})
        else:
            out.print(f"queued as trial {number}")
            if before.max_trials != study.max_trials:
                changed = f"budget.trials: {before.max_trials} → {study.max_trials}"
                out.print(f"[yellow]changed:[/] {changed}")
            if before.state is StudyState.FINISHED and study.state is StudyState.ACTIVE:
                how = _who_continues(database, settings, study)
                err.print(f"[dim]the study is active again; {how}[/]")
        _print_how_to_continue(study)


def _print_how_to_continue(study: Study) -> None:
    if study.state in (StudyState.PAUSED, StudyState.STOPPED):
        command = command_markup("resume", study.name)
        err.print(f"[yellow]the study is {study.state}[/]; continue it with {command}")


def _warn_of_changed_code(study: Study) -> None:
    if (why := sources.explain_changed_code(study)) is not None:
        err.print(f"[yellow]no worker here can run it: {literal(why)}[/]")


def _who_continues(database: Database, settings: Settings, study: Study) -> str:
    if study.spec is None:
        return "its trials run where `study.optimize` is called"
    start = f"[bold]{literal(worker_command(database, settings, [study]))}[/]"
    return f"workers continue it ({start} starts one)"


def retry(
    name: str = StudyName,
    trial: int | None = typer.Argument(
        None, help="The trial's number (default: all failed trials)."
    ),
    as_json: bool = AsJson,
) -> None:
    """Queue failed trials again."""
    with open_database() as (settings, database):
        numbers = steering.retry(database, name, trial)
        if as_json:
            print_json({"study": name, "trials": numbers})
        elif not numbers:
            out.print("there are no failed trials")
        else:
            out.print(f"queued again: {', '.join(map(str, numbers))}")
            study = reading.find(database, name)
            if study.state is StudyState.ACTIVE:
                err.print(
                    f"[dim]the study is active; {_who_continues(database, settings, study)}[/]"
                )
            _print_how_to_continue(study)
            _warn_of_changed_code(study)


def kill(
    name: str = StudyName,
    trial: int = typer.Argument(help="The trial's number.", show_default=False),
    as_json: bool = AsJson,
) -> None:
    """Stop a running or enqueued trial and record it as failed."""
    with open_database() as (_, database):
        steering.kill(database, name, trial, by=current_user())
        if as_json:
            print_json({"study": name, "trial": trial})
        else:
            out.print(
                f"killed trial {trial}; {command_markup('retry', name, str(trial))} queues it again"
            )


def pause(name: str = StudyOrExperimentName, as_json: bool = AsJson) -> None:
    """Pause a study: no new trial starts, and running ones go back to the queue."""
    how = f"paused; continue with {command_markup('resume', name)}"
    _steer(name, steering.pause, lambda *_: how, as_json=as_json)


def resume(name: str = StudyOrExperimentName, as_json: bool = AsJson) -> None:
    """Resume a paused or stopped study."""

    def how(database: Database, settings: Settings, study: Study) -> str:
        _warn_of_changed_code(study)
        return f"active; {_who_continues(database, settings, study)}"

    _steer(name, steering.resume, how, as_json=as_json)


def stop(name: str = StudyOrExperimentName, as_json: bool = AsJson) -> None:
    """Stop a study before its budget is used up."""

    def how(database: Database, _: Settings, study: Study) -> str:
        if study.spec is None or not reading.load_overview(database, study.name).counts[_COMPLETE]:
            return "stopped"
        return f"stopped; [bold]{literal(export_command(study.name))}[/] exports the best so far"

    _steer(name, steering.stop, how, as_json=as_json)


def _steer(
    name: str,
    action: Callable[[Database, str], Study],
    sentence: Callable[[Database, Settings, Study], str],
    *,
    as_json: bool,
) -> None:
    """Apply `action` to a study, or to each study of an experiment whose state allows it."""
    with open_database() as (settings, database):
        targets = reading.find_all(database, name)
        changed, refused = [], []
        for study in targets:
            try:
                changed.append(action(database, study.name))
            except StudyStateError as error:
                refused.append(error)
        if not changed:
            raise refused[0]
        if as_json:
            print_json(_record(name, targets, [study_json.of_study(study) for study in changed]))
            return
        for study in changed:
            prefix = "" if study.name == name else f"{literal(study.name)}: "
            out.print(f"{prefix}{sentence(database, settings, study)}")
        for why in refused:
            err.print(f"[yellow]{literal(spell_commands(str(why)))}[/]")


def _record(name: str, studies: Sequence[Study], records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON for scripts: a study's record, or those of an experiment's studies."""
    if [study.name for study in studies] == [name]:
        return records[0]
    return {"experiment": name, "studies": records}


def delete(
    name: str = StudyOrExperimentName,
    yes: bool = typer.Option(False, "--yes", help="Do not ask for confirmation."),
    as_json: bool = AsJson,
) -> None:
    """Delete a study, or all studies of an experiment, with trials and weights, for good."""
    with open_database() as (settings, database):
        studies = reading.find_all(database, name)
        totals = {
            study.name: sum(reading.load_overview(database, study.name).counts.values())
            for study in studies
        }
        if not yes:
            _confirm_deletion(name, sum(totals.values()))
        steering.delete(database, settings, *totals)
        if as_json:
            deleted = [
                {"study": study_name, "deleted_trials": total}
                for study_name, total in totals.items()
            ]
            print_json(_record(name, studies, deleted))
            return
        for study_name, total in totals.items():
            out.print(f"deleted {literal(study_name)} with {counted(total, 'trial')}")


def _confirm_deletion(name: str, total: int) -> None:
    """Raise BadInputError unless the user types the study's name."""
    if not name.isprintable() or name != name.strip() or not name:
        raise BadInputError(
            "this name cannot be typed; use `--yes` to delete the study without confirmation"
        )
    trials = f"{counted(total, 'trial')} of {literal(name)}"
    err.print(f"this deletes {trials} and {'its' if total == 1 else 'their'} weights for good")
    try:
        answer = typer.prompt("type its name to confirm", default="", show_default=False, err=True)
    except typer.Abort:
        err.print()
        answer = ""
    if answer != name:
        raise BadInputError("the name does not match; nothing was deleted")
