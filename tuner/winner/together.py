"""The winners of several studies in one folder, which appears whole or not at all."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from tuner import files
from tuner.database.engine import Database
from tuner.errors import NothingToExportError
from tuner.export import Exported
from tuner.export.folder import refuse_taken
from tuner.settings import Settings
from tuner.trials import Study
from tuner.winner import choice


def export_each(
    database: Database,
    settings: Settings,
    studies: Sequence[Study],
    folder: Path,
    *,
    force: bool = False,
    formats: Collection[str] = (),
    onnx: bool = False,
    look_again: bool = False,
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
    made = []
    with files.whole_folder(folder, replace=force) as aside:
        for study, winner in zip(studies, winners, strict=True):
            family = study.family or study.name
            exported = choice.export_trial(
                database,
                settings,
                study,
                winner,
                aside / family,
                formats=formats,
                onnx=onnx,
                look_again=look_again,
            )
            made.append(replace(exported, folder=folder / family))
    return made
