"""Launching and working: `run`, `launch`, `worker`."""

import shlex
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

from tuner import commands, export
from tuner.cli.live import LiveView
from tuner.cli.output import (
    AsJson,
    duration,
    err,
    number,
    opened,
    out,
    params_table,
    plain,
    print_json,
    program,
    study_record,
)
from tuner.database.engine import Database
from tuner.errors import BadInputError
from tuner.settings import Settings
from tuner.trials import Study, StudyState, TrialState
from tuner.worker import devices

EXPORTS = Path("exports")

StudyFile = typer.Argument(help="The study file (YAML).", show_default=False)
Name = typer.Option(None, "--name", help="Launch under this name instead of the file's.")
Set = typer.Option(
    [], "--set", help="Override a field: --set search.learning_rate.high=0.01 (repeatable)."
)
Workers = typer.Option(
    None, "--workers", "-w", min=1, help="Executors; by default by what is there."
)
Threads = typer.Option(None, "--threads", min=1, help="CPU threads of an executor.")
Device = typer.Option("auto", "--device", help="auto, cpu or cuda.")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(run)
    app.command()(launch)
    app.command()(worker)


def run(
    file: Path = StudyFile,
    overrides: list[str] = Set,
    name: str | None = Name,
    workers: int | None = Workers,
    threads: int | None = Threads,
    to: Path | None = typer.Option(None, "--to", help="Export here; by default exports/NAME."),
    as_json: bool = AsJson,
) -> None:
    """Launch a study, work on it here until it is done, export the best configuration.

    Running it again continues where it was. Ctrl-C pauses.
    """
    with opened() as (settings, database):
        prepared = commands.prepare_study(file, settings, overrides=overrides, name=name)
        launched = commands.launch(database, prepared, resume=True)
        study, spec = launched.study, prepared.spec
        for change in launched.changes:
            err.print(f"[yellow]changed:[/] {escape(change)}")
        if not launched.created:
            goes_on = "goes on where it was" if study.state is StudyState.ACTIVE else "is finished"
            err.print(f"[dim]`{escape(study.name)}` exists: it {goes_on}[/]")
        else:
            examples = ", ".join(f"{n} {part}" for part, n in prepared.examples.items())
            err.print(f"[dim]`{escape(study.name)}` launched; data: {examples} examples[/]")
        interrupted = False
        if study.state is StudyState.ACTIVE:
            chosen = devices.slots(
                spec.resources.device,
                workers or spec.resources.workers,
                threads or spec.resources.threads,
            )
            interrupted = _work(database, settings, study, chosen)
        study = commands.find(database, study.name)
        if interrupted:
            _say_how_to_go_on(database, study, file)
            raise typer.Exit(130)
        _conclude(database, settings, study, file, to, as_json)


def _work(
    database: Database, settings: Settings, study: Study, slots: tuple[devices.Slot, ...]
) -> bool:
    """Work until the study is not active; whether the user interrupted it."""
    from tuner.worker.loop import Worker  # with Optuna, which `tuner list` does not wait for

    local = Worker(database, settings, slots, only=[study.name], until_done=True)
    with LiveView(database, study, err) as view:
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
    err.print(
        f"[yellow]{study.state}[/] after {_finished(counts)} of {study.max_trials} trials"
        + (f"; other workers go on with {others} trials" if others else "")
        + f". Continue with {_command('run', str(file))}"
    )


def _command(*words: str) -> str:
    """A command to type, as Rich markup."""
    return f"[bold]{escape(shlex.join([*program(), *words]))}[/]"


def _finished(counts: Any) -> int:
    return sum(n for state, n in counts.items() if state.is_finished)


def _conclude(
    database: Database,
    settings: Settings,
    study: Study,
    file: Path,
    to: Path | None,
    as_json: bool,
) -> None:
    counts = commands.overview(database, study.name).counts
    summary = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    if study.state is not StudyState.FINISHED:
        err.print(
            f"[yellow]{study.state}[/]: {escape(study.reason or '')} ({summary}). See "
            f"{_command('trials', study.name, '--state', 'failed')}, then "
            f"{_command('run', str(file))} to go on"
        )
        raise typer.Exit(1)
    best = commands.best(database, study)
    folder = to or EXPORTS / study.name
    if to is not None and folder.exists() and not export.is_export_of(folder, study):
        raise BadInputError(f"{folder} exists already; name another folder with --to")
    exported = export.export(
        study, best, folder, settings, force=export.is_export_of(folder, study)
    )
    metric = exported.content["metric"]
    if as_json:
        print_json(
            {
                "study": plain(study_record(study)),
                "counts": {str(k): v for k, v in counts.items()},
                "best": exported.content,
                "export": str(folder),
            }
        )
        return
    took = (
        (study.finished_at - study.created_at).total_seconds()
        if study.finished_at and study.created_at
        else None
    )
    out.print(f"[bold]{escape(study.name)}[/] finished: {escape(study.reason or '')} ({summary})")
    out.print(f"  in {duration(took)}\n")
    out.print(f"[bold green]best configuration[/] (trial {best.number})")
    out.print(params_table(exported.content["params"], indent=2))
    out.print()
    out.print(f"  validation {metric['name']}  [bold]{number(metric['validation'])}[/]")
    out.print(f"  test {metric['name']}        [bold]{number(metric['test'])}[/]")
    out.print(f"  exported to{' ' * 12}[bold]{escape(str(folder))}[/]\n")
    name = study.name
    out.print("next:")
    _print_next(
        (["report", name], "figures and tables as one HTML page"),
        (["trials", name], "every trial"),
        (["run", str(folder / "reproduce.yaml")], "train the best again"),
    )


def _print_next(*commands_: tuple[list[str], str]) -> None:
    """Commands to type next, as this shell finds them, and what each does."""
    shown = [(shlex.join([*program(), *words]), meaning) for words, meaning in commands_]
    width = max(len(command) for command, _ in shown)
    for command, meaning in shown:
        out.print(f"  {escape(command.ljust(width))}   [dim]{escape(meaning)}[/]")


def launch(
    file: Path = StudyFile,
    overrides: list[str] = Set,
    name: str | None = Name,
    as_json: bool = AsJson,
) -> None:
    """Launch a study for workers elsewhere (`tuner worker`)."""
    with opened() as (settings, database):
        prepared = commands.prepare_study(file, settings, overrides=overrides, name=name)
        launched = commands.launch(database, prepared)
        if as_json:
            print_json(study_record(launched.study))
            return
        name = launched.study.name
        out.print(f"launched [bold]{escape(name)}[/]: {launched.study.max_trials} trials\nnext:")
        _print_next(
            (["worker"], "work on it, on any machine with this database"),
            (["show", name], "see how it stands"),
        )


def worker(
    studies: list[str] = typer.Option(
        [], "--study", "-s", help="Serve only this study (repeatable)."
    ),
    workers: int | None = Workers,
    threads: int | None = Threads,
    device: str = Device,
    until_done: bool = typer.Option(
        False, "--until-done", help="Return when no study is active any more."
    ),
) -> None:
    """Pull trials of all active studies and train them here, until stopped.

    SIGTERM or Ctrl-C drains: running trials go back to the queue.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise BadInputError(f"--device: must be auto, cpu or cuda, is `{device}`")
    with opened() as (settings, database):
        for study in studies:
            commands.find(database, study)
        slots = devices.slots(device, workers, threads)
        err.print(
            f"[dim]worker with {len(slots)} executors on "
            f"{', '.join(sorted({slot.name for slot in slots}))}; Ctrl-C drains[/]"
        )
        from tuner.worker.loop import Worker  # with Optuna

        Worker(database, settings, slots, only=studies, until_done=until_done).run()
