"""Preparing data once: an entry of the cache is built by one process and opened by all others.

    CACHE/KEY/meta.json                       what was learned, and the checksum of every file
    CACHE/KEY/PART.inputs.npy, .labels.npy    for train, validation and test
    CACHE/KEY/PART.texts.jsonl                the texts themselves; of pairs more of them (pairs.py)
    CACHE/KEY/PART.tokens.npy, .ends.npy      of a corpus, in place of all of these
    CACHE/KEY/vectors.npy                     where word vectors were given
    CACHE/KEY-NAME-KEY/                       what was derived from an entry, in the same files
    CACHE/.KEY.lock                           held while the entry is built
    CACHE/.KEY.used                           held by whoever uses it (`uses.py`)

An entry appears whole. One that is damaged all the same (a disk that filled up, a file that was
edited) is noticed when a process opens it for the first time, and built again.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tuner.data.eviction import META, Use
from tuner.data.fingerprint import LENGTH, fingerprint, prepared_key
from tuner.data.prepared import PreparedData
from tuner.errors import BadInputError, DataError, DiskFullError
from tuner.files import shown, whole_folder
from tuner.study_file.data import DataSpec

BLOCK = 1 << 20  # bytes read at a time for a checksum
BLOCKS = 64  # of a file that go into its checksum; larger files are sampled

_Stamp = tuple[tuple[str, int, int, int], ...]  # name, inode, size, modified; a file each

KEPT_OPEN = 16  # entries, each with a descriptor; what is in use beside them stays open too

# checked by this process, the latest used at the end
_opened: OrderedDict[Path, tuple[_Stamp, PreparedData]] = OrderedDict()
_one_at_a_time = threading.Lock()  # threads; processes have the lock file


def prepare(spec: DataSpec, cache: Path) -> PreparedData:
    """The data set of `spec`, ready for training; built on first use, then only opened.

    A second call in the same process takes a stat of every file. DataError if the data is missing,
    unreadable or unfit; DiskFullError if the cache has no room; BadInputError if the cache
    cannot be written.
    """
    with _one_at_a_time:
        key = prepared_key(spec)
        path = cache / key
        entry = _open(path)
        if entry is None:
            with _locked(cache, key):
                # whoever held the lock before us may have built it
                entry = _open(path) or _build(spec, path)
        return entry


def prepared(spec: DataSpec, cache: Path) -> PreparedData | None:
    """What `prepare` has built; None where it has to be built. DataError as of `prepare`."""
    with _one_at_a_time:
        return _open(cache / prepared_key(spec))


def derive(
    data: PreparedData, name: str, settings: Mapping[str, Any], make: Callable[[Path], PreparedData]
) -> PreparedData:
    """The same examples in another form, as the tokens of another tokenizer; made on first use.

    `make` fills a folder and says what is in it; `name` and `settings` must tell everything that
    its result depends on beside `data`. It must not derive anything itself. Errors as of `prepare`.
    """
    with _one_at_a_time:
        digest = _checksum_of(settings)[:LENGTH]
        path = data.folder.with_name(f"{data.folder.name}-{name}-{digest}")
        entry = _open(path)
        if entry is None:
            with _locked(path.parent, path.name):
                entry = _open(path) or _write(path, make)
        return entry


def _open(path: Path) -> PreparedData | None:
    """The entry at `path`; None where there is none or a damaged one."""
    known = _opened.get(path)
    if known is not None and known[0] == _stamp(path):
        _opened.move_to_end(path)
        return known[1]
    use = Use(path)
    stamp = _stamp(path)
    entry = _checked(path)
    if entry is None:
        use.end()
        return None
    use.count()
    return _keep_open(path, stamp, entry, use)


def _keep_open(path: Path, stamp: _Stamp, entry: PreparedData, use: Use) -> PreparedData:
    """Keep the entry open while somebody has it, and the latest ones in any case."""
    weakref.finalize(entry, use.end).atexit = False
    _opened[path] = (stamp, entry)
    _opened.move_to_end(path)
    while len(_opened) > KEPT_OPEN:
        _opened.popitem(last=False)
    return entry


def _stamp(path: Path) -> _Stamp:
    """What changes when a file of the entry is replaced, edited or removed."""
    try:
        with os.scandir(path) as files:
            found = [(file.name, file.stat()) for file in files]
    except OSError:
        return ()
    return tuple(sorted((name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in found))


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[PreparedData]:
    return TypeAdapter(PreparedData)


def _checked(path: Path) -> PreparedData | None:
    try:
        meta = json.loads((path / META).read_bytes())
        content = meta["content"]
        if meta["checksum"] != _checksum_of(content):
            return None
        for name, checksum in content["files"].items():
            if checksum != _checksum(path / name):
                return None
        return _adapter().validate_python({**content["prepared"], "folder": path})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _build(spec: DataSpec, path: Path) -> PreparedData:
    """Build the entry and put it into its place; the caller holds its lock."""
    from tuner.data.build import build

    identity = fingerprint(spec)

    def make(aside: Path) -> PreparedData:
        prepared = build(spec, aside, identity)
        if prepared_key(spec) != path.name:
            raise DataError(
                f"{shown(spec.path or Path(spec.source))}: has changed while it was read; "
                "try again when nothing writes to it"
            )
        return prepared

    return _write(path, make)


def _write(path: Path, make: Callable[[Path], PreparedData]) -> PreparedData:
    """Let `make` fill the entry and put it into its place; the caller holds its lock."""
    for left in path.parent.glob(f".{path.name}.*"):  # by a process that was killed
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
    use = Use(path)  # before it is there: nobody removes it first
    try:
        if path.is_file() or path.is_symlink():
            path.unlink()  # of somebody who does not know that this is a cache
        with whole_folder(path, replace=True) as aside:
            started = time.monotonic()
            prepared = make(aside)
            _write_meta(aside, prepared, time.monotonic() - started)
    except BaseException as error:
        use.end()
        if isinstance(error, OSError):  # of the file that was in the way: others are explained
            sentence = f"{path}: cannot be written ({error.strerror or error})"
            raise BadInputError(sentence) from error
        raise
    return _keep_open(path, _stamp(path), replace(prepared, folder=path), use)


def _write_meta(folder: Path, prepared: PreparedData, seconds: float) -> None:
    content = {
        "files": {file.name: _checksum(file) for file in sorted(folder.iterdir())},
        "prepared": _adapter().dump_python(prepared, mode="json", exclude={"folder"}),
    }
    meta = {"content": content, "checksum": _checksum_of(content), "seconds": seconds}
    (folder / META).write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def _checksum_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _checksum(path: Path) -> str:
    """Of the size and of all blocks of a file, or of `BLOCKS` blocks spread over a large one.

    Reading gigabytes whenever an executor starts would cost more than a rare flipped bit.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        found = hashlib.sha256(str(size).encode())
        blocks = -(-size // BLOCK)
        for number in range(min(blocks, BLOCKS)):
            file.seek(
                number * BLOCK if blocks <= BLOCKS else number * (size - BLOCK) // (BLOCKS - 1)
            )
            found.update(file.read(BLOCK))
    return found.hexdigest()


@contextmanager
def _locked(cache: Path, key: str) -> Iterator[None]:
    """Hold the entry's lock file; the kernel lets go of it however this process ends."""
    path = cache / f".{key}.lock"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"{cache}: no space left on the device") from error
        raise BadInputError(f"{cache}: cannot be written ({error.strerror})") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
