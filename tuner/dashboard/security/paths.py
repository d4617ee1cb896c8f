"""The files of this machine that a study launched in the dashboard may name."""

from fnmatch import fnmatchcase
from pathlib import Path

from tuner.errors import Issue, SpecError
from tuner.families import registry
from tuner.families.transfer.files import PACKAGE, is_on_hub
from tuner.settings import Settings
from tuner.study_file.messages import quoted
from tuner.study_file.paths import Named, named
from tuner.study_file.resolved import ResolvedSpec


def check(spec: ResolvedSpec, settings: Settings) -> None:
    """SpecError if the study names files that operators may not read, with one line per file.

    Symbolic links are followed first. Models of the Hugging Face hub must be allowed by name: a
    download takes disk space, and what is downloaded is read.
    """
    allowed = [folder.resolve() for folder in (settings.uploads, *settings.readable_folders)]
    parameters = registry.card(spec.family).file_parameters
    problems = [
        Issue(tuple(file.field.split(".")), message)
        for file in named(spec, parameters)
        if (message := _refuse(file, parameters, allowed, settings.allowed_models)) is not None
    ]
    if problems:
        raise SpecError(issues=problems)


def _refuse(
    file: Named,
    parameters: tuple[str, ...],
    allowed: list[Path],
    models: tuple[str, ...],
) -> str | None:
    if file.field.rpartition(".")[2] in parameters:
        if file.name.startswith(PACKAGE):  # its folder is checked where it is opened
            return None
        if is_on_hub(file.name):
            if any(fnmatchcase(file.name, pattern) for pattern in models):
                return None
            return (
                f"{quoted(file.name)} is not among the models that TUNER_HUB_MODELS allows; an "
                "admin may launch this study or download the model to a folder of "
                "TUNER_DATA_FOLDERS"
            )
    path = Path(file.name)
    if any(_contains(folder, path) for folder in allowed):
        return None
    return "must be an uploaded file, or lie in a folder of TUNER_DATA_FOLDERS"


def _contains(folder: Path, path: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder)
    except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL
        return False
