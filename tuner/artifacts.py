"""Where an attempt's files lie, and which weights are kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.trials import beats

if TYPE_CHECKING:  # users' own code imports this file without what settings need
    from tuner.settings import Settings
    from tuner.trials import Direction

KEEP = 5  # best trials a study whose weights one worker keeps
WEIGHTS_FILE = "weights.safetensors"
VECTORS_FILE = "vectors.txt"  # of an export, beside the weights: in the text format of word2vec
CHECKPOINT_SUFFIX = ".checkpoint"
CHECKPOINT_FOLDER = "checkpoint"  # of users' own code
ARTIFACTS_FOLDER = "artifacts"
REPORTS_FILE = "reports.jsonl"
LOG_FILE = "log.txt"
LOG_BYTES = 8 * 2**20  # of an attempt's log; of a longer one the last half stays


def attempt_folder(settings: Settings, study_id: int, number: int, attempt: int) -> Path:
    """The folder of one attempt: its log and, if it was among the best, its weights."""
    return settings.artifacts / str(study_id) / f"{number}.{attempt}"


def remove_checkpoints(folders: Iterable[Path]) -> None:
    """Remove a network's checkpoints, damaged ones too, in the folders of a trial's attempts.

    And what goes with them: notes of reports, and what was being written, there or by own code,
    when an attempt was killed.
    """
    for folder in folders:
        for pattern in (
            f"*{CHECKPOINT_SUFFIX}",
            f"*{CHECKPOINT_SUFFIX}.corrupt",
            REPORTS_FILE,
            ".*",
        ):
            for path in folder.glob(pattern):
                _remove_any(path)
        for path in folder.glob(f"{CHECKPOINT_FOLDER}/.{'[0-9]' * 6}.*"):
            _remove_any(path)


def _remove_any(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_own_files(folders: Iterable[Path]) -> None:
    """Remove what users' own code has saved in the folders of a trial's attempts."""
    for folder in folders:
        for name in (CHECKPOINT_FOLDER, ARTIFACTS_FOLDER):
            shutil.rmtree(folder / name, ignore_errors=True)


class KeptWeights:
    """Removes the weights of trials that fell behind: only the best `KEEP` of a study stay.

    Of several objectives the first counts, and whatever no other trial beats stays too. What is not
    among the best of the trials that one worker has seen is not among the best of all.
    """

    def __init__(self) -> None:
        self._kept: dict[int, list[tuple[Sequence[float], Path]]] = {}

    def add(
        self,
        study_id: int,
        directions: Sequence[Direction],
        values: Sequence[float],
        folder: Path,
    ) -> None:
        """Take note of a finished trial; removes the weights that are not needed any more."""
        known = [*self._kept.get(study_id, []), (values, folder)]
        known.sort(key=lambda entry: entry[0][0], reverse=directions[0] == "maximize")
        kept, others = known[:KEEP], known[KEEP:]
        if len(directions) > 1:
            beaten = [any(beats(directions, v, values) for v, _ in known) for values, _ in others]
            kept += [entry for entry, is_ in zip(others, beaten, strict=True) if not is_]
        _remove(folder for _, folder in known if all(folder != stays for _, stays in kept))
        self._kept[study_id] = kept


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        (folder / WEIGHTS_FILE).unlink(missing_ok=True)
        number = folder.name.partition(".")[0]
        for attempt in folder.parent.glob(f"{number}.*"):
            for name in (CHECKPOINT_FOLDER, ARTIFACTS_FOLDER):
                shutil.rmtree(attempt / name, ignore_errors=True)
