"""Write the bundles of trials. A study's test part is read once, and what it shows is stored."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuner import files, shell
from tuner.commands import reading
from tuner.database import studies
from tuner.database.engine import Database
from tuner.errors import NothingToExportError, TrialNotFoundError
from tuner.export.folder import BundleOptions, Exported, export, refuse_taken
from tuner.export.result import Evaluation
from tuner.settings import Settings
from tuner.study_file.messages import quoted
from tuner.trials import Study, StudyState, Trial, TrialState
from tuner.winner import choice, confirmations, feasibility

LOOKS = "tuner:test_looks"  # attribute of a study: every trial for which the test part was read
CONFIRMATION, SEARCH, USER = "confirmation", "search", "user"  # what chose a trial


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What an export should contain, and may do, besides its trials and its folder."""

    formats: Collection[str] = ()  # of the configuration, names of `FORMATS`
    onnx: bool = False  # whether to write the network as ONNX too
    look_again: bool = False  # whether to read the test part for another trial too


def choose_trial(database: Database, study: Study, number: int | None = None) -> Trial:
    """The trial to export: the winner, or the complete trial of that number.

    NothingToExportError if no trial is complete; TrialNotFoundError if the trial named is not.
    """
    if number is None:
        return reading.load_winner(database, study)
    trial = reading.load_trial(database, study, number)
    if trial.state is not TrialState.COMPLETE:
        raise TrialNotFoundError(
            f"trial {number} of {quoted(study.name)} is {trial.state}; only complete trials "
            "can be exported"
        )
    return trial


def export_each(
    database: Database,
    settings: Settings,
    studies: Sequence[Study],
    folder: Path,
    *,
    force: bool = False,
    request: ExportRequest | None = None,
) -> list[Exported]:
    """Write the bundle of each study's winner into a folder named after its family.

    All bundles appear, or none. NothingToExportError if one of the studies has no winner; errors as
    for `export.export`. A look at a test part is stored even if a later bundle fails: it was read.
    """
    refuse_taken(folder, force=force, several=True)
    try:
        winners = [reading.load_winner(database, study) for study in studies]
    except NothingToExportError as error:
        raise NothingToExportError(
            f"{error}; the others can be exported one by one, by their studies' names"
        ) from None
    bundles = {
        study.family or study.name: (study.name, winner)
        for study, winner in zip(studies, winners, strict=True)
    }
    return _export_together(database, settings, bundles, folder, force=force, request=request)


def export_leading(
    database: Database,
    settings: Settings,
    study: Study,
    top: int,
    folder: Path,
    *,
    force: bool = False,
    request: ExportRequest | None = None,
) -> list[Exported]:
    """Write the bundles of the study's best `top` trials, each into a folder `trial-N`.

    Errors and looks at the test part as for `export_each`.
    """
    refuse_taken(folder, force=force, several=True)
    bundles = {
        f"trial-{trial.number}": (study.name, trial)
        for trial in reading.load_leading(database, study, top)
    }
    return _export_together(database, settings, bundles, folder, force=force, request=request)


def _export_together(
    database: Database,
    settings: Settings,
    bundles: Mapping[str, tuple[str, Trial]],  # name of the bundle's folder → study, trial
    folder: Path,
    *,
    force: bool,
    request: ExportRequest | None,
) -> list[Exported]:
    exports = []
    with files.whole_folder(folder, replace=force) as aside:
        for name, (study, trial) in bundles.items():
            exported = export_trial(
                database,
                settings,
                reading.find(database, study),  # again: an earlier bundle may have stored a look
                trial,
                aside / name,
                request=request,
                moves_to=folder / name,
            )
            exports.append(replace(exported, folder=folder / name))
    return exports


def export_trial(
    database: Database,
    settings: Settings,
    study: Study,
    trial: Trial,
    folder: Path,
    *,
    force: bool = False,
    request: ExportRequest | None = None,
    moves_to: Path | None = None,
) -> Exported:
    """Write the bundle of a complete trial into `folder`; `moves_to` is where it moves afterwards.

    The test part is read once per study, for the first trial that is exported, and its figures are
    stored with the study. The winner of a confirmation, which never reads the test part, gets a
    look of its own even if another trial was exported before. Errors as for `export.export`.
    """
    from tuner.search.importances import clear, importances  # imports Optuna

    looks: list[dict[str, Any]] = list(study.user_attrs.get(LOOKS, ()))
    earlier = next((look for look in looks if look["trial"] == trial.number), None)
    request = request or ExportRequest()
    trials = reading.load_trials(database, study)
    chosen_by = _chosen_by(study, trial, trials)
    may_look = not looks or request.look_again or chosen_by == CONFIRMATION
    today = datetime.now(UTC).date().isoformat()
    look = {"trial": trial.number, "at": today, "chosen_by": chosen_by}
    options = BundleOptions(
        formats=request.formats,
        onnx=request.onnx,
        trials=trials,
        importances=None if study.spec is None else clear(importances(database, study)),
        look=may_look,
        test=None if earlier is None else Evaluation(earlier["metrics"], earlier["intervals"]),
        looks=[
            *({key: past[key] for key in look if key in past} for past in looks),
            *([look] if may_look and earlier is None else []),
        ],
        confirmed=confirmations.read_trial(study, trial),
        notes=[
            *_notes_on_state(study, trial),
            *_notes_on_looks(
                *(study, looks, trial, request, moves_to or folder),
                chosen_by=chosen_by,
                may_look=may_look,
            ),
        ],
    )
    exported = export(study, trial, folder, settings, force=force, options=options)
    if exported.test is not None:
        look |= {"metrics": exported.test.metrics, "intervals": exported.test.intervals}
        with database.transaction() as connection:
            studies.set_attribute(connection, study.id, "user_attrs", LOOKS, [*looks, look])
    return exported


def _chosen_by(study: Study, trial: Trial, trials: Sequence[Trial]) -> str:
    """What chose this trial: the confirmation, the search, or the user who named it."""
    winner = choice.select_winner(trials, study)
    if winner is None or winner.number != trial.number:
        return USER
    record = confirmations.read(study)
    is_confirmed = record is not None and trial.number in confirmations.numbers(record)
    return CONFIRMATION if is_confirmed else SEARCH


def _notes_on_state(study: Study, trial: Trial) -> list[str]:
    notes = []
    if trial.violates_constraint:
        violations = feasibility.describe_violations(trial, study)
        notes.append(f"trial {trial.number} violates a constraint: it misses {violations}")
    if study.state is StudyState.ACTIVE:
        notes.append("the study was still running: this is the choice so far")
    record = confirmations.read(study)
    if record is not None and trial.number not in confirmations.numbers(record):
        notes.append(f"the confirmation of {record['at']} does not know this trial")
    asks = study.spec is not None and study.spec.get("confirm") is not None
    if asks and record is None:
        notes.append(
            "the study file asks for a confirmation, which has not been made: this is the "
            f"search's choice; `{shell.command('confirm', study.name)}` confirms it"
        )
    return notes


def _notes_on_looks(
    study: Study,
    looks: Sequence[Mapping[str, Any]],
    trial: Trial,
    request: ExportRequest,
    folder: Path,
    *,
    chosen_by: str,
    may_look: bool,
) -> list[str]:
    others = [look for look in looks if look["trial"] != trial.number]
    if not others:
        return []
    listed = ", ".join(f"trial {look['trial']} on {look['at']}" for look in others)
    own = next((look for look in looks if look["trial"] == trial.number), None)
    if chosen_by == CONFIRMATION and (own is None or own.get("chosen_by") == CONFIRMATION):
        return [
            f"the test part was also read for {listed}; trial {trial.number} was chosen by the "
            "confirmation, which never reads it, and this figure is from its own first look"
        ]
    if may_look or own is not None:
        return [
            f"the test part was also read for {listed}: a choice between trials that have all "
            "seen it is biased"
        ]
    again = shell.command(
        "export",
        study.name,
        # into this folder: the default one may hold another trial's export
        options=[
            *("--trial", str(trial.number), "--to", str(folder)),
            *(word for form in request.formats for word in ("--config", form)),
            *["--onnx"] * request.onnx,
            *("--look-again", "--force"),
        ],
    )
    return [
        f"the test part was already read for {listed} and is not read again; `{again}` reads it "
        "for this trial too, and records that"
    ]
