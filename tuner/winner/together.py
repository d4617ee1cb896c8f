"""Several bundles in one folder, which appears whole or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tuner import commands, files
from tuner.database.engine import Database
from tuner.errors import NothingToExportError
from tuner.export import Exported
from tuner.export.folder import refuse_taken
from tuner.settings import Settings
from tuner.trials import Study, Trial
from tuner.winner import choice
from tuner.winner.choice import Wanted


def export_each(
    database: Database,
    settings: Settings,
    studies: Sequence[Study],
    folder: Path,
    *,
    force: bool = False,
    wanted: Wanted | None = None,
) -> list[Exported]:
    """Write the bundle of each study's winner into a folder of its family's name.

    NothingToExportError where one of them has none; errors as of `export.export`. A look at a test
    part is kept with its study even where a later bundle fails: the part was read.
    """
    refuse_taken(folder, force=force, several=True)
    try:
        winners = [choice.chosen(database, study)[0] for study in studies]
    except NothingToExportError as error:
        raise NothingToExportError(
            f"{error}; the others can be exported one by one, by their studies' names"
        ) from None
    bundles = {
        study.family or study.name: (study.name, winner)
        for study, winner in zip(studies, winners, strict=True)
    }
    return _together(
        database,
        settings,
        bundles,
        folder,
        force=force,
        wanted=wanted,
    )


def export_leading(
    database: Database,
    settings: Settings,
    study: Study,
    top: int,
    folder: Path,
    *,
    force: bool = False,
    wanted: Wanted | None = None,
) -> list[Exported]:
    """Write the bundles of so many of a study's best trials, each into a folder `trial-N`.

    Errors and looks at the test part as of `export_each`.
    """
    refuse_taken(folder, force=force, several=True)
    leaders = choice.chosen(database, study, top)
    return _together(
        database,
        settings,
        {f"trial-{trial.number}": (study.name, trial) for trial in leaders},
        folder,
        force=force,
        wanted=wanted,
    )


def _together(
    database: Database,
    settings: Settings,
    bundles: Mapping[str, tuple[str, Trial]],  # name of the bundle's folder → study, trial
    folder: Path,
    *,
    force: bool,
    wanted: Wanted | None,
) -> list[Exported]:
    made = []
    with files.whole_folder(folder, replace=force) as aside:
        for name, (study, trial) in bundles.items():
            exported = choice.export_trial(
                database,
                settings,
                commands.find(database, study),  # anew: it knows of the look before
                trial,
                aside / name,
                wanted=wanted,
                moves_to=folder / name,
            )
            made.append(replace(exported, folder=folder / name))
    return made
