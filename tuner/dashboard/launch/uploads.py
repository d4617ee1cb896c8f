"""Small uploaded data sets: how many are kept, and for how long.

TUNER_HOME/uploads/DIGEST/NAME    DIGEST: of the content
"""

import hashlib
import json
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

from tuner import files
from tuner.commands import reading
from tuner.database.engine import Database
from tuner.errors import BadInputError
from tuner.settings import Settings

RETENTION_DAYS = 90  # after its last upload, if no study names it
DIGEST = 16  # characters

_lock = threading.Lock()


def keep(settings: Settings, name: str, content: bytes) -> Path:
    """Write an upload and return its file; BadInputError if there is no room for it."""
    folder = settings.uploads / hashlib.sha256(content).hexdigest()[:DIGEST]
    path = folder / name
    with _lock:
        if not path.exists() and _size(settings.uploads) + len(content) > settings.uploads_bytes:
            raise BadInputError(
                f"uploads already fill their limit of {settings.uploads_gb:g} GB: put the file on "
                "the workers' machine and name its path in `data.path`, or ask an admin to remove "
                "uploads or to raise TUNER_UPLOADS_GB"
            )
        files.write(path, content)
        folder.touch()
    return path


def remove_unused(database: Database, settings: Settings, *, now: float | None = None) -> None:
    """Remove old uploads that no study names."""
    limit = (time.time() if now is None else now) - RETENTION_DAYS * 86_400
    with _lock:
        old = [folder for folder in _folders(settings.uploads) if folder.stat().st_mtime < limit]
        if not old:
            return
        specs = " ".join(json.dumps(study.spec) for study in reading.list_studies(database))
        for folder in old:
            if folder.name not in specs:
                shutil.rmtree(folder, ignore_errors=True)


def _folders(uploads: Path) -> list[Path]:
    try:
        return [entry for entry in uploads.iterdir() if entry.is_dir() and not entry.is_symlink()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _size(uploads: Path) -> int:
    size = 0
    for folder in _folders(uploads):
        for file in folder.iterdir():
            with suppress(FileNotFoundError):
                size += file.lstat().st_size
    return size
