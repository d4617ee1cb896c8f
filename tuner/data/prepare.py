"""Prepare data once: one process builds an entry of the cache, all others open it.

    CACHE/KEY/meta.json                       statistics, and the checksum of every file
    CACHE/KEY/PART.inputs.npy, .labels.npy    for train, validation and test
    CACHE/KEY/PART.texts.jsonl                the texts themselves; pairs have more (pairs.py)
    CACHE/KEY/PART.tokens.npy, .ends.npy      of a corpus, instead of all of these
    CACHE/KEY/vectors.npy                     if the study file names word vectors
    CACHE/KEY-NAME-KEY/                       data derived from an entry, in the same files
    CACHE/.KEY.lock                           locked while the entry is built
    CACHE/.KEY.used                           locked while the entry is used (eviction.py)

An entry appears whole. If one is damaged nevertheless (a disk that filled up, a file that was
edited), the first process that opens it notices and builds it again.
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

from tuner.data.eviction import META, UseLock
from tuner.data.fingerprint import LENGTH, fingerprint, prepared_key
from tuner.data.prepared import PreparedData
from tuner.errors import BadInputError, DataError, DiskFullError
from tuner.files import shown, whole_folder
from tuner.study_file.data import DataSpec

BLOCK = 1 << 20  # bytes read at a time for a checksum
BLOCKS = 64  # per file that go into its checksum; larger files are sampled

_Stamp = tuple[tuple[str, int, int, int], ...]  # name, inode, size, modified; of each file

KEPT_OPEN = 16  # entries, each with a descriptor; entries in use stay open beyond that

# entries that this process has verified, the most recently used last
_opened: OrderedDict[Path, tuple[_Stamp, PreparedData]] = OrderedDict()
_thread_lock = threading.Lock()  # between processes the lock file serves


def prepare(spec: DataSpec, cache: Path) -> PreparedData:
    """Prepare a study's data for training: build it on first use, later only open it.

    A second call in the same process costs a stat of every file. DataError if the data is missing,
    unreadable or unfit; DiskFullError if the cache's disk is full; BadInputError if the cache
    cannot be written.
    """
    with _thread_lock:
        key = prepared_key(spec)
        path = cache / key
        entry = _open(path)
        if entry is None:
            with _lock(cache, key):
                # the process that held the lock before us may have built it
                entry = _open(path) or _build(spec, path)
        return entry


def open_prepared(spec: DataSpec, cache: Path) -> PreparedData | None:
    """Open what `prepare` has built; None if it is not built yet. DataError as in `prepare`."""
    with _thread_lock:
        return _open(cache / prepared_key(spec))


def derive(
    data: PreparedData,
    name: str,
    settings: Mapping[str, Any],
    write: Callable[[Path], PreparedData],
) -> PreparedData:
    """Cache the same examples in another form, such as the tokens of another tokenizer.

    On first use, `write` fills a folder and returns its description; it must not derive anything
    itself. `name` and `settings` must determine its result, together with `data`. Raises the errors
    of `prepare`.
    """
    with _thread_lock:
        digest = _checksum_of(settings)[:LENGTH]
        path = data.folder.with_name(f"{data.folder.name}-{name}-{digest}")
        entry = _open(path)
        if entry is None:
            with _lock(path.parent, path.name):
                entry = _open(path) or _write(path, write)
        return entry


def _open(path: Path) -> PreparedData | None:
    """Open the entry at `path`; None if there is none or it is damaged."""
    opened = _opened.get(path)
    if opened is not None and opened[0] == _stamp(path):
        _opened.move_to_end(path)
        return opened[1]
    use = UseLock(path)
    stamp = _stamp(path)
    entry = _verify(path)
    if entry is None:
        use.release()
        return None
    use.record()
    return _keep_open(path, stamp, entry, use)


def _keep_open(path: Path, stamp: _Stamp, entry: PreparedData, use: UseLock) -> PreparedData:
    """Keep the entry locked while anything refers to it, and the most recent ones anyway."""
    weakref.finalize(entry, use.release).atexit = False
    _opened[path] = (stamp, entry)
    _opened.move_to_end(path)
    while len(_opened) > KEPT_OPEN:
        _opened.popitem(last=False)
    return entry


def _stamp(path: Path) -> _Stamp:
    """Return what changes when a file of the entry is replaced, edited or removed."""
    try:
        with os.scandir(path) as files:
            stats = [(file.name, file.stat()) for file in files]
    except OSError:
        return ()
    return tuple(sorted((name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in stats))


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[PreparedData]:
    return TypeAdapter(PreparedData)


def _verify(path: Path) -> PreparedData | None:
    """Read the entry and compare its checksums; None if it is missing or damaged."""
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
    """Build the entry; the caller holds its lock."""
    from tuner.data.build import build

    identity = fingerprint(spec)

    def write(aside: Path) -> PreparedData:
        data = build(spec, aside, identity)
        if prepared_key(spec) != path.name:
            raise DataError(
                f"{shown(spec.path or Path(spec.source))}: has changed while it was read; "
                "try again when nothing writes to it"
            )
        return data

    return _write(path, write)


def _write(path: Path, write: Callable[[Path], PreparedData]) -> PreparedData:
    """Write the entry aside and move it into place; the caller holds its lock."""
    for leftover in path.parent.glob(f".{path.name}.*"):  # of a process that was killed
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
    use = UseLock(path)  # before the entry exists, so that nobody can remove it first
    try:
        if path.is_file() or path.is_symlink():
            path.unlink()  # a stranger's file: the cache is ours
        with whole_folder(path, replace=True) as aside:
            started = time.monotonic()
            data = write(aside)
            _write_meta(aside, data, time.monotonic() - started)
    except BaseException as error:
        use.release()
        if isinstance(error, OSError):  # of `unlink`; all others have their sentences already
            sentence = f"{path}: cannot be written ({error.strerror or error})"
            raise BadInputError(sentence) from error
        raise
    return _keep_open(path, _stamp(path), replace(data, folder=path), use)


def _write_meta(folder: Path, data: PreparedData, seconds: float) -> None:
    content = {
        "files": {file.name: _checksum(file) for file in sorted(folder.iterdir())},
        "prepared": _adapter().dump_python(data, mode="json", exclude={"folder"}),
    }
    meta = {"content": content, "checksum": _checksum_of(content), "seconds": seconds}
    (folder / META).write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def _checksum_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _checksum(path: Path) -> str:
    """Digest the size and all blocks of a file, or `BLOCKS` blocks spread over a large one.

    Reading gigabytes whenever an executor starts would cost more than a rare flipped bit.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(str(size).encode())
        blocks = -(-size // BLOCK)
        for number in range(min(blocks, BLOCKS)):
            file.seek(
                number * BLOCK if blocks <= BLOCKS else number * (size - BLOCK) // (BLOCKS - 1)
            )
            digest.update(file.read(BLOCK))
    return digest.hexdigest()


@contextmanager
def _lock(cache: Path, key: str) -> Iterator[None]:
    """Hold the entry's lock file; the kernel releases it however this process ends."""
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
