"""Copy what a trial of user code saved into its export."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from tuner import artifacts
from tuner.study_file.code import Code
from tuner.user_code.checkpoint import Checkpoint


def copy(attempts: Sequence[Path], code: Code, folder: Path) -> list[str]:
    """Copy the latest checkpoint and the artifacts, if they are on this machine.

    `attempts` are the trial's folders, latest first. A function saves numbered checkpoints, of
    which the latest counts; a command has one folder. Returns the names of what was copied.
    """
    checkpoints = [attempt / artifacts.CHECKPOINT_FOLDER for attempt in attempts]
    checkpoint = Checkpoint(checkpoints[0], checkpoints[1:]).latest
    if checkpoint is None and code.command is not None:
        checkpoint = next(filter(Path.is_dir, checkpoints), None)
    sources = {
        artifacts.CHECKPOINT_FOLDER: checkpoint,
        artifacts.ARTIFACTS_FOLDER: attempts[0] / artifacts.ARTIFACTS_FOLDER,
    }
    filled = {n: path for n, path in sources.items() if path and _has_files(path)}
    for name, path in filled.items():
        shutil.copytree(path, folder / name, symlinks=True)
    return list(filled)


def _has_files(path: Path) -> bool:
    return path.is_dir() and any(path.iterdir())
