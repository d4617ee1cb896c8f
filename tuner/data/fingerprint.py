"""What identifies data: its fingerprint, and the key of what was prepared from it.

Neither depends on paths or times, so the same content has the same fingerprint on every machine.
"""

import codecs
import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from tuner.data import image_files, raw
from tuner.study_file.data import CORPORA, PAIRS, DataSpec, table_suffix

LENGTH = 16  # hexadecimal digits, 64 bits
SPLITTING = 1  # raise it when the same content and split would give other parts
PREPARING = 6  # raise it when the same parts would give other arrays, or other files

# fields that say what is read, with the value for which older fingerprints stand
_USUAL = {
    "stress": True,
    "pronunciations": "first",
    "skip_damaged": False,
    "separator": None,
    "min_class": None,
}
_folders: dict[Path, tuple[bytes, str]] = {}  # path → stamp, digest of what is below it


def fingerprint(spec: DataSpec) -> str:
    """SHA-256, shortened, of content, split, columns, task and vectors.

    DataError if it cannot be read. Reads the files at the speed of the disk and parses nothing.
    """
    identity: dict[str, Any] = {
        "splitting": SPLITTING,
        "source": spec.source,
        "split": [spec.split.validation, spec.split.test, spec.split.seed],
        "content": [
            None if path is None and index else _content(spec.source, path)
            for index, path in enumerate((spec.path, spec.validation_path, spec.test_path))
        ],
    }
    if spec.source == "text":
        identity |= {"text": spec.text, "label": spec.label}
    if spec.source == "corpus":
        identity |= {"text": spec.text}
    if spec.source in PAIRS:
        identity |= {"text": spec.text, "label": spec.label, "examples": spec.examples}
    for name, usual in _USUAL.items():
        if getattr(spec, name) != usual:
            identity[name] = getattr(spec, name)
    if spec.encoding is not None:
        identity["encoding"] = codecs.lookup(spec.encoding).name
    if spec.is_regression:
        identity["task"] = spec.task
    for name in ("vectors", "word_pairs", "analogies"):
        path = getattr(spec, name)
        if path is not None:
            identity[name] = raw.digest(path).hex()
    return _short(identity)


def renamed(known: str) -> str:
    """The fingerprint of data whose classes have other numbers than in former versions.

    A study that was launched before must not go on with weights for the old ones.
    """
    return _short({"fingerprint": known, "classes": "numbered anew"})


def prepared_key(spec: DataSpec) -> str:
    """The name of the cache entry: the fingerprint and how the content is prepared."""
    settings: dict[str, Any] = {"preparing": PREPARING}
    if spec.source == "text":
        settings |= {
            "lowercase": spec.lowercase,
            "vocabulary": spec.vocabulary,
            "min_count": spec.min_count,
            "max_length": spec.max_length,
        }
    if spec.source in PAIRS:
        settings |= {
            "tokens": [spec.text_tokens, spec.label_tokens],
            "vocabulary": spec.vocabulary,
            "min_count": spec.min_count,
            "max_length": spec.max_length,
        }
    if spec.source in CORPORA:
        settings |= {"lowercase": spec.lowercase}
    if spec.source in ("text", *CORPORA):
        settings |= {"tokens": spec.tokens}
    if spec.source == "images":
        settings |= {"image_size": spec.image_size}
    return f"{fingerprint(spec)}-{_short(settings)}"


def _content(source: str, path: Path | None) -> str:
    if path is None:
        return _packaged(source, raw.digest(raw.packaged(source)))
    if source == "images":
        return _folder(path)
    # the suffix decides how a table is read
    suffix = table_suffix(path) or path.suffix.lower()
    return f"{suffix}:{raw.digest(path).hex()}"


@lru_cache(maxsize=8)
def _packaged(source: str, packed: bytes) -> str:
    """Of the unpacked content, as a package may compress it in another way; `packed` is its digest.

    Unpacking takes 50 ms, so it is done once a process.
    """
    return hashlib.sha256(raw.unpacked(source)).hexdigest()


def _folder(path: Path) -> str:
    """Of the names and the content of all images below a folder.

    Walking through it takes a fifth of asking for the digest of every file, and an executor does it
    for every cohort: a folder that looks as it did when this process digested it is not read again.
    """
    stamp = raw.stamp(path)
    known = _folders.get(path)
    if known is not None and known[0] == stamp:
        return known[1]
    total = hashlib.sha256()
    for files in image_files.find(path).classes.values():
        for file in files:
            name = os.fsencode(file.relative_to(path).as_posix())
            total.update(len(name).to_bytes(4, "big") + name + raw.digest(file))
    if stamp is not None:
        _folders[path] = (stamp, total.hexdigest())
    return total.hexdigest()


def _short(identity: dict[str, Any]) -> str:
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]
