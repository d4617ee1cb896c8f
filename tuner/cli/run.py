"""Launch studies and work on them: `run`, `launch`, `worker`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from tuner import study_json
from tuner.cli import interrupts
from tuner.cli.completion import study_names
from tuner.cli.dashboard import dashboard_alongside
from tuner.cli.local_worker import confirm_all, work_here
from tuner.cli.outcome import (
    check_export_folder,
    conclude,
    conclude_experiment,
    default_export,
    experiment_members,
    print_next,
)
from tuner.cli.output import (
    AsJson,
    command_line,
    current_user,
    describe_optuna_trials,
    err,
    literal,
    open_database,
    out,
    print_error,
    print_json,
    repeat_options,
    spell_commands,
    worker_command,
)
from tuner.commands import changing, experiments, launching, preparing, reading, sources, steering
from tuner.database.engine import Database
from tuner.errors import BadInputError, TunerError
from tuner.study_file.auto import describe as describe_sampler
from tuner.study_file.messages import counted, quoted
from tuner.study_file.overrides import parse_labels
from tuner.study_file.study import MAX_EXECUTORS, MAX_THREADS
from tuner.trials import StudyState, TrialState, count_finished
from tuner.worker import devices

PATIENCE = 60.0  # seconds that a starting worker waits for the database
DEVICES = f"{', '.join(devices.CHOICES[:-1])} or {devices.CHOICES[-1]}"
PANEL = "Launch and work"

StudyFile = typer.Argument(help="The study file (YAML).", show_default=False)
Name = typer.Option(None, "--name", help="Launch under this name instead of the one in the file.")
Set = typer.Option([], "--set", help="Override a field, as in --set budget.trials=20 (repeatable).")
Workers = typer.Option(
    None,
    "--workers",
    "-w",
    min=1,
    max=MAX_EXECUTORS,
    help="Number of training processes (default: one per GPU, or one per CPU core).",
)
Threads = typer.Option(
    None, "--threads", min=1, max=MAX_THREADS, help="CPU threads per training process."
)
Device = typer.Option("auto", "--device", help=f"{DEVICES}.")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for function in (run, launch, worker):
        app.command(rich_help_panel=PANEL)(function)


def run(
    file: Path = StudyFile,
    overrides: list[str] = Set,
    name: str | None = Name,
    workers: int | None = Workers,
    threads: int | None = Threads,
    to: Path | None = typer.Option(
        None, "--to", help="Export to this folder (default: exports/NAME)."
    ),
    dashboard: bool = typer.Option(
        False, "--dashboard", help="Serve the dashboard meanwhile, and print its address."
    ),
    as_json: bool = AsJson,
) -> None:
    """Launch a study, train it here until it is done, and export the best configuration.

    If the file has a `confirm` section, the winner is confirmed before the export. For an
    experiment (one study per family), the best family is exported. Ctrl-C, SIGTERM and closing the
    terminal pause the study; run it again to resume.
    """
    options = {
        "--set": overrides,
        "--name": name,
        "--workers": workers,
        "--threads": threads,
        "--to": to,
        "--dashboard": dashboard,
        "--json": as_json,
    }
    # without the options, it would be another study
    rerun = command_line("run", str(file), options=repeat_options(options))
    with open_database() as (settings, database):
        prepared = experiments.prepare(database, file, settings, overrides=overrides, name=name)
        experiment, resources = prepared[0].experiment, prepared[0].spec.resources
        _print_notes(prepared)
        names = [study.spec.name for study in prepared]
        folder = to or default_export(experiment or names[0])
        # before, not after hours of training
        check_export_folder(folder, {*names, *experiment_members(database, experiment)})
        with pause_on_interrupt(database, names, rerun):
            with interrupts.deferred():
                launched = launching.launch_all(database, prepared, resume=True, by=current_user())
            for study, launch in zip(prepared, launched, strict=True):
                _print_launch(study, launch)
            active = [
                launch.study for launch in launched if launch.study.state is StudyState.ACTIVE
            ]
            if active:
                chosen = devices.slots(
                    devices.find(resources.device),
                    workers or resources.workers,
                    threads or resources.threads,
                )
                with dashboard_alongside(enabled=dashboard):
                    work_here(database, settings, active, chosen)
            studies = [reading.find(database, name) for name in names]
            try:
                confirm_all(database, settings, studies, workers=workers, threads=threads)
            except interrupts.Interrupted:
                err.print(
                    f"confirmation [yellow]paused[/]. Continue with [bold]{literal(rerun)}[/]"
                )
                raise typer.Exit(interrupts.exit_code()) from None
            studies = [reading.find(database, name) for name in names]
            if experiment is None:
                conclude(database, settings, studies[0], rerun, folder, as_json)
            else:
                conclude_experiment(database, settings, experiment, rerun, folder, as_json)


def _print_notes(prepared: Sequence[preparing.PreparedStudy]) -> None:
    for note in dict.fromkeys(note for study in prepared for note in study.notes):
        err.print(f"[dim]{literal(note)}[/]")


def _print_launch(prepared: preparing.PreparedStudy, launched: changing.LaunchResult) -> None:
    study, code = launched.study, prepared.spec.code
    for change in launched.changes:
        err.print(f"[yellow]changed:[/] {literal(change)}")
    for note in launched.notes:
        err.print(f"[yellow]{literal(spell_commands(note))}[/]")
    if not launched.created:
        is_active = study.state is StudyState.ACTIVE
        what = "exists; resuming it" if is_active else "exists and is finished"
        err.print(f"[dim]`{literal(study.name)}` {what}[/]")
        if launched.retried:
            failed = counted(len(launched.retried), "failed trial")
            err.print(f"its code changed: retrying {failed}")
        return
    sizes = ", ".join(f"{n:,} {part}" for part, n in prepared.examples.items())
    what = f"data: {sizes} {'example' if sum(prepared.examples.values()) == 1 else 'examples'}"
    if code is not None:
        what = f"code in {literal(str(code.folder))}"
    err.print(f"[dim]`{literal(study.name)}` launched; {what}[/]")
    _print_sampler(prepared)


def _print_sampler(prepared: preparing.PreparedStudy) -> None:
    sampler = describe_sampler(prepared.spec.sampler.label, prepared.spec.sampler.reason)
    err.print(f"[dim]sampler: {literal(sampler)}[/]")


@contextmanager
def pause_on_interrupt(database: Database, names: Sequence[str], rerun: str) -> Iterator[None]:
    """Pause these studies and exit if a signal or a closed output ends the block.

    Studies that other workers run stay active. `rerun` is the command that continues.
    """
    try:
        yield
    except (interrupts.Interrupted, KeyboardInterrupt):
        pass
    except OSError as error:
        if not interrupts.is_closed_output(error):
            raise
    else:
        return
    interrupts.note()  # from here on, only a second Ctrl-C has an effect
    sentences = []
    try:
        for name in names:  # pause all before printing, which may fail
            sentences.append(_pause(database, name, rerun))
    except TunerError as error:
        print_error(
            f"interrupted, but not paused: {error}; pause it with `{command_line('pause', name)}`"
        )
    else:
        for sentence in sentences:
            err.print(sentence)
    raise typer.Exit(interrupts.exit_code())


def _pause(database: Database, name: str, rerun: str) -> str:
    """Pause a study unless it has ended or others work on it; return its state as markup."""
    overview = reading.load_overview(database, name)
    study, counts = overview.study, overview.counts
    if study.state is StudyState.ACTIVE and not counts[TrialState.RUNNING]:
        study = steering.pause(database, name)
    running = [t for t in reading.load_trials(database, study) if t.state is TrialState.RUNNING]
    others = sum(not trial.ran_in_optuna for trial in running)
    of_optuna = describe_optuna_trials(study, running)
    progress = f"{count_finished(counts)} of {counted(study.max_trials or 0, 'trial')}"
    is_finished = study.state is StudyState.FINISHED
    return (
        f"`{literal(name)}` [yellow]{study.state}[/] after {progress}"
        + ("; the steps after it were interrupted" if is_finished else "")
        + (f"; other workers continue with {counted(others, 'trial')}" if others else "")
        + (f"; {literal(of_optuna)}" if of_optuna else "")
        + f". Continue with [bold]{literal(rerun)}[/]"
    )


def launch(
    file: Path = StudyFile,
    overrides: list[str] = Set,
    name: str | None = Name,
    as_json: bool = AsJson,
) -> None:
    """Launch a study, or all studies of an experiment, for workers to pick up."""
    with open_database() as (settings, database):
        prepared = experiments.prepare(database, file, settings, overrides=overrides, name=name)
        experiment = prepared[0].experiment
        _print_notes(prepared)
        launched = launching.launch_all(database, prepared, by=current_user())
        if as_json:
            records = [study_json.of_study(result.study) for result in launched]
            print_json(
                records[0] if experiment is None else {"experiment": experiment, "studies": records}
            )
            return
        for study, result in zip(prepared, launched, strict=True):
            trials = counted(result.study.max_trials or 0, "trial")
            out.print(f"launched [bold]{literal(result.study.name)}[/]: {trials}")
            _print_sampler(study)
        name = experiment or launched[0].study.name
        print_next(
            (
                worker_command(database, settings, [result.study for result in launched]),
                "work on it, on any machine with this database",
            ),
            (command_line("show", name), "show its progress"),
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
        [],
        "--label",
        help="What this worker has, as in gpu=h200; studies may require it (repeatable).",
    ),
    until_done: bool = typer.Option(False, "--until-done", help="Exit once no study is active."),
    allow_code: bool = typer.Option(
        False, "--allow-code", help="Run studies with user code (families function and command)."
    ),
) -> None:
    """Claim trials of all active studies and train them here, until stopped.

    SIGTERM and Ctrl-C drain: running trials finish or go back to the queue.
    """
    if device not in devices.CHOICES:
        raise BadInputError(f"--device: must be {DEVICES}, is {quoted(device)}")
    has = parse_labels(labels)
    with open_database(PATIENCE) as (settings, database):
        allow = allow_code or settings.allow_code
        if allow is None:
            allow = database.is_embedded
        sources.check_trainable(database, settings, studies, allow_code=allow)
        slots = devices.slots(devices.find(device), workers, threads)
        err.print(
            f"[dim]worker with {counted(sum(not slot.spare for slot in slots), 'executor')} on "
            f"{', '.join(sorted({slot.name for slot in slots}))}; Ctrl-C drains[/]"
        )
        from tuner.worker.loop import Worker  # imports Optuna

        Worker(
            database,
            settings,
            slots,
            only=studies,
            labels=has,
            until_done=until_done,
            allow_code=allow,
        ).run()
