"""How `tuner run` ends: the best configuration and what to do next, or why there is none."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from tuner import export, files, study_json
from tuner.cli.comparison import comparison_record, print_comparison
from tuner.cli.output import (
    as_called,
    command,
    complain,
    duration,
    err,
    number,
    out,
    params_table,
    print_json,
    shown,
)
from tuner.commands import experiments, exporting, reading
from tuner.commands.experiments import StudyResult
from tuner.database.engine import Database
from tuner.errors import BadInputError, NothingToExportError
from tuner.settings import Settings
from tuner.study_file.code import OWN
from tuner.trials import Study, StudyState, TrialState
from tuner.winner import choice

EXPORTS = Path("exports")
OWN_FIGURE = "as your code reported it; tuner holds out no test part for it"


def default_export(study: str) -> Path:
    """Where a study is exported unless the user names another folder."""
    return EXPORTS / files.safe_name(study)


def refuse_taken(folder: Path, studies: Collection[str]) -> None:
    """BadInputError if the folder holds anything but an earlier export of one of these."""
    if folder.exists() and not _is_export_of_one(folder, studies):
        raise BadInputError(
            f"{files.shown(folder)}: exists already and is not an export of this study; name "
            "another folder with `--to`"
        )


def rivals(database: Database, experiment: str | None) -> list[str]:
    """The studies of an experiment: an earlier export is of the one that was the best then."""
    if experiment is None:
        return []
    return [study.name for study in reading.find_experiment(database, experiment)]


def _is_export_of_one(folder: Path, studies: Collection[str]) -> bool:
    return any(export.is_export_of(folder, study) for study in studies)


def how_to_export(study: str) -> str:
    """The command that exports a study to its default folder, replacing what it exported before."""
    force = ["--force"] * export.is_export_of(default_export(study), study)
    return command("export", study, options=force)


def conclude(
    database: Database,
    settings: Settings,
    study: Study,
    again: str,
    folder: Path,
    as_json: bool,
    *,
    within: StudyResult | None = None,
    **others: Any,
) -> None:
    """Export the best of a study that is over; `again` is the command that goes on with it.

    `within` is what an experiment knows of it, `others` what scripts get beside.
    """
    counts = reading.load_overview(database, study.name).counts
    summary = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    if study.state is not StudyState.FINISHED:
        reason = study.reason or "for no reason given"
        sentence = f"{reason} ({summary}). {_how_to_go_on(study, again, counts)}"
        if as_json:
            _print_failure(database, study, sentence, **others)
        err.print(f"[yellow]{study.state}[/]: {shown(sentence)}")
        raise typer.Exit(1)
    try:
        best = reading.load_winner(database, study)
    except NothingToExportError as error:  # the study is at fault, not the command
        sentence = as_called(str(error))
        if counts[TrialState.FAILED]:
            sentence += f" and `{again}` continues"
        if as_json:
            _print_failure(database, study, sentence, **others)
        complain(sentence)
        raise typer.Exit(1) from None
    of = {study.name, *rivals(database, study.experiment)}
    refuse_taken(folder, of)
    force = _is_export_of_one(folder, of)
    exported = exporting.export_trial(database, settings, study, best, folder, force=force)
    say_notes_of(exported)
    metric = exported.content["metric"]
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
    out.print(f"[bold]{shown(study.name)}[/] finished: {shown(study.reason or '')} ({summary})")
    took = f"in {duration(_seconds([study]))}"
    if within is not None:  # meanwhile the other families had their turns
        took = f"its trials took {duration(within.seconds)}"
    out.print(f"  {took}\n")
    what = "confirmed" if metric.get("confirmed", {}).get("won") else "best"
    out.print(f"[bold green]{what} configuration[/] (trial {best.number})")
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
    if "confirmed" in metric:
        for sentence in metric["confirmed"]["shown"]:
            out.print(shown(sentence))
        out.print()
    name = study.name
    allow_code = ["--allow-code"] * (study.family in OWN)
    print_next(
        (
            command("report", name if within is None else study.experiment or name),
            "figures and tables as one HTML page",
        ),
        (command("trials", name), "every trial"),
        (
            command("verify", str(folder), options=allow_code),
            "check the export: train it again and compare",
        ),
    )


def _seconds(studies: Sequence[Study]) -> float | None:
    """From the first launch to the last end; None while one has not ended."""
    begun = [study.created_at for study in studies if study.created_at is not None]
    ended = [study.finished_at for study in studies if study.finished_at is not None]
    if not begun or len(ended) < len(studies):
        return None
    return (max(ended) - min(begun)).total_seconds()


def _how_to_go_on(study: Study, again: str, counts: Mapping[TrialState, int]) -> str:
    if not counts[TrialState.FAILED]:
        return f"Continue with `{again}`"
    failed = command("trials", study.name, options=["--state", "failed"])
    return (
        f"`{failed}` lists them. Once that is corrected, `{command('retry', study.name)}` queues "
        f"failed trials again and `{again}` continues"
    )


def _print_failure(database: Database, study: Study, sentence: str, **others: Any) -> None:
    """What scripts get of a study without a result."""
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
    again: str,
    folder: Path,
    as_json: bool,
) -> None:
    """Compare the families and export the best configuration of the best one."""
    found = experiments.compare(database, experiment)
    record = {"experiment": comparison_record(experiment, found)}
    if not as_json:
        print_comparison(experiment, found)
        out.print()
    left = [one for one in found if one.study.state is not StudyState.FINISHED]
    if left:
        lines = [_why_left(one, again) for one in left]
        if as_json:
            print_json({**record, "best": None, "export": None, "message": "; ".join(lines)})
        for one, line in zip(left, lines, strict=True):
            err.print(f"`{shown(one.study.name)}` [yellow]{one.study.state}[/]: {shown(line)}")
        raise typer.Exit(1)
    if not as_json:
        out.print(
            f"all families together took {duration(_seconds([one.study for one in found]))}\n"
        )
    for one in found[1:]:
        if one.best is None:
            _say_why_none(database, one.study)
    best, by_means = choice.select_best_study([(one.study, one.best) for one in found])
    first = next(one for one in found if one.study.id == best.id)
    if by_means and first is not found[0]:
        err.print(
            f"[dim]`{shown(best.name)}` is exported: its winner has the best mean of fresh seeds[/]"
        )
    conclude(database, settings, first.study, again, folder, as_json, within=first, **record)


def _why_left(one: StudyResult, again: str) -> str:
    reason = one.study.reason or "for no reason given"
    return f"{reason}. {_how_to_go_on(one.study, again, one.overview.counts)}"


def _say_why_none(database: Database, study: Study) -> None:
    try:
        reading.load_best(database, study)
    except NothingToExportError as error:
        err.print(f"[yellow]{shown(as_called(str(error)))}[/]")


def say_notes_of(exported: export.Exported) -> None:
    """On standard error: what an export lacks, and what should be known of its choice."""
    missing = [exported.content["missing"]] if "missing" in exported.content else []
    for note in (*missing, *exported.content.get("notes", ())):
        err.print(f"[yellow]{shown(as_called(note))}[/]")


def test_in_words(exported: export.Exported) -> str:
    """What is known of the test part."""
    metric = exported.content["metric"]
    if "test" in metric:
        return f"test {number(metric['test'])}"
    return "test not read" if "validation_from_weights" in metric else OWN_FIGURE


def print_next(*lines: tuple[str, str]) -> None:
    """Commands to type next, and what each does."""
    out.print("next:")
    width = max(len(line) for line, _ in lines)
    for line, meaning in lines:
        out.print(f"  {shown(line.ljust(width))}   [dim]{meaning}[/]")
