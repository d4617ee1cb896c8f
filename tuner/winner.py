"""Which trial of a study wins, and its export."""

import math
from collections.abc import Collection, Mapping, Sequence
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
from tuner.trials import Study, StudyState, Trial, TrialState

LOOKS = "tuner:test_looks"  # attribute of a study


def leading(database: Database, study: Study, top: int) -> list[Trial]:
    """So many of the best complete trials, of different configurations; the best first.

    NothingToExportError without any.
    """
    commands.best(database, study)
    finite = [
        t
        for t in commands.load_trials(database, study)
        if t.state is TrialState.COMPLETE and t.value is not None and math.isfinite(t.value)
    ]
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

    NothingToExportError without any; TrialNotFoundError where that trial is not complete.
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
    return [commands.best(database, study)]


def export_trial(
    database: Database,
    settings: Settings,
    study: Study,
    trial: Trial,
    folder: Path,
    *,
    force: bool = False,
    formats: Collection[str] = (),
    look_again: bool = False,
) -> Exported:
    """Write the bundle of a complete trial.

    The test part is read once a study, for the first trial that is exported, and what it has shown
    is kept with the study. `look_again` reads it for another trial too, which the card then says.
    Errors as of `export.export`.
    """
    from tuner.search.importances import importances  # with Optuna

    looks: list[dict[str, Any]] = list(study.user_attrs.get(LOOKS, ()))
    known = next((look for look in looks if look["trial"] == trial.number), None)
    may_look = not looks or look_again
    plan = Plan(
        formats=formats,
        trials=commands.load_trials(database, study),
        importances=None if study.spec is None else importances(database, study),
        look=may_look,
        test=None if known is None else Measured(known["metrics"], known["intervals"]),
        notes=[*_of_state(study), *_of_looks(looks, trial, may_look=may_look)],
    )
    exported = export(study, trial, folder, settings, force=force, plan=plan)
    if exported.test is not None:
        look = {
            "trial": trial.number,
            "at": _today(),
            "metrics": exported.test.metrics,
            "intervals": exported.test.intervals,
        }
        _keep(database, study, LOOKS, [*looks, look])
    return exported


def _of_state(study: Study) -> list[str]:
    notes = []
    if study.state is StudyState.ACTIVE:
        notes.append("the study was still running: this is the choice so far")
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


def _keep(database: Database, study: Study, key: str, value: Any) -> None:
    with database.transaction() as connection:
        studies.set_attribute(connection, study.id, "user_attrs", key, value)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
