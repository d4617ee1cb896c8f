"""Files that others read appear whole or not at all, and as readable as the umask allows."""

import errno
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuner.errors import BadInputError, DiskFullError, TunerError, visible

NAME_BYTES = 200  # file systems allow 255, and temporary names are longer
HOME_FOLDERS = ("artifacts", "cache", "dashboard", "uploads", "vectors")

# errors of a path that the user chose; others are not the user's mistake
_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EEXIST),
    *(errno.ENOTEMPTY, errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EBUSY),
)


def write(path: Path, content: str | bytes) -> None:
    """Write a file beside its path, flush it and rename it into place.

    BadInputError if no file can be written there; DiskFullError if there is no space.
    """
    data = content.encode() if isinstance(content, str) else content
    with _translate_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = _aside(path)
        # not through tempfile, whose files are 0600 whatever the umask says
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def make_home(home: Path) -> None:
    """Create TUNER_HOME, private to its user; an existing one stays as it is.

    Root's embedded server runs as another user, which has to pass through the home to its data, so
    the folders in root's home are private instead. BadInputError, DiskFullError.
    """
    is_root = os.geteuid() == 0
    with _translate_errors(home):
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o711 if is_root else 0o700, exist_ok=True)
        if is_root and stat.S_IMODE(home.stat().st_mode) == 0o711:
            for name in HOME_FOLDERS:
                (home / name).mkdir(mode=0o700, exist_ok=True)


@contextmanager
def whole_folder(path: Path, *, replace: bool) -> Iterator[Path]:
    """Open a folder that becomes `path` at the end of the block; after an error nothing appears.

    BadInputError if `path` exists and `replace` is not set, or if no folder can be created there;
    DiskFullError if there is no space.
    """
    with _translate_errors(path):
        if os.path.lexists(path) and not replace:
            raise BadInputError(f"{shown(path)}: exists already")
        target = path.resolve()  # `.` has no name, and links must stay links
        if target.exists() and not target.is_dir():
            raise BadInputError(f"{shown(path)}: is a file, a folder is needed")
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = _aside(target)
        aside.mkdir()
        try:
            yield aside
            for file in aside.rglob("*"):
                if not file.is_symlink():
                    _flush(file)
            _exchange(aside, target)
            _flush(target.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _exchange(new: Path, path: Path) -> None:
    if not path.exists():
        new.replace(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f"{_prefix(path)}old.", dir=path.parent))
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


def _aside(path: Path) -> Path:
    """A new, unguessable name beside `path`."""
    return path.with_name(f"{_prefix(path)}{secrets.token_hex(8)}")


def _prefix(path: Path) -> str:
    """The beginning of temporary names beside `path`, whose own name may have full length."""
    return f".{path.name[:40]}."


def safe_name(name: str) -> str:
    """Turn a text into the name of one file that is neither hidden nor in another folder.

    Studies made through Optuna may have any name, such as `../../x`. A name that had to be changed
    gets a digest, so that two names never share a file.
    """
    safe = (
        "".join("_" if c in "/\\" or not c.isprintable() else c for c in name)
        .lstrip(". -")
        .rstrip()
    )
    encoded = safe.encode()
    if safe == name and 0 < len(encoded) <= NAME_BYTES:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{encoded[: NAME_BYTES - 9].decode('utf-8', 'ignore')}-{digest}".lstrip("-")


def shown(path: Path) -> str:
    """A path for messages: one line, whatever the file's name is."""
    return visible(str(path))


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    if "\0" in str(path):
        raise BadInputError(f"{shown(path)}: is not the name of a file")
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"{shown(path)}: no space left on the device") from error
        kind = BadInputError if error.errno in _PLACE else TunerError
        raise kind(f"{shown(path)}: cannot be written ({error.strerror or error})") from error
