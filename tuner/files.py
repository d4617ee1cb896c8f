"""Files that others read appear whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuner.errors import BadInputError, DiskFullError


def write(path: Path, content: str | bytes) -> None:
    """Write a file aside, flush it and rename it into its place."""
    data = content.encode() if isinstance(content, str) else content
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(aside).chmod(0o644)
            Path(aside).replace(path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise


@contextmanager
def whole_folder(path: Path, *, replace: bool) -> Iterator[Path]:
    """A folder to fill that becomes `path` at the end of the block; on an error nothing appears.

    BadInputError if `path` is there already and `replace` is not set.
    """
    if path.exists() and not replace:
        raise BadInputError(f"{path} exists already; name another folder or say --force")
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield aside
            aside.chmod(0o755)
            for file in aside.iterdir():
                _flush(file)
            _exchange(aside, path)
            _flush(path.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _exchange(new: Path, path: Path) -> None:
    if not path.exists():
        new.replace(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    path.replace(old)  # onto an empty folder
    try:
        new.replace(path)
    except BaseException:
        old.replace(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"{path}: no space left on the device") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise BadInputError(f"{path}: cannot be written ({error.strerror})") from error
        raise
