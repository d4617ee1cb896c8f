"""Checkpoints of users' own code: folders that appear whole, and the newest that there is.

Each attempt writes to a folder of its own, so one that lost its trial spoils nothing for the next.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tuner import files


class Checkpoint:
    """What one trial has saved.

    if (folder := trial.checkpoint.latest) is not None:
        model.load_state_dict(torch.load(folder / "model.pt"))
    …
    with trial.checkpoint.save() as folder:
        torch.save(model.state_dict(), folder / "model.pt")
    """

    def __init__(self, folder: Path, earlier: Sequence[Path] = ()) -> None:
        """`earlier`: the same of the attempts before this one, the latest first."""
        self._folder = folder
        self._earlier = tuple(earlier)

    @property
    def latest(self) -> Path | None:
        """The folder that was saved last, by this attempt or an earlier one; None if none was.

        It stays until the next one is saved: read it, never write to it.
        """
        for folder in (self._folder, *self._earlier):
            if saved := _saved(folder):
                return saved[-1]
        return None

    @contextmanager
    def save(self) -> Iterator[Path]:
        """An empty folder to fill; at the end of the block it becomes `latest`, flushed to disk.

        If the block raises or the process dies in it, the one before stays the latest.
        DiskFullError where there is no space.
        """
        before = _saved(self._folder)
        number = int(before[-1].name) + 1 if before else 1
        with files.whole_folder(self._folder / f"{number:06d}", replace=False) as folder:
            yield folder
        for old in before:
            shutil.rmtree(old, ignore_errors=True)


def _saved(folder: Path) -> list[Path]:
    """Whole checkpoints, the oldest first: what is being written is named otherwise."""
    return sorted(
        (p for p in folder.glob("[0-9]*") if p.name.isdecimal()), key=lambda p: int(p.name)
    )
