"""Which trial of a study wins, by its value or by a confirmation, and its export."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuner import commands
from tuner.database import studies
from tuner.database.engine import Database
from tuner.errors import TrialNotFoundError
from tuner.export.facts import Measured
from tuner.export.folder import Exported, Plan, export
from tuner.settings import Settings
from tuner.spec.words import quoted
from tuner.trials import Study, StudyState, Trial, TrialState, pareto_front

LOOKS = "tuner:test_looks"  # attributes of a study
CONFIRMATION = "tuner:confirmation"


def leading(database: Database, study: Study, top: int, *, front: bool = False) -> list[Trial]:
    """So many of the best complete trials, of different configurations; the best first.

    `front`: only those that no other beats in every objective. NothingToExportError without any.
    """
    every = commands.load_trials(database, study)
    finite = [
        t for t in (pareto_front(every, study.directions) if front else every) if t.can_be_best
    ]
    if not finite:
        commands.best(database, study)  # says why there is none
    finite.sort(key=lambda t: t.value or 0.0, reverse=study.direction == "maximize")
    different: list[Trial] = []
    for trial in finite:
        if all(trial.params != other.params for other in different):
            different.append(trial)
    return different[:top]


def chosen(
    database: Database, study: Study, top: int | None = None, number: int | None = None
) -> list[Trial]:
    """The winner, so many of the best, or the trial of a number.

    The winner is the one that a confirmation has found, unless a better trial came after it; else
    it is the best. NothingToExportError without any; TrialNotFoundError where that trial is not
    complete.
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
    contest = confirmation(study)
    if contest is None or best.number not in _numbers(contest):
        return best.number
    return int(contest["winner"])


def confirmation(study: Study) -> Mapping[str, Any] | None:
    """What a confirmation of the study has shown, as it was kept; None without one."""
    found: Mapping[str, Any] | None = study.user_attrs.get(CONFIRMATION)
    return found


def _numbers(contest: Mapping[str, Any]) -> set[int]:
    return {candidate["number"] for candidate in contest["candidates"]}


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
) -> Exported:
    """Write the bundle of a complete trial.

    The test part is read once a study, for the first trial that is exported, and what it has shown
    is kept with the study. Errors as of `export.export`.
    """
    from tuner.search.importances import importances  # with Optuna

    looks: list[dict[str, Any]] = list(study.user_attrs.get(LOOKS, ()))
    known = next((look for look in looks if look["trial"] == trial.number), None)
    wanted = wanted or Wanted()
    may_look = not looks or wanted.look_again
    plan = Plan(
        formats=wanted.formats,
        onnx=wanted.onnx,
        trials=commands.load_trials(database, study),
        importances=None if study.spec is None else importances(database, study),
        look=may_look,
        test=None if known is None else Measured(known["metrics"], known["intervals"]),
        confirmed=confirmed(study, trial),
        notes=[*_of_state(study, trial), *_of_looks(looks, trial, may_look=may_look)],
    )
    exported = export(study, trial, folder, settings, force=force, plan=plan)
    if exported.test is not None:
        look = {
            "trial": trial.number,
            "at": today(),
            "metrics": exported.test.metrics,
            "intervals": exported.test.intervals,
        }
        keep(database, study, LOOKS, [*looks, look])
    return exported


def _of_state(study: Study, trial: Trial) -> list[str]:
    notes = []
    if study.state is StudyState.ACTIVE:
        notes.append("the study was still running: this is the choice so far")
    contest = confirmation(study)
    if contest is not None and trial.number not in _numbers(contest):
        notes.append(f"the confirmation of {contest['at']} does not know this trial")
    return notes


def _of_looks(looks: Sequence[Mapping[str, Any]], trial: Trial, *, may_look: bool) -> list[str]:
    others = [look for look in looks if look["trial"] != trial.number]
    if not others:
        return []
    said = ", ".join(f"trial {look['trial']} on {look['at']}" for look in others)
    if may_look or len(others) < len(looks):
        return [
            f"the test part was read before for {said}: a choice between trials that have all "
            "seen it is biased"
        ]
    return [
        f"the test part was read already, for {said}, and is not read again; "
        "`tuner export --look-again` does so, and records it"
    ]


def confirmed(study: Study, trial: Trial) -> dict[str, Any] | None:
    """What a confirmation says of this trial; None where it says nothing."""
    found = confirmation(study)
    if found is None:
        return None
    for candidate in found["candidates"]:
        if candidate["number"] == trial.number:
            return {
                "mean": candidate["mean"],
                "interval": candidate["interval"],
                "seeds": len(candidate["values"]),
                "overstated_by": candidate["overstated_by"],
                "won": found["winner"] == trial.number,
                "tied_with": [n for n in found["tied"] if n != trial.number],
            }
    return None


def keep(database: Database, study: Study, key: str, value: Any) -> None:
    """Keep something with a study."""
    with database.transaction() as connection:
        studies.set_attribute(connection, study.id, "user_attrs", key, value)


def today() -> str:
    """The date, in UTC."""
    return datetime.now(UTC).date().isoformat()
