"""Eviction from the cache: entries in use stay, and of the others those used most recently.

    CACHE/.KEY.used   a byte per process that found the entry complete; its time is the last use

A process holds a shared lock on this file while it has the entry open; the kernel releases it
however the process ends. Removing an entry takes the exclusive lock, so an entry is never removed
while it is being read.
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


class UseLock:
    """A shared lock on an entry that keeps it from being removed; the entry need not exist yet.

    Nobody can remove entries of a cache that cannot be written: then there is no lock.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None
        if path.parent.is_dir():
            with contextlib.suppress(OSError):
                flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
                self._descriptor = os.open(_lock_file(path), flags, 0o644)
                fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def record(self) -> None:
        """Record that this process found the entry complete."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.write(self._descriptor, b".")

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the cache."""

    path: Path
    fingerprint: str  # of the data that it was made from
    size: int  # bytes
    used_at: float  # seconds since 1970
    uses: int  # by processes that found it complete
    seconds: float  # that building it took

    @property
    def saved(self) -> float:
        """The seconds of building that the cache has saved."""
        return self.uses * self.seconds


def entries(cache: Path) -> Iterator[Entry]:
    """Yield all entries, the most recently used last."""
    return iter(sorted(map(_read_entry, _folders(cache)), key=lambda entry: entry.used_at))


def evict(cache: Path, limit: int) -> list[Path]:
    """Remove the least recently used entries until at most `limit` bytes are left.

    Entries in use stay, so more may be left. Returns the removed ones.
    """
    candidates = list(entries(cache))
    total = sum(entry.size for entry in candidates)
    removed: list[Path] = []
    for entry in candidates:
        if total <= limit:
            break
        if _remove(entry.path):
            total -= entry.size
            removed.append(entry.path)
    return removed


def _remove(path: Path) -> bool:
    """Remove an entry, unless a process uses it."""
    try:
        descriptor = os.open(_lock_file(path), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        aside = path.with_name(f".{path.name}.{os.getpid()}.evicted")
        path.rename(aside)  # atomic: nobody opens an entry whose files are being removed
        shutil.rmtree(aside, ignore_errors=True)
        os.ftruncate(descriptor, 0)
    except OSError:  # in use, removed by another process, or not ours
        return False
    finally:
        os.close(descriptor)
    return True


def _folders(cache: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for path in cache.iterdir():
            if not path.name.startswith(".") and (path / META).is_file():
                yield path


def _read_entry(path: Path) -> Entry:
    size, used_at, uses, seconds, fingerprint = 0, 0.0, 0, 0.0, ""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        size = sum(file.stat().st_size for file in path.iterdir())
        used_at = (path / META).stat().st_mtime
        meta = json.loads((path / META).read_bytes())
        fingerprint = meta["content"]["prepared"]["fingerprint"]
        seconds = float(meta["seconds"])
    with contextlib.suppress(OSError):
        stat = _lock_file(path).stat()
        used_at, uses = max(used_at, stat.st_mtime), stat.st_size
    return Entry(path, fingerprint, size, used_at, uses, seconds)


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.used")
