"""`manifest.json`: the version of a bundle's format and the SHA-256 of each of its files."""

import errno
import hashlib
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

from tuner import __version__
from tuner.artifacts import ARTIFACTS_FOLDER, CHECKPOINT_FOLDER
from tuner.errors import BadInputError, visible
from tuner.files import shown

NAME = "manifest.json"
USER_FILES = (f"{ARTIFACTS_FOLDER}/", f"{CHECKPOINT_FOLDER}/")  # what user code saved
_LARGEST = 64 << 20  # bytes of the manifest: hundreds of thousands of files
FORMAT = 1  # raise it when older tuners could not read what this one writes


def write(folder: Path) -> None:
    """Write the manifest of a folder."""
    content = {
        "format": FORMAT,
        "tuner": __version__,
        "files": {name: _digest(folder / name) for name in _names(folder)},
    }
    (folder / NAME).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> dict[str, str]:
    """Return the digests by name; BadInputError if it is no bundle, or one of a newer tuner."""
    where = shown(folder)
    try:
        with _opened(folder / NAME) as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise ValueError
        content: Any = json.loads(text)
        version, files = content["format"], content["files"]
    except FileNotFoundError:
        what = (
            f"is not a bundle: it has no {NAME}" if folder.exists() else "there is no such folder"
        )
        raise BadInputError(f"{where}: {what}") from None
    except OSError as error:
        raise BadInputError(f"{where}: cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadInputError(f"{where}: its {NAME} is damaged") from None
    if not isinstance(version, int) or not isinstance(files, dict):
        raise BadInputError(f"{where}: its {NAME} is damaged")
    if version > FORMAT:
        raise BadInputError(
            f"{where}: was written by a newer tuner ({content.get('tuner', 'unknown')}, format "
            f"{version}; this one, {__version__}, reads up to {FORMAT}): upgrade tuner"
        )
    return files


def check(folder: Path) -> None:
    """BadInputError unless the folder holds exactly the files of its manifest, byte for byte."""
    expected = {} if (folder / NAME).is_symlink() else read(folder)
    there = set(_names(folder))
    links = sorted(n for n in there if (folder / n).is_symlink() and not n.startswith(USER_FILES))
    if links or (folder / NAME).is_symlink():
        raise BadInputError(
            f"{shown(folder)}: {links[0] if links else NAME} is a symbolic link; a bundle holds "
            "files alone"
        )
    odd = sorted(n for n in there if not (folder / n).is_symlink() and not (folder / n).is_file())
    if odd:
        raise BadInputError(
            f"{shown(folder)}: {visible(odd[0])} is a pipe, socket or device; a bundle holds files "
            "alone"
        )
    problems = [f"{name} is missing" for name in sorted(expected.keys() - there)]
    problems += [f"{name} does not belong to it" for name in sorted(there - expected.keys())]
    problems += [
        f"{name} was changed"
        for name in sorted(expected.keys() & there)
        if _digest(folder / name) != expected[name]
    ]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise BadInputError(f"{shown(folder)}: is not as exported: {', '.join(problems[:3])}{more}")


def holds_nothing_else(folder: Path) -> bool:
    """Whether the folder is a bundle, changed or not, without any other file."""
    try:
        return set(_names(folder)) <= read(folder).keys()
    except BadInputError:
        return False


def holds_bundles_alone(folder: Path) -> bool:
    """Whether the folder holds bundles and nothing else."""
    return all(
        inner.is_dir() and not inner.is_symlink() and holds_nothing_else(inner)
        for inner in folder.iterdir()
    )


def _names(folder: Path) -> list[str]:
    """List all files of a folder but the manifest and the bytecode of `config.py`."""
    paths = [
        Path(root, name).relative_to(folder).as_posix()
        for root, folders, names in os.walk(folder)
        for name in (*names, *(f for f in folders if Path(root, f).is_symlink()))
    ]
    return sorted(n for n in paths if n != NAME and "__pycache__" not in n.split("/"))


def _digest(path: Path) -> str:
    if path.is_symlink():  # a user's file: the target is not part of the bundle
        return hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(path: Path) -> io.BufferedReader:
    """Open a regular file of a bundle, never a link's target or a pipe without a writer.

    OSError if it is anything else.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file")
    return file
