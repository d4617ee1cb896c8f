"""What a trial of users' own code has left for its export."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from tuner import artifacts
from tuner.study_file.code import Code
from tuner.user_code.checkpoint import Checkpoint


def copy(attempts: Sequence[Path], code: Code, folder: Path) -> list[str]:
    """Copy what was saved last and what was kept, as far as it is on this machine; their names.

    `attempts` are the trial's folders, the latest first. A function's checkpoints are folders of
    which the latest counts, a command has one to itself.
    """
    checkpoints = [attempt / artifacts.CHECKPOINT_FOLDER for attempt in attempts]
    saved = Checkpoint(checkpoints[0], checkpoints[1:]).latest
    if saved is None and code.command is not None:
        saved = next(filter(Path.is_dir, checkpoints), None)
    found = {
        artifacts.CHECKPOINT_FOLDER: saved,
        artifacts.ARTIFACTS_FOLDER: attempts[0] / artifacts.ARTIFACTS_FOLDER,
    }
    there = {n: path for n, path in found.items() if path and path.is_dir() and any(path.iterdir())}
    for name, path in there.items():
        shutil.copytree(path, folder / name, symlinks=True)
    return list(there)
