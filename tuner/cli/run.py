"""Launching and working: `run`, `launch`, `worker`."""

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import typer

from tuner import commands, experiments, export, files, records
from tuner.cli.comparison import comparison_record, print_comparison
from tuner.cli.dashboard import beside
from tuner.cli.live import LiveView
from tuner.cli.names import study_names
from tuner.cli.output import (
    AsJson,
    complain,
    duration,
    err,
    number,
    opened,
    out,
    params_table,
    print_json,
    program,
    shown,
    typed,
    user,
)
from tuner.database.engine import Database
from tuner.database.hints import TRIALS, ListeningDatabase
from tuner.errors import BadInputError, NothingToExportError
from tuner.settings import Settings
from tuner.spec.overrides import labels as labels_of
from tuner.spec.words import quoted
from tuner.trials import Study, StudyState, TrialState, finished
from tuner.winner import choice
from tuner.worker import devices

EXPORTS = Path("exports")
MAX_EXECUTORS = 1024  # a typing error must not start more processes than a machine can have
MAX_THREADS = 1024
PATIENCE = 60.0  # seconds that a worker waits at its start for a database that does not answer
DEVICES = f"{', '.join(devices.CHOICES[:-1])} or {devices.CHOICES[-1]}"
PANEL = "Launch and work"
OWN_FIGURE = "as its own code reported it: tuner has no test part of it"

StudyFile = typer.Argument(help="The study file (YAML).", show_default=False)
Name = typer.Option(None, "--name", help="Launch under this name instead of the file's.")
Set = typer.Option(
    [], "--set", help="Override a field: --set search.learning_rate.high=0.01 (repeatable)."
)
Workers = typer.Option(
    None,
    "--workers",
    "-w",
    min=1,
    max=MAX_EXECUTORS,
    help="Executors; by default by what is there.",
)
Threads = typer.Option(
    None, "--threads", min=1, max=MAX_THREADS, help="CPU threads of an executor."
)
Device = typer.Option("auto", "--device", help=f"{DEVICES}.")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (run, launch, worker):
        app.command(rich_help_panel=PANEL)(command)


def run(
    file: Path = StudyFile,
    overrides: list[str] = Set,
    name: str | None = Name,
    workers: int | None = Workers,
    threads: int | None = Threads,
    to: Path | None = typer.Option(None, "--to", help="Export here; by default exports/NAME."),
    dashboard: bool = typer.Option(
        False, "--dashboard", help="Serve the dashboard meanwhile; its address is shown."
    ),
    as_json: bool = AsJson,
) -> None:
    """Launch a study, work on it here until it is done, export the best configuration.

    Of an experiment a study a family; the best of them is exported. Running it again continues
    where it was. Ctrl-C pauses.
    """
    with opened() as (settings, database):
        prepared = experiments.prepare(database, file, settings, overrides=overrides, name=name)
        experiment, resources = prepared[0].experiment, prepared[0].spec.resources
        _say_notes(prepared)
        names = [one.spec.name for one in prepared]
        folder = to or default_export(experiment or names[0])
        # now, not after hours of training
        _refuse_taken(folder, {*names, *_rivals(database, experiment)})
        launched = commands.launch_all(database, prepared, resume=True, by=user())
        for one, done in zip(prepared, launched, strict=True):
            _say_launched(one, done)
        active = [done.study for done in launched if done.study.state is StudyState.ACTIVE]
        interrupted = False
        if active:
            chosen = devices.slots(
                devices.find(resources.device),
                workers or resources.workers,
                threads or resources.threads,
            )
            with beside(wanted=dashboard):
                interrupted = work_here(database, settings, active, chosen)
        found = [commands.find(database, name) for name in names]
        if interrupted:
            for study in found:
                _say_how_to_go_on(database, study, file)
            raise typer.Exit(130)
        if experiment is None:
            _conclude(database, settings, found[0], file, folder, as_json)
        else:
            _conclude_experiment(database, settings, experiment, file, folder, as_json)


def _say_notes(prepared: Sequence[commands.Prepared]) -> None:
    for note in dict.fromkeys(note for one in prepared for note in one.notes):
        err.print(f"[dim]{shown(note)}[/]")


def _say_launched(prepared: commands.Prepared, launched: commands.Launched) -> None:
    study, code = launched.study, prepared.spec.code
    for change in launched.changes:
        err.print(f"[yellow]changed:[/] {shown(change)}")
    if not launched.created:
        goes_on = "goes on where it was" if study.state is StudyState.ACTIVE else "is finished"
        err.print(f"[dim]`{shown(study.name)}` exists: it {goes_on}[/]")
        return
    examples = ", ".join(f"{n} {part}" for part, n in prepared.examples.items())
    what = f"data: {examples} examples"
    if code is not None:
        what = f"code in {shown(str(code.folder))}"
    err.print(f"[dim]`{shown(study.name)}` launched; {what}[/]")


def default_export(study: str) -> Path:
    """Where a study is exported unless the user names another folder."""
    return EXPORTS / files.safe_name(study)


def _refuse_taken(folder: Path, studies: Collection[str]) -> None:
    """BadInputError if the folder holds anything but an earlier export of one of these."""
    if folder.exists() and not _is_export_of_one(folder, studies):
        raise BadInputError(
            f"{files.shown(folder)}: exists already and is no export of this study; name another "
            "folder with `--to`"
        )


def _rivals(database: Database, experiment: str | None) -> list[str]:
    """The studies of an experiment: an earlier export is of the one that was the best then."""
    if experiment is None:
        return []
    return [study.name for study in commands.of_experiment(database, experiment)]


def _is_export_of_one(folder: Path, studies: Collection[str]) -> bool:
    return any(export.is_export_of(folder, study) for study in studies)


def work_here(
    database: Database,
    settings: Settings,
    studies: Sequence[Study],
    slots: tuple[devices.Slot, ...],
) -> bool:
    """Work until none of the studies is active; whether the user interrupted it."""
    from tuner.worker.loop import Worker  # with Optuna, which `tuner list` does not wait for

    names = [study.name for study in studies]
    local = Worker(database, settings, slots, only=names, until_done=True, allow_code=True)
    watched = ListeningDatabase(database, TRIALS, listen=settings.listen)
    with LiveView(watched, studies, err) as view:
        local.on_drain = lambda: setattr(
            view, "note", "stopping: running trials go back to the queue (Ctrl-C again: at once)"
        )
        local.run()
    return local.drained


def _say_how_to_go_on(database: Database, study: Study, file: Path) -> None:
    counts = commands.overview(database, study.name).counts
    if study.state is StudyState.ACTIVE and not counts[TrialState.RUNNING]:
        study = commands.pause(database, study.name)
    others = counts[TrialState.RUNNING]
    done = f"{finished(counts)} of {study.max_trials} trials"
    err.print(
        f"`{shown(study.name)}` [yellow]{study.state}[/] after {done}"
        + (f"; other workers go on with {others} trials" if others else "")
        + f". Continue with {typed('run', str(file))}"
    )


def _conclude(
    database: Database,
    settings: Settings,
    study: Study,
    file: Path,
    folder: Path,
    as_json: bool,
    **others: Any,
) -> None:
    """Export the best of a study that is over; `others` is what scripts get beside."""
    counts = commands.overview(database, study.name).counts
    summary = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    if study.state is not StudyState.FINISHED:
        look = f"See {typed('trials', study.name, '--state', 'failed')}, then " * bool(
            counts[TrialState.FAILED]
        )
        reason = shown(study.reason or "for no reason given")
        err.print(
            f"[yellow]{study.state}[/]: {reason} ({summary}). "
            f"{look or 'Use '}{typed('run', str(file))} to go on"
        )
        raise typer.Exit(1)
    try:
        (best,) = choice.chosen(database, study)
    except NothingToExportError as error:  # the study is at fault, not the command
        complain(str(error))
        raise typer.Exit(1) from None
    rivals = {study.name, *_rivals(database, study.experiment)}
    _refuse_taken(folder, rivals)
    force = _is_export_of_one(folder, rivals)
    exported = choice.export_trial(database, settings, study, best, folder, force=force)
    say_notes_of(exported)
    metric = exported.content["metric"]
    if as_json:
        print_json(
            {
                "study": records.plain(records.of_study(study)),
                "counts": {str(k): v for k, v in counts.items()},
                "best": exported.content,
                "export": str(folder),
                **others,
            }
        )
        return
    took = (
        (study.finished_at - study.created_at).total_seconds()
        if study.finished_at and study.created_at
        else None
    )
    out.print(f"[bold]{shown(study.name)}[/] finished: {shown(study.reason or '')} ({summary})")
    out.print(f"  in {duration(took)}\n")
    out.print(f"[bold green]best configuration[/] (trial {best.number})")
    out.print(params_table(exported.content["params"], indent=2))
    out.print()
    if "validation_from_weights" in metric:
        out.print(f"  validation {metric['name']}  [bold]{number(metric['validation'])}[/]")
        if "test" in metric:
            out.print(f"  test {metric['name']}        [bold]{number(metric['test'])}[/]")
    else:
        out.print(
            f"  {shown(metric['name'])} [bold]{number(metric['validation'])}[/], {OWN_FIGURE}"
        )
    out.print(f"  exported to{' ' * 12}[bold]{shown(str(folder))}[/]\n")
    name = study.name
    out.print("next:")
    _print_next(
        (["report", name], "figures and tables as one HTML page"),
        (["trials", name], "every trial"),
        (["verify", str(folder)], "check the export: train it again, compare"),
    )


def _conclude_experiment(
    database: Database,
    settings: Settings,
    experiment: str,
    file: Path,
    folder: Path,
    as_json: bool,
) -> None:
    """Compare the families and export the best configuration of the best one."""
    found = experiments.compare(database, experiment)
    if not as_json:
        print_comparison(experiment, found)
        out.print()
    left = [one.study for one in found if one.study.state is not StudyState.FINISHED]
    for study in left:
        reason = shown(study.reason or "for no reason given")
        err.print(f"`{shown(study.name)}` [yellow]{study.state}[/]: {reason}")
    if left:
        err.print(f"Use {typed('run', str(file))} to go on")
        raise typer.Exit(1)
    record = {"experiment": comparison_record(experiment, found)}
    _conclude(database, settings, found[0].study, file, folder, as_json, **record)


def say_notes_of(exported: export.Exported) -> None:
    """On standard error: what an export lacks, and what should be known of its choice."""
    missing = [exported.content["missing"]] if "missing" in exported.content else []
    for note in (*missing, *exported.content.get("notes", ())):
        err.print(f"[yellow]{shown(note)}[/]")


def test_in_words(exported: export.Exported) -> str:
    """What is known of the test part."""
    metric = exported.content["metric"]
    if "test" in metric:
        return f"test {number(metric['test'])}"
    return "test not read" if "validation_from_weights" in metric else OWN_FIGURE


def _print_next(*commands_: tuple[list[str], str]) -> None:
    """Commands to type next, as this shell finds them, and what each does."""
    lines = [(shlex.join([*program(), *words]), meaning) for words, meaning in commands_]
    width = max(len(command) for command, _ in lines)
    for command, meaning in lines:
        out.print(f"  {shown(command.ljust(width))}   [dim]{meaning}[/]")


def launch(
    file: Path = StudyFile,
    overrides: list[str] = Set,
    name: str | None = Name,
    as_json: bool = AsJson,
) -> None:
    """Launch a study for workers elsewhere (`tuner worker`); of an experiment, one a family."""
    with opened() as (settings, database):
        prepared = experiments.prepare(database, file, settings, overrides=overrides, name=name)
        experiment = prepared[0].experiment
        _say_notes(prepared)
        launched = commands.launch_all(database, prepared, by=user())
        if as_json:
            made = [records.of_study(done.study) for done in launched]
            print_json(
                made[0] if experiment is None else {"experiment": experiment, "studies": made}
            )
            return
        for done in launched:
            said = f"launched [bold]{shown(done.study.name)}[/]: {done.study.max_trials} trials"
            out.print(said)
        name = experiment or launched[0].study.name
        out.print("next:")
        _print_next(
            (["worker"], "work on it, on any machine with this database"),
            (["show", name], "see how it stands"),
        )


def worker(
    studies: list[str] = typer.Option(
        [],
        "--study",
        "-s",
        help="Serve only this study (repeatable).",
        autocompletion=study_names,
    ),
    workers: int | None = Workers,
    threads: int | None = Threads,
    device: str = Device,
    labels: list[str] = typer.Option(
        [], "--label", help="Serve studies that want this label too: gpu=h200 (repeatable)."
    ),
    until_done: bool = typer.Option(
        False, "--until-done", help="Return when no study is active any more."
    ),
    allow_code: bool = typer.Option(
        False, "--allow-code", help="Run studies with code of their own (function, command)."
    ),
) -> None:
    """Pull trials of all active studies and train them here, until stopped.

    SIGTERM or Ctrl-C drains: running trials finish or go back to the queue.
    """
    if device not in devices.CHOICES:
        raise BadInputError(f"--device: must be {DEVICES}, is {quoted(device)}")
    has = labels_of(labels)
    with opened(PATIENCE) as (settings, database):
        allow = allow_code or settings.allow_code
        if allow is None:
            allow = database.is_embedded
        commands.trainable(database, studies, allow_code=allow)
        slots = devices.slots(devices.find(device), workers, threads)
        err.print(
            f"[dim]worker with {sum(not slot.spare for slot in slots)} executors on "
            f"{', '.join(sorted({slot.name for slot in slots}))}; Ctrl-C drains[/]"
        )
        from tuner.worker.loop import Worker  # with Optuna

        Worker(
            database,
            settings,
            slots,
            only=studies,
            labels=has,
            until_done=until_done,
            allow_code=allow,
        ).run()
