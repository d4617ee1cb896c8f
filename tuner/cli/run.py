"""Launching and working: `run`, `launch`, `worker`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from tuner import study_json
from tuner.cli import interrupts
from tuner.cli.conclude import (
    conclude,
    conclude_experiment,
    default_export,
    print_next,
    refuse_taken,
    rivals,
)
from tuner.cli.dashboard import beside
from tuner.cli.names import study_names
from tuner.cli.output import (
    AsJson,
    as_called,
    command,
    complain,
    err,
    how_to_work,
    opened,
    options_of,
    out,
    print_json,
    running_in_optuna,
    shown,
    user,
)
from tuner.cli.working import confirm_all, work_here
from tuner.commands import changing, experiments, launching, preparing, reading, sources, steering
from tuner.database.engine import Database
from tuner.errors import BadInputError, TunerError
from tuner.study_file.messages import counted, quoted
from tuner.study_file.overrides import parse_labels
from tuner.study_file.study import MAX_EXECUTORS, MAX_THREADS
from tuner.trials import StudyState, TrialState, finished
from tuner.worker import devices

PATIENCE = 60.0  # seconds that a worker waits at its start for a database that does not answer
DEVICES = f"{', '.join(devices.CHOICES[:-1])} or {devices.CHOICES[-1]}"
PANEL = "Launch and work"

StudyFile = typer.Argument(help="The study file (YAML).", show_default=False)
Name = typer.Option(None, "--name", help="Launch under this name instead of the file's.")
Set = typer.Option([], "--set", help="Override a field: --set budget.trials=20 (repeatable).")
Workers = typer.Option(
    None,
    "--workers",
    "-w",
    min=1,
    max=MAX_EXECUTORS,
    help="Processes that train; by default one per GPU, or one per CPU core.",
)
Threads = typer.Option(
    None, "--threads", min=1, max=MAX_THREADS, help="CPU threads of each process."
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
    to: Path | None = typer.Option(None, "--to", help="Export here; by default exports/NAME."),
    dashboard: bool = typer.Option(
        False, "--dashboard", help="Serve the dashboard meanwhile and print its address."
    ),
    as_json: bool = AsJson,
) -> None:
    """Launch a study, work on it here until it is done, and export the best configuration.

    If the file has a `confirm` section, the winner is confirmed before it is exported. Of an
    experiment, which has one study per family, the best family is exported. Ctrl-C, SIGTERM and
    closing the terminal pause it; run it again to resume.
    """
    given = {
        "--set": overrides,
        "--name": name,
        "--workers": workers,
        "--threads": threads,
        "--to": to,
        "--dashboard": dashboard,
        "--json": as_json,
    }
    again = command("run", str(file), options=options_of(given))  # without them: another study
    with opened() as (settings, database):
        prepared = experiments.prepare(database, file, settings, overrides=overrides, name=name)
        experiment, resources = prepared[0].experiment, prepared[0].spec.resources
        _say_notes(prepared)
        names = [one.spec.name for one in prepared]
        folder = to or default_export(experiment or names[0])
        # now, not after hours of training
        refuse_taken(folder, {*names, *rivals(database, experiment)})
        with pausing(database, names, again):
            with interrupts.held():
                launched = launching.launch_all(database, prepared, resume=True, by=user())
            for one, done in zip(prepared, launched, strict=True):
                _say_launched(one, done)
            active = [done.study for done in launched if done.study.state is StudyState.ACTIVE]
            if active:
                chosen = devices.slots(
                    devices.find(resources.device),
                    workers or resources.workers,
                    threads or resources.threads,
                )
                with beside(wanted=dashboard):
                    work_here(database, settings, active, chosen)
            studies = [reading.find(database, name) for name in names]
            try:
                confirm_all(database, settings, studies, workers=workers, threads=threads)
            except interrupts.Interrupted:
                err.print(f"confirmation [yellow]paused[/]. Continue with [bold]{shown(again)}[/]")
                raise typer.Exit(interrupts.exit_code()) from None
            studies = [reading.find(database, name) for name in names]
            if experiment is None:
                conclude(database, settings, studies[0], again, folder, as_json)
            else:
                conclude_experiment(database, settings, experiment, again, folder, as_json)


def _say_notes(prepared: Sequence[preparing.PreparedStudy]) -> None:
    for note in dict.fromkeys(note for one in prepared for note in one.notes):
        err.print(f"[dim]{shown(note)}[/]")


def _say_launched(prepared: preparing.PreparedStudy, launched: changing.Launched) -> None:
    study, code = launched.study, prepared.spec.code
    for change in launched.changes:
        err.print(f"[yellow]changed:[/] {shown(change)}")
    for note in launched.notes:
        err.print(f"[yellow]{shown(as_called(note))}[/]")
    if not launched.created:
        is_active = study.state is StudyState.ACTIVE
        what = "exists; resuming it" if is_active else "exists and is finished"
        err.print(f"[dim]`{shown(study.name)}` {what}[/]")
        if launched.retried:
            failed = counted(len(launched.retried), "failed trial")
            err.print(f"its code has changed: trying {failed} again")
        return
    sizes = ", ".join(f"{n:,} {part}" for part, n in prepared.examples.items())
    what = f"data: {sizes} {'example' if sum(prepared.examples.values()) == 1 else 'examples'}"
    if code is not None:
        what = f"code in {shown(str(code.folder))}"
    err.print(f"[dim]`{shown(study.name)}` launched; {what}[/]")


@contextmanager
def pausing(database: Database, names: Sequence[str], again: str) -> Iterator[None]:
    """Leave no study of these active when a signal or a closed output ends the block; exits then.

    Others' workers go on with theirs. `again` is the command that continues.
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
    interrupts.note()  # signals change nothing from here on, but for a second Ctrl-C
    sentences = []
    try:
        for name in names:  # all are paused before anything is printed, which may fail
            sentences.append(_pause(database, name, again))
    except TunerError as error:
        complain(f"interrupted, and not paused: {error}; `{command('pause', name)}` does it later")
    else:
        for sentence in sentences:
            err.print(sentence)
    raise typer.Exit(interrupts.exit_code())


def _pause(database: Database, name: str, again: str) -> str:
    """Pause a study, unless it has ended or others work on it; how it stands, as Rich markup."""
    overview = reading.load_overview(database, name)
    study, counts = overview.study, overview.counts
    if study.state is StudyState.ACTIVE and not counts[TrialState.RUNNING]:
        study = steering.pause(database, name)
    running = [t for t in reading.load_trials(database, study) if t.state is TrialState.RUNNING]
    others = sum(not trial.ran_in_optuna for trial in running)
    of_optuna = running_in_optuna(study, running)
    done = f"{finished(counts)} of {counted(study.max_trials or 0, 'trial')}"
    is_finished = study.state is StudyState.FINISHED
    return (
        f"`{shown(name)}` [yellow]{study.state}[/] after {done}"
        + ("; what follows was interrupted" if is_finished else "")
        + (f"; other workers go on with {counted(others, 'trial')}" if others else "")
        + (f"; {shown(of_optuna)}" if of_optuna else "")
        + f". Continue with [bold]{shown(again)}[/]"
    )


def launch(
    file: Path = StudyFile,
    overrides: list[str] = Set,
    name: str | None = Name,
    as_json: bool = AsJson,
) -> None:
    """Launch a study for workers to pick up (`tuner worker`), or an experiment's studies."""
    with opened() as (settings, database):
        prepared = experiments.prepare(database, file, settings, overrides=overrides, name=name)
        experiment = prepared[0].experiment
        _say_notes(prepared)
        launched = launching.launch_all(database, prepared, by=user())
        if as_json:
            made = [study_json.of_study(done.study) for done in launched]
            print_json(
                made[0] if experiment is None else {"experiment": experiment, "studies": made}
            )
            return
        for done in launched:
            trials = counted(done.study.max_trials or 0, "trial")
            out.print(f"launched [bold]{shown(done.study.name)}[/]: {trials}")
        name = experiment or launched[0].study.name
        print_next(
            (
                how_to_work(database, settings, [done.study for done in launched]),
                "work on it, on any machine that uses this database",
            ),
            (command("show", name), "see its progress"),
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
        [], "--label", help="What this worker has: gpu=h200. Studies may require it (repeatable)."
    ),
    until_done: bool = typer.Option(
        False, "--until-done", help="Exit when no study is active any more."
    ),
    allow_code: bool = typer.Option(
        False, "--allow-code", help="Run studies that bring their own code (function, command)."
    ),
) -> None:
    """Pull trials of all active studies and train them here, until stopped.

    SIGTERM or Ctrl-C drains: running trials finish or go back to the queue.
    """
    if device not in devices.CHOICES:
        raise BadInputError(f"--device: must be {DEVICES}, is {quoted(device)}")
    has = parse_labels(labels)
    with opened(PATIENCE) as (settings, database):
        allow = allow_code or settings.allow_code
        if allow is None:
            allow = database.is_embedded
        sources.check_trainable(database, settings, studies, allow_code=allow)
        slots = devices.slots(devices.find(device), workers, threads)
        err.print(
            f"[dim]worker with {counted(sum(not slot.spare for slot in slots), 'executor')} on "
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
