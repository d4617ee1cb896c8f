"""Who uses the entries of the cache: what is used stays, of the rest the latest used.

    CACHE/.KEY.used   a byte for each process that found the entry made; its time is the last use

A process holds a shared lock on this file for as long as it has the entry open, at most until it
ends, however it ends; who removes an entry takes the lock for itself, so nothing is removed under a
reader's hands.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

META = "meta.json"


class Use:
    """A shared lock on an entry, which keeps it from being removed; it need not be there yet.

    A cache that cannot be written is nothing that anybody removes from: then there is no lock.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None
        if path.parent.is_dir():
            with contextlib.suppress(OSError):
                self._descriptor = os.open(_uses(path), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
                fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def count(self) -> None:
        """Note that this process found the entry made."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.write(self._descriptor, b".")

    def end(self) -> None:
        """Let go of the entry."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the cache."""

    path: Path
    fingerprint: str  # of the data that it was made of
    size: int  # bytes
    used_at: float  # seconds since 1970
    uses: int  # by processes that found it made
    seconds: float  # that making it took

    @property
    def saved(self) -> float:
        """Seconds for which nobody had to wait."""
        return self.uses * self.seconds


def entries(cache: Path) -> Iterator[Entry]:
    """All entries, the one that was used last at the end."""
    found = [_entry(path) for path in _folders(cache)]
    return iter(sorted(found, key=lambda entry: entry.used_at))


def evict(cache: Path, most: int) -> list[Path]:
    """Remove entries, those first that nobody has used for longest, until `most` bytes are left.

    What a process holds stays, so more may be left. Returns what was removed.
    """
    known = list(entries(cache))
    total = sum(entry.size for entry in known)
    removed: list[Path] = []
    for entry in known:
        if total <= most:
            break
        if _remove(entry.path):
            total -= entry.size
            removed.append(entry.path)
    return removed


def _remove(path: Path) -> bool:
    """Remove an entry, unless somebody holds it."""
    try:
        descriptor = os.open(_uses(path), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        aside = path.with_name(f".{path.name}.{os.getpid()}.evicted")
        path.rename(aside)  # gone at once, for whoever comes while its files are removed
        shutil.rmtree(aside, ignore_errors=True)
        os.ftruncate(descriptor, 0)
    except OSError:  # held, removed by somebody else, or not ours
        return False
    finally:
        os.close(descriptor)
    return True


def _folders(cache: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for path in cache.iterdir():
            if not path.name.startswith(".") and (path / META).is_file():
                yield path


def _entry(path: Path) -> Entry:
    size, used_at, uses, seconds, fingerprint = 0, 0.0, 0, 0.0, ""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        size = sum(file.stat().st_size for file in path.iterdir())
        used_at = (path / META).stat().st_mtime
        meta = json.loads((path / META).read_bytes())
        fingerprint = meta["content"]["prepared"]["fingerprint"]
        seconds = float(meta["seconds"])
    with contextlib.suppress(OSError):
        stat = _uses(path).stat()
        used_at, uses = max(used_at, stat.st_mtime), stat.st_size
    return Entry(path, fingerprint, size, used_at, uses, seconds)


def _uses(path: Path) -> Path:
    return path.with_name(f".{path.name}.used")
