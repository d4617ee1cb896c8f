"""The end of `tuner run`: the best configuration and the next steps, or why there is none."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from tuner import export, files, study_json
from tuner.cli.comparison import comparison_record, print_comparison
from tuner.cli.output import (
    command_line,
    duration,
    err,
    literal,
    number,
    out,
    params_table,
    print_error,
    print_json,
    spell_commands,
)
from tuner.commands import experiments, exporting, reading
from tuner.commands.experiments import StudyResult
from tuner.database.engine import Database
from tuner.errors import BadInputError, NothingToExportError
from tuner.settings import Settings
from tuner.study_file.code import USER_CODE_FAMILIES
from tuner.trials import Study, StudyState, Trial, TrialState
from tuner.winner import choice

EXPORTS = Path("exports")
USER_CODE_VALUE = "as reported by your code; tuner holds out no test part for it"


def default_export(study: str) -> Path:
    """Return the folder that a study is exported to by default."""
    return EXPORTS / files.safe_name(study)


def check_export_folder(folder: Path, studies: Collection[str]) -> None:
    """Raise BadInputError if the folder is anything but an earlier export of these studies."""
    if folder.exists() and not _is_export_of_any(folder, studies):
        raise BadInputError(
            f"{files.shown(folder)}: exists already and is not an export of this study; name "
            "another folder with `--to`"
        )


def experiment_members(database: Database, experiment: str | None) -> list[str]:
    """Return the names of an experiment's studies: an earlier export may be of any of them."""
    if experiment is None:
        return []
    return [study.name for study in reading.find_experiment(database, experiment)]


def _is_export_of_any(folder: Path, studies: Collection[str]) -> bool:
    return any(export.is_export_of(folder, study) for study in studies)


def export_command(study: str) -> str:
    """Return the command that exports a study to its default folder, replacing its export."""
    force = ["--force"] * export.is_export_of(default_export(study), study)
    return command_line("export", study, options=force)


def conclude(
    database: Database,
    settings: Settings,
    study: Study,
    rerun: str,
    folder: Path,
    as_json: bool,
    *,
    result: StudyResult | None = None,
    **others: Any,
) -> None:
    """Export the best of a study that ended; `rerun` is the command that continues it.

    `result` is its place in an experiment, `others` are further fields for scripts.
    """
    counts = reading.load_overview(database, study.name).counts
    summary = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    if study.state is not StudyState.FINISHED:
        reason = study.reason or "no reason given"
        sentence = f"{reason} ({summary}). {_how_to_continue(study, rerun, counts)}"
        if as_json:
            _print_failure(database, study, sentence, **others)
        err.print(f"[yellow]{study.state}[/]: {literal(sentence)}")
        raise typer.Exit(1)
    try:
        best = reading.load_winner(database, study)
    except NothingToExportError as error:  # the study's fault, not the command's
        sentence = spell_commands(str(error))
        if counts[TrialState.FAILED]:
            sentence += f" and `{rerun}` continues"
        if as_json:
            _print_failure(database, study, sentence, **others)
        print_error(sentence)
        raise typer.Exit(1) from None
    members = {study.name, *experiment_members(database, study.experiment)}
    check_export_folder(folder, members)
    force = _is_export_of_any(folder, members)
    exported = exporting.export_trial(database, settings, study, best, folder, force=force)
    print_notes(exported)
    if as_json:
        print_json(
            {
                **_record(study, counts),
                "best": exported.content,
                "export": str(folder),
                **others,
            }
        )
        return
    out.print(f"[bold]{literal(study.name)}[/] finished: {literal(study.reason or '')} ({summary})")
    took = f"in {duration(_seconds([study]))}"
    if result is not None:  # the families took turns
        took = f"its trials took {duration(result.seconds)}"
    out.print(f"  {took}\n")
    _print_best(exported.content, best, folder)
    name = study.name
    allow_code = ["--allow-code"] * (study.family in USER_CODE_FAMILIES)
    print_next(
        (
            command_line("report", name if result is None else study.experiment or name),
            "write figures and tables as one HTML page",
        ),
        (command_line("trials", name), "list all trials"),
        (
            command_line("verify", str(folder), options=allow_code),
            "check the export: retrain it and compare",
        ),
    )


def _print_best(content: Mapping[str, Any], best: Trial, folder: Path) -> None:
    """Print the exported configuration and its values."""
    metric = content["metric"]
    title = "confirmed" if metric.get("confirmed", {}).get("won") else "best"
    out.print(f"[bold green]{title} configuration[/] (trial {best.number})")
    out.print(params_table(content["params"], indent=2))
    out.print()
    if "validation_from_weights" in metric:
        out.print(f"  validation {metric['name']}  [bold]{number(metric['validation'])}[/]")
        if "test" in metric:
            out.print(f"  test {metric['name']}        [bold]{number(metric['test'])}[/]")
    else:
        value = f"{literal(metric['name'])} [bold]{number(metric['validation'])}[/]"
        out.print(f"  {value}, {USER_CODE_VALUE}")
    out.print(f"  exported to{' ' * 12}[bold]{literal(str(folder))}[/]\n")
    if "confirmed" in metric:
        for sentence in metric["confirmed"]["shown"]:
            out.print(literal(sentence))
        out.print()


def _seconds(studies: Sequence[Study]) -> float | None:
    """Return the seconds from the first launch to the last end; None if one has not ended."""
    begun = [study.created_at for study in studies if study.created_at is not None]
    ended = [study.finished_at for study in studies if study.finished_at is not None]
    if not begun or len(ended) < len(studies):
        return None
    return (max(ended) - min(begun)).total_seconds()


def _how_to_continue(study: Study, rerun: str, counts: Mapping[TrialState, int]) -> str:
    if not counts[TrialState.FAILED]:
        return f"Continue with `{rerun}`"
    failed = command_line("trials", study.name, options=["--state", "failed"])
    return (
        f"`{failed}` lists the failed trials. Once the cause is fixed, "
        f"`{command_line('retry', study.name)}` queues them again and `{rerun}` continues"
    )


def _print_failure(database: Database, study: Study, sentence: str, **others: Any) -> None:
    """Print the record of a study without a result, for scripts."""
    print_json(
        {
            **_record(study, reading.load_overview(database, study.name).counts),
            "best": None,
            "export": None,
            "failures": reading.load_failures(database, study),
            "message": sentence,
            **others,
        }
    )


def _record(study: Study, counts: Mapping[TrialState, int]) -> dict[str, Any]:
    return {
        "study": study_json.plain(study_json.of_study(study)),
        "counts": {str(k): v for k, v in counts.items()},
    }


def conclude_experiment(
    database: Database,
    settings: Settings,
    experiment: str,
    rerun: str,
    folder: Path,
    as_json: bool,
) -> None:
    """Compare the families and export the best configuration of the best one."""
    results = experiments.compare(database, experiment)
    record = {"experiment": comparison_record(experiment, results)}
    if not as_json:
        print_comparison(experiment, results)
        out.print()
    unfinished = [result for result in results if result.study.state is not StudyState.FINISHED]
    if unfinished:
        sentences = [_why_unfinished(result, rerun) for result in unfinished]
        if as_json:
            print_json({**record, "best": None, "export": None, "message": "; ".join(sentences)})
        for result, line in zip(unfinished, sentences, strict=True):
            err.print(
                f"`{literal(result.study.name)}` [yellow]{result.study.state}[/]: {literal(line)}"
            )
        raise typer.Exit(1)
    if not as_json:
        took = duration(_seconds([result.study for result in results]))
        out.print(f"all families together took {took}\n")
    for result in results[1:]:
        if result.best is None:
            _print_why_none(database, result.study)
    best, by_means = choice.select_best_study([(result.study, result.best) for result in results])
    first = next(result for result in results if result.study.id == best.id)
    if by_means and first is not results[0]:
        err.print(
            f"[dim]exporting `{literal(best.name)}`: "
            "its winner has the best mean over fresh seeds[/]"
        )
    conclude(database, settings, first.study, rerun, folder, as_json, result=first, **record)


def _why_unfinished(result: StudyResult, rerun: str) -> str:
    reason = result.study.reason or "no reason given"
    return f"{reason}. {_how_to_continue(result.study, rerun, result.overview.counts)}"


def _print_why_none(database: Database, study: Study) -> None:
    try:
        reading.load_best(database, study)
    except NothingToExportError as error:
        err.print(f"[yellow]{literal(spell_commands(str(error)))}[/]")


def print_notes(exported: export.Exported) -> None:
    """Print what an export lacks and what to know about its choice, on standard error."""
    missing = [exported.content["missing"]] if "missing" in exported.content else []
    for note in (*missing, *exported.content.get("notes", ())):
        err.print(f"[yellow]{literal(spell_commands(note))}[/]")


def describe_test(exported: export.Exported) -> str:
    """Say what is known about the test part."""
    metric = exported.content["metric"]
    if "test" in metric:
        return f"test {number(metric['test'])}"
    return "test not read" if "validation_from_weights" in metric else USER_CODE_VALUE


def print_next(*lines: tuple[str, str]) -> None:
    """Print the next commands to try, and what each does."""
    out.print("next:")
    width = max(len(line) for line, _ in lines)
    for line, meaning in lines:
        out.print(f"  {literal(line.ljust(width))}   [dim]{meaning}[/]")
