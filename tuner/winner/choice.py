"""Which trial of a study wins, by its value or by a confirmation, and its export."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuner import commands, confirmations, shell
from tuner.database import studies
from tuner.database.engine import Database
from tuner.errors import TrialNotFoundError
from tuner.export.folder import Exported, Plan, export
from tuner.export.result import Measured
from tuner.settings import Settings
from tuner.study_file.messages import quoted
from tuner.trials import ParamValue, Study, StudyState, Trial, TrialState, pareto_front

LOOKS = "tuner:test_looks"  # attribute of a study
CONFIRMATION, SEARCH, USER = "confirmation", "search", "user"  # by whom a trial was chosen


def leading(
    database: Database,
    study: Study,
    top: int,
    *,
    front: bool = False,
    also: Collection[int] = (),
) -> list[Trial]:
    """So many of the best complete trials, of different configurations; the best first.

    `front`: only those that no other beats in every objective; `also`: numbers of trials that are
    wanted wherever they rank. NothingToExportError without any.
    """
    every = commands.load_trials(database, study)
    finite = [
        t for t in (pareto_front(every, study.directions) if front else every) if t.can_be_best
    ]
    if not finite:
        commands.best(database, study)  # says why there is none
    finite.sort(key=lambda t: t.value or 0.0, reverse=study.direction == "maximize")
    different: dict[frozenset[tuple[str, ParamValue]], Trial] = {}
    for trial in finite:
        different.setdefault(frozenset(trial.params.items()), trial)
    return [
        trial for rank, trial in enumerate(different.values()) if rank < top or trial.number in also
    ]


def chosen(
    database: Database, study: Study, top: int | None = None, number: int | None = None
) -> list[Trial]:
    """The winner, so many of the best, or the trial of a number.

    The winner is the one that a confirmation has found, unless the search found a better trial
    after it; else it is the best. NothingToExportError without any; TrialNotFoundError where that
    trial is not complete.
    """
    if number is not None:
        found = commands.trial(database, study, number)
        if found.state is not TrialState.COMPLETE:
            raise TrialNotFoundError(
                f"trial {number} of {quoted(study.name)} is {found.state}; only complete trials "
                "can be exported"
            )
        return [found]
    if top is not None:
        return leading(database, study, top)
    best = commands.best(database, study)
    winner = _winner(study, best)
    return [best if winner == best.number else commands.trial(database, study, winner)]


def winner_of(trials: Sequence[Trial], study: Study) -> Trial | None:
    """The winner among all trials of a study; None where none is complete."""
    best = commands.best_of(trials, study)
    if best is None:
        return None
    winner = _winner(study, best)
    return next((trial for trial in trials if trial.number == winner), best)


def _winner(study: Study, best: Trial) -> int:
    record = confirmation(study)
    if record is None or best.number not in confirmations.numbers(record):
        return best.number
    return int(record["winner"])


def best_of_several(ranked: Sequence[tuple[Study, Trial | None]]) -> tuple[Study, bool]:
    """Which study's winner is the best of an experiment, and whether that is by fresh seeds.

    `ranked` are its studies with the best trial of each, by that trial's value. The value decides
    unless every winner was confirmed: a lucky value would win against a mean. A study without any
    complete trial has no winner, and does not count.
    """
    means = [(study, _confirmed_mean(study, best)) for study, best in ranked if best is not None]
    known = [(study, mean) for study, mean in means if mean is not None]
    if not known or len(known) < len(means):
        return ranked[0][0], False
    sign = 1.0 if known[0][0].direction == "maximize" else -1.0
    return max(known, key=lambda pair: sign * pair[1])[0], True


def _confirmed_mean(study: Study, best: Trial) -> float | None:
    """Of the study's winner; None where the confirmation does not know of a better trial."""
    record = confirmation(study)
    if record is None or best.number not in confirmations.numbers(record):
        return None
    mean: float | None = next(
        c["mean"] for c in record["candidates"] if c["number"] == record["winner"]
    )
    return mean


def confirmation(study: Study) -> Mapping[str, Any] | None:
    """What a confirmation of the study has shown; None without one."""
    return confirmations.of_study(study)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of an export besides its trials and its folder."""

    formats: Collection[str] = ()  # of the configuration, names of `FORMATS`
    onnx: bool = False  # whether it shall hold the network as ONNX too
    look_again: bool = (
        False  # whether the test part is read for another trial too; the card says so
    )


def export_trial(
    database: Database,
    settings: Settings,
    study: Study,
    trial: Trial,
    folder: Path,
    *,
    force: bool = False,
    wanted: Wanted | None = None,
    moves_to: Path | None = None,
) -> Exported:
    """Write the bundle of a complete trial into `folder`, which may be moved to another afterwards.

    The test part is read once a study, for the first trial that is exported, and what it has shown
    is kept with the study. The winner of a confirmation, which never sees the test part, has a look
    of its own even where the search's winner was exported before. Errors as of `export.export`.
    """
    from tuner.search.importances import clear, importances  # with Optuna

    looks: list[dict[str, Any]] = list(study.user_attrs.get(LOOKS, ()))
    known = next((look for look in looks if look["trial"] == trial.number), None)
    wanted = wanted or Wanted()
    trials = commands.load_trials(database, study)
    chosen_by = _chosen_by(study, trial, trials)
    may_look = not looks or wanted.look_again or chosen_by == CONFIRMATION
    look = {"trial": trial.number, "at": today(), "chosen_by": chosen_by}
    plan = Plan(
        formats=wanted.formats,
        onnx=wanted.onnx,
        trials=trials,
        importances=None if study.spec is None else clear(importances(database, study)),
        look=may_look,
        test=None if known is None else Measured(known["metrics"], known["intervals"]),
        looks=[
            *({key: past[key] for key in look if key in past} for past in looks),
            *([look] if may_look and known is None else []),
        ],
        confirmed=confirmed(study, trial),
        notes=[
            *_of_state(study, trial),
            *_of_looks(
                *(study, looks, trial, wanted, moves_to or folder),
                chosen_by=chosen_by,
                may_look=may_look,
            ),
        ],
    )
    exported = export(study, trial, folder, settings, force=force, plan=plan)
    if exported.test is not None:
        look |= {"metrics": exported.test.metrics, "intervals": exported.test.intervals}
        keep(database, study, LOOKS, [*looks, look])
    return exported


def _chosen_by(study: Study, trial: Trial, trials: Sequence[Trial]) -> str:
    """Who has chosen this trial: the confirmation, the search, or the user who named it."""
    winner = winner_of(trials, study)
    if winner is None or winner.number != trial.number:
        return USER
    record = confirmation(study)
    is_confirmed = record is not None and trial.number in confirmations.numbers(record)
    return CONFIRMATION if is_confirmed else SEARCH


def _of_state(study: Study, trial: Trial) -> list[str]:
    notes = []
    if study.state is StudyState.ACTIVE:
        notes.append("the study was still running: this is the choice so far")
    record = confirmation(study)
    if record is not None and trial.number not in confirmations.numbers(record):
        notes.append(f"the confirmation of {record['at']} does not know this trial")
    asks = study.spec is not None and study.spec.get("confirm") is not None
    if asks and record is None:
        notes.append(
            "the study file asks for a confirmation, which has not been made: this is the "
            f"search's choice; make it with `{shell.command('confirm', study.name)}`"
        )
    return notes


def _of_looks(
    study: Study,
    looks: Sequence[Mapping[str, Any]],
    trial: Trial,
    wanted: Wanted,
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
            "confirmation, which never reads it, and this figure is of its own first look"
        ]
    if may_look or own is not None:
        return [
            f"the test part was also read for {listed}: a choice between trials that have all "
            "seen it is biased"
        ]
    again = shell.command(
        "export",
        study.name,
        # into this folder, for another may hold the export of another trial
        options=[
            *("--trial", str(trial.number), "--to", str(folder)),
            *(word for form in wanted.formats for word in ("--config", form)),
            *["--onnx"] * wanted.onnx,
            *("--look-again", "--force"),
        ],
    )
    return [
        f"the test part was already read for {listed} and is not read again; `{again}` reads it "
        "for this trial too, and records that"
    ]


def confirmed(study: Study, trial: Trial) -> dict[str, Any] | None:
    """What a confirmation says of this trial; None where it says nothing."""
    record = confirmation(study)
    if record is None:
        return None
    for candidate in record["candidates"]:
        if candidate["number"] == trial.number:
            return {
                "mean": candidate["mean"],
                "interval": candidate["interval"],
                "seeds": len(candidate["values"]),
                "overstated_by": candidate["overstated_by"],
                "won": record["winner"] == trial.number,
                "standing": candidate["standing"],
                "best_mean": record["best_mean"],
                "margin": record["margin"],
                "bound": record["bound"],
                "shown": confirmations.sentences(record),
            }
    return None


def keep(database: Database, study: Study, key: str, value: Any) -> None:
    """Keep something with a study."""
    with database.transaction() as connection:
        studies.set_attribute(connection, study.id, "user_attrs", key, value)


def today() -> str:
    """The date, in UTC."""
    return datetime.now(UTC).date().isoformat()
