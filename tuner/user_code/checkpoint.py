"""Checkpoints of user code: folders that appear whole, and the latest of them.

Each attempt writes to a folder of its own, so an attempt that lost its trial cannot damage what the
next one resumes from.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tuner import files


class Checkpoint:
    """The checkpoints of one trial, as `trial.checkpoint`.

    Example:
        >>> import tuner.testing
        >>> trial = tuner.testing.trial()
        >>> trial.checkpoint.latest is None
        True
        >>> with trial.checkpoint.save() as folder:
        ...     _ = (folder / "weights.txt").write_text("0.5")
        >>> (trial.checkpoint.latest / "weights.txt").read_text()
        '0.5'
    """

    def __init__(self, folder: Path, earlier: Sequence[Path] = ()) -> None:
        """`earlier`: the folders of the attempts before this one, latest first."""
        self._folder = folder
        self._earlier = tuple(earlier)

    @property
    def latest(self) -> Path | None:
        """The folder saved last, by this attempt or an earlier one; None if nothing was saved.

        It stays until the next one is saved. Read it, but do not write to it.
        """
        for folder in (self._folder, *self._earlier):
            if saved := _complete_checkpoints(folder):
                return saved[-1]
        return None

    @contextmanager
    def save(self) -> Iterator[Path]:
        """Open an empty folder to fill; at the end of the block it becomes `latest`, on disk.

        If the block raises or the process dies in it, the previous checkpoint stays the latest.

        Yields:
            The empty folder.

        Raises:
            DiskFullError: There is no space left.
        """
        before = _complete_checkpoints(self._folder)
        number = int(before[-1].name) + 1 if before else 1
        with files.whole_folder(self._folder / f"{number:06d}", replace=False) as folder:
            yield folder
        for old in before:
            shutil.rmtree(old, ignore_errors=True)


def _complete_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first; unfinished ones have other names."""
    return sorted(
        (p for p in folder.glob("[0-9]*") if p.name.isdecimal()), key=lambda p: int(p.name)
    )
