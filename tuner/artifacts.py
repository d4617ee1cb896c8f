"""Where the files of an attempt are, and which weights are kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tuner.trials import beats

if TYPE_CHECKING:  # user code imports this file without what settings need
    from tuner.settings import Settings
    from tuner.trials import Direction

KEEP = 5  # best trials per study whose weights one worker keeps
WEIGHTS_FILE = "weights.safetensors"
VECTORS_FILE = "vectors.txt"  # in exports, beside the weights: the text format of word2vec
CHECKPOINT_SUFFIX = ".checkpoint"
CHECKPOINT_FOLDER = "checkpoint"  # of user code
ARTIFACTS_FOLDER = "artifacts"
REPORTS_FILE = "reports.jsonl"
LOG_FILE = "log.txt"
LOG_BYTES = 8 * 2**20  # of an attempt's log; a longer log keeps its last half


def attempt_folder(settings: Settings, study_id: int, number: int, attempt: int) -> Path:
    """The folder of one attempt: its log and, if it was among the best, its weights."""
    return settings.artifacts / str(study_id) / f"{number}.{attempt}"


def has_attempt(settings: Settings, study_id: int, number: int, attempt: int) -> bool:
    """Whether this machine has the folder of an attempt, and with it what the attempt saved."""
    return attempt_folder(settings, study_id, number, attempt).is_dir()


def list_attempts(settings: Settings, study_id: int, numbers: Iterable[int]) -> list[Path]:
    """The folders that this machine has of these trials' attempts."""
    wanted = {str(number) for number in numbers}
    folder = settings.artifacts / str(study_id)
    folders = folder.iterdir() if wanted and folder.is_dir() else ()
    return [path for path in folders if path.name.partition(".")[0] in wanted]


def remove_checkpoints(folders: Iterable[Path]) -> None:
    """Remove a network's checkpoints, including damaged ones, from a trial's attempts' folders.

    Removes notes of reports as well, and unfinished files of killed attempts, also of user code.
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


def remove_user_files(folders: Iterable[Path]) -> None:
    """Remove what user code saved in the folders of a trial's attempts."""
    for folder in folders:
        for name in (CHECKPOINT_FOLDER, ARTIFACTS_FOLDER):
            shutil.rmtree(folder / name, ignore_errors=True)


class _Kept(NamedTuple):
    values: Sequence[float]
    folder: Path
    violation: float  # of constraints


class KeptWeights:
    """Removes the weights of all but the best `KEEP` trials of each study.

    With several objectives the first one counts, and trials that no other beats stay as well. Those
    that violate a constraint come last, the nearest to it first. A worker knows only its own
    trials: what is not among their best is not among the best of all.
    """

    def __init__(self) -> None:
        self._best: dict[int, list[_Kept]] = {}  # by study

    def add(
        self,
        study_id: int,
        directions: Sequence[Direction],
        values: Sequence[float],
        folder: Path,
        violation: float = 0.0,
    ) -> None:
        """Add a finished trial; removes weights that are no longer needed."""
        trials = [*self._best.get(study_id, []), _Kept(values, folder, violation)]
        sign = -1.0 if directions[0] == "maximize" else 1.0
        trials.sort(key=lambda trial: (trial.violation, sign * trial.values[0]))
        best, others = trials[:KEEP], trials[KEEP:]
        if len(directions) > 1:
            feasible = [trial for trial in trials if not trial.violation]
            best += [
                trial
                for trial in others
                if not trial.violation
                and not any(beats(directions, other.values, trial.values) for other in feasible)
            ]
        folders = {trial.folder for trial in best}
        _remove(trial.folder for trial in trials if trial.folder not in folders)
        self._best[study_id] = best


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        (folder / WEIGHTS_FILE).unlink(missing_ok=True)
        number = folder.name.partition(".")[0]
        for attempt in folder.parent.glob(f"{number}.*"):
            for name in (CHECKPOINT_FOLDER, ARTIFACTS_FOLDER):
                shutil.rmtree(attempt / name, ignore_errors=True)
