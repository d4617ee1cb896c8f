"""The families that are installed, by name: tuner's own, and those of other packages.

A package adds a family with an entry point of the group `tuner.families`, which names the family
and the module that holds its code; the family's card lies beside the module:

    [project.entry-points."tuner.families"]
    ring = "acme.ring"            # acme/ring.py and acme/ring.yaml

Imports no family's code, and of other packages nothing at all: their cards are files. A package
whose family cannot be read takes nothing else with it: `problems` says what is wrong.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path

from pydantic import ValidationError

from tuner.errors import BadInputError
from tuner.families.card import Card
from tuner.files import shown
from tuner.study_file.document import NotYamlError, parse
from tuner.study_file.messages import issues, quoted

GROUP = "tuner.families"  # of entry points
BUILT_IN = (
    "cnn",
    "text_cnn",
    "rnn",
    "transformer",
    "bow",
    "tfidf",
    "pretrained",
    "seq2seq",
    "word2vec",
    "fasttext",
    "function",
    "command",
)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class _EntryPoint:
    """What an installed package declares."""

    name: str
    module: str
    package: str
    version: str

    def __str__(self) -> str:
        return f"family {quoted(self.name)} of the package {self.package} {self.version}"


def names() -> tuple[str, ...]:
    """Return the names of all families that can be used, tuner's own first."""
    return (*BUILT_IN, *_readable()[0])


def problems() -> Mapping[str, str]:
    """Return for each declared family that cannot be used why, in one sentence, by its name."""
    return _readable()[1]


def exists(name: str) -> bool:
    """Whether there is a family of this name that can be used."""
    return name in BUILT_IN or name in _readable()[0]


@cache
def card(name: str) -> Card:
    """Return the card of a family; BadInputError if there is none, or it cannot be read."""
    if name in BUILT_IN:
        return _read(name, f"tuner.families.{name}", Path(__file__).with_name(f"{name}.yaml"))
    cards, broken = _readable()
    if name in broken:
        raise BadInputError(broken[name])
    if name not in cards:
        raise BadInputError(
            f"the family {quoted(name)} is not installed; install the package that it comes with"
        )
    return cards[name]


def package(name: str) -> tuple[str, str] | None:
    """Return name and version of the package that a family comes with; None for tuner's own."""
    entry = None if name in BUILT_IN else next(iter(_entry_points().get(name, ())), None)
    return None if entry is None else (entry.package, entry.version)


@cache
def _readable() -> tuple[dict[str, Card], dict[str, str]]:
    """The cards of other packages, and what is wrong with those that cannot be read, by name."""
    cards: dict[str, Card] = {}
    broken: dict[str, str] = {}
    for name, entries in sorted(_entry_points().items()):
        entry = entries[0]
        try:
            _check_name(name, entries)
            source = source_file(entry.module)
            path = source.with_name(f"{entry.module.rpartition('.')[2]}.yaml")
            cards[name] = _read(name, entry.module, path)
        except BadInputError as error:
            broken[name] = f"{entry} cannot be used: {error}"
    return cards, broken


@cache
def _entry_points() -> dict[str, list[_EntryPoint]]:
    """What installed packages declare, by the family's name."""
    declared: dict[str, dict[str, _EntryPoint]] = defaultdict(dict)
    for distribution in metadata.distributions():
        try:
            package, version = distribution.name, distribution.version
            points = distribution.entry_points.select(group=GROUP)
        except Exception:  # noqa: S112 - metadata of a package that nobody needs here is damaged
            continue
        for point in points:
            entry = _EntryPoint(point.name, point.value.partition(":")[0].strip(), package, version)
            declared[point.name].setdefault(package, entry)  # the first on the path is imported
    return {name: [*entries.values()] for name, entries in declared.items()}


def _check_name(name: str, entries: list[_EntryPoint]) -> None:
    if name in BUILT_IN:
        raise BadInputError("tuner itself has a family of that name, which is used")
    if len(entries) > 1:
        other = f"{entries[1].package} {entries[1].version}"
        raise BadInputError(f"the package {other} has one of that name too; uninstall one of them")
    if not _NAME.fullmatch(name):
        raise BadInputError("a name must consist of a-z, 0-9 and `_`, and start with a letter")


def source_file(module: str) -> Path:
    """Find a module's source without importing it; BadInputError if there is none."""
    top, *rest = module.split(".")
    try:
        spec = util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise BadInputError(f"there is no module {quoted(module)}")
    files = [Path(spec.origin)] if spec.origin is not None else []
    if rest:
        folders = [Path(folder, *rest) for folder in spec.submodule_search_locations or ()]
        files = [path for f in folders for path in (f.with_name(f"{f.name}.py"), f / "__init__.py")]
    source = next((path for path in files if path.is_file()), None)
    if source is None:
        raise BadInputError(f"there is no module {quoted(module)}")
    return source


def _read(name: str, module: str, path: Path) -> Card:
    """Read a card; BadInputError names the file, and the line where it is known."""
    where = shown(path)
    try:
        document = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(
            f"its card {where} cannot be read ({error.strerror or error})"
        ) from error
    except UnicodeDecodeError:
        raise BadInputError(f"its card {where} is not UTF-8 text") from None
    except NotYamlError as error:
        line = "" if error.line is None else f":{error.line}"
        raise BadInputError(f"its card {where}{line}: {error}") from None
    if document.problems:
        number, problem = document.problems[0]
        raise BadInputError(f"its card {where}:{number}: {problem}")
    if not isinstance(document.data, Mapping):
        raise BadInputError(f"its card {where} must hold a section of keys")
    try:
        return Card.model_validate({**document.data, "name": name, "module": module})
    except ValidationError as error:
        issue = issues(error, Card)[0]
        lines = (document.lines.get(issue.loc[:n]) for n in range(len(issue.loc), 0, -1))
        line = next((f":{number}" for number in lines if number is not None), "")
        sentence = " ".join(str(issue).split())
        raise BadInputError(f"its card {where}{line}: {sentence}") from None
