"""The fingerprint of data, and the cache key of what is prepared from it.

Neither depends on paths or times: the same content has the same fingerprint on every machine.
"""

import codecs
import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from tuner.data import image_files, source_files
from tuner.study_file.data import CORPORA, PAIRS, DataSpec, table_suffix

LENGTH = 16  # hexadecimal digits, 64 bits
SPLITTING = 1  # raise it when the same content and split would give other parts
PREPARING = 6  # raise it when the same parts would give other arrays or other files

# fields that change what is read; with these values they leave fingerprints as they were
_DEFAULTS = {
    "stress": True,
    "pronunciations": "first",
    "skip_damaged": False,
    "separator": None,
    "min_class": None,
}
_folders: dict[Path, tuple[bytes, str]] = {}  # path → stamp, digest of its content


def fingerprint(spec: DataSpec) -> str:
    """Return a shortened SHA-256 of content, split, columns, task and vectors.

    DataError if the data cannot be read. Reads files at the speed of the disk, parsing nothing.
    """
    identity: dict[str, Any] = {
        "splitting": SPLITTING,
        "source": spec.source,
        "split": [spec.split.validation, spec.split.test, spec.split.seed],
        "content": [
            None if path is None and index else _digest_content(spec.source, path)
            for index, path in enumerate((spec.path, spec.validation_path, spec.test_path))
        ],
    }
    if spec.source == "text":
        identity |= {"text": spec.text, "label": spec.label}
    if spec.source == "corpus":
        identity |= {"text": spec.text}
    if spec.source in PAIRS:
        identity |= {"text": spec.text, "label": spec.label, "examples": spec.examples}
    for name, default in _DEFAULTS.items():
        if getattr(spec, name) != default:
            identity[name] = getattr(spec, name)
    if spec.encoding is not None:
        identity["encoding"] = codecs.lookup(spec.encoding).name
    if spec.is_regression:
        identity["task"] = spec.task
    for name in ("vectors", "word_pairs", "analogies"):
        path = getattr(spec, name)
        if path is not None:
            identity[name] = source_files.digest(path).hex()
    return _shorten(identity)


def renumbered(original: str) -> str:
    """Return the fingerprint of data whose classes have other indices than in former versions.

    A study launched with a former version must not continue with weights for the old indices.
    """
    return _shorten({"fingerprint": original, "classes": "numbered anew"})


def prepared_key(spec: DataSpec) -> str:
    """Return the name of the cache entry: the fingerprint, and how the content is prepared."""
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
    return f"{fingerprint(spec)}-{_shorten(settings)}"


def _digest_content(source: str, path: Path | None) -> str:
    if path is None:
        return _digest_packaged(source, source_files.digest(source_files.locate_packaged(source)))
    if source == "images":
        return _digest_folder(path)
    # the suffix decides how a table is read
    suffix = table_suffix(path) or path.suffix.lower()
    return f"{suffix}:{source_files.digest(path).hex()}"


@lru_cache(maxsize=8)
def _digest_packaged(source: str, file_digest: bytes) -> str:
    """Digest the decompressed content, since a package may change how it compresses its file.

    Decompressing takes 50 ms, so it happens once per process and `file_digest`.
    """
    return hashlib.sha256(source_files.read_packaged(source)).hexdigest()


def _digest_folder(path: Path) -> str:
    """Digest the names and the content of all images below a folder.

    An executor needs it for every cohort. A stamp takes a fifth of the time of the digests of all
    files, so a folder with the same stamp as before is not read again.
    """
    stamp = source_files.stamp(path)
    cached = _folders.get(path)
    if cached is not None and cached[0] == stamp:
        return cached[1]
    total = hashlib.sha256()
    for files in image_files.find(path).classes.values():
        for file in files:
            name = os.fsencode(file.relative_to(path).as_posix())
            total.update(len(name).to_bytes(4, "big") + name + source_files.digest(file))
    if stamp is not None:
        _folders[path] = (stamp, total.hexdigest())
    return total.hexdigest()


def _shorten(identity: dict[str, Any]) -> str:
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]
