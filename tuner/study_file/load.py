"""Study file → StudySpec, and the way back from an error to the line that caused it."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from tuner.errors import DataError, Issue, SpecError, dotted, visible
from tuner.study_file import overrides as set_values
from tuner.study_file.code import OWN
from tuner.study_file.document import Loc, NotYamlError, parse
from tuner.study_file.experiment import Parameters, divided, is_experiment
from tuner.study_file.messages import a, issues
from tuner.study_file.study import StudySpec

MAX_BYTES = 250_000  # of a study file; about a second to parse
MAX_PROBLEMS = 20  # that one error lists

_TOO_LARGE = f"is larger than {MAX_BYTES // 1000} kB, which no study file is"


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """A study as given: its specification and where each part of it was written."""

    name: str  # the file as the user named it
    spec: StudySpec  # with absolute paths
    folder: Path  # that relative paths are taken from
    data: Mapping[str, Any] = field(repr=False)  # plain values, shorthands as they were written
    origins: Mapping[Loc, str] = field(repr=False)  # location → `x.yaml:12` or `--set …`

    @contextmanager
    def locating(self, *at: str | int) -> Iterator[None]:
        """Put file and line in front of every sentence of a SpecError or DataError raised inside.

        `at` is where an error without issues belongs, for example `"data"`. What the file is not to
        blame for, as a cache that cannot be written, stays as it is.
        """
        try:
            yield
        except SpecError as error:
            found = error.issues or (Issue(at, " ".join(str(error).split())),)
            report = _report(self.name, found, self.data, self.origins)
            raise type(error)(report, error.issues) from None
        except DataError as error:
            issue = Issue(at, " ".join(str(error).split()))
            raise type(error)(_line(self.name, issue, self.data, self.origins)) from None


def load(path: Path, overrides: Sequence[str] = (), *, rename: str | None = None) -> Source:
    """Read a study file; SpecError with one line a problem if it is not valid.

    `overrides` are `path=value`; `rename` gives the study another name than the file does.
    Relative data paths, in the file as in `overrides`, are taken from the file's folder.
    """
    name = str(path)
    return loads(
        _read(path, name), name=name, folder=_folder(path), overrides=overrides, rename=rename
    )


def _folder(path: Path) -> Path:
    return Path(os.path.abspath(path)).parent  # noqa: PTH100 - resolve() would follow links


def load_all(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    rename: str | None = None,
    parameters: Parameters,
) -> tuple[str | None, list[Source]]:
    """The name of an experiment and its studies, one a family; of any other file None and it.

    `parameters` are those that a family searches; what the file says of them beside `family` is for
    the families that have them.
    """
    name = str(path)
    data, origins = _parsed(_read(path, name), name, overrides, rename)
    return _divided(data, origins, name, _folder(path), parameters)


def loads_all(
    text: str,
    overrides: Sequence[str] = (),
    *,
    rename: str | None = None,
    parameters: Parameters,
) -> tuple[str | None, list[Source]]:
    """The same for a text that is in no file."""
    data, origins = _parsed(text, "study", overrides, rename)
    return _divided(data, origins, "study", Path.cwd(), parameters)


def _divided(
    data: Mapping[str, Any],
    origins: Mapping[Loc, str],
    name: str,
    folder: Path,
    parameters: Parameters,
) -> tuple[str | None, list[Source]]:
    if not is_experiment(data):
        return None, [_validated(data, origins, name, folder)]
    try:
        studies = list(divided(data, origins, parameters))
    except SpecError as error:
        raise SpecError(_report(name, error.issues, data, origins), error.issues) from None
    sources = together(
        partial(_validated, data, origins, name, folder) for data, origins in studies
    )
    return str(data["name"]), sources


def together(steps: Iterable[Callable[[], T]]) -> list[T]:
    """What all of them return; a SpecError with the problems of all that raise one."""
    done: list[T] = []
    lines: dict[str, None] = {}
    for step in steps:
        try:
            done.append(step())
        except SpecError as error:
            lines |= dict.fromkeys(str(error).split("\n"))
    if lines:
        raise SpecError(_lines(sorted(lines, key=_position)))
    return done


def loads(
    text: str,
    *,
    name: str = "study",
    folder: Path | None = None,
    overrides: Sequence[str] = (),
    rename: str | None = None,
) -> Source:
    """The same for a text that is in no file; `name` stands in the errors for the file's."""
    data, origins = _parsed(text, name, overrides, rename)
    return _validated(data, origins, name, folder or Path.cwd())


def _parsed(
    text: str, name: str, overrides: Sequence[str], rename: str | None
) -> tuple[Mapping[str, Any], Mapping[Loc, str]]:
    if len(text) > MAX_BYTES:
        raise SpecError(f"{visible(name)}: {_TOO_LARGE}")
    try:
        document = parse(text.removeprefix("\ufeff"))
    except NotYamlError as error:
        where = visible(name) if error.line is None else f"{visible(name)}:{error.line}"
        raise SpecError(f"{where}: {error}") from None
    if document.problems:
        raise SpecError(
            _lines(f"{visible(name)}:{line}: {what}" for line, what in document.problems)
        )
    if document.data is None:
        raise SpecError(f"{visible(name)}: is empty; a study needs `name`, `family` and `data`")
    if not isinstance(document.data, dict):
        raise SpecError(
            f"{visible(name)}: must consist of `key: value` lines, is {a(document.data)}"
        )
    origins = {loc: f"{visible(name)}:{line}" for loc, line in document.lines.items()}
    data, origins = set_values.apply(document.data, origins, overrides)
    if rename is not None:
        data, origins = {**data, "name": rename}, {**origins, ("name",): "--name"}
    return data, origins


def from_mapping(data: Mapping[str, Any], *, folder: Path | None = None) -> Source:
    """The same for plain values, as the Python API and the REST API are given them."""
    return _validated(data, {}, "", folder or Path.cwd())


def _validated(
    data: Mapping[str, Any], origins: Mapping[Loc, str], name: str, folder: Path
) -> Source:
    try:
        spec = StudySpec.model_validate(data)
    except ValidationError as error:
        found = issues(error, StudySpec)
        raise SpecError(_report(name, found, data, origins), found) from None
    paths: dict[str, Any] = {}
    if spec.data is not None:
        paths["data"] = spec.data.resolved(folder)
    if spec.family in OWN:
        own = (spec.folder or Path()).expanduser()
        paths["folder"] = Path(os.path.abspath(folder / own))  # noqa: PTH100 - not through links
    spec = spec.model_copy(update=paths)
    return Source(name=name, spec=spec, folder=folder, data=data, origins=origins)


def _read(path: Path, name: str) -> str:
    try:
        if path.is_dir():
            raise SpecError(f"{visible(name)}: is a folder, not a study file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SpecError(f"{visible(name)}: there is no such file") from None
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise SpecError(f"{visible(name)}: cannot be read: {reason}") from None
    except ValueError:  # a NUL in the name
        raise SpecError(f"{visible(name)}: is not the name of a file") from None
    if len(raw) > MAX_BYTES:
        raise SpecError(f"{visible(name)}: {_TOO_LARGE}")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SpecError(
            f"{visible(name)}:{line}: is not UTF-8 text: byte 0x{raw[error.start]:02x} "
            f"at position {error.start}"
        ) from None


def _report(
    name: str, found: Sequence[Issue], data: Mapping[str, Any], origins: Mapping[Loc, str]
) -> str:
    """One line a problem, in the order of the file; what is said twice is said once."""
    lines = dict.fromkeys(_line(name, issue, data, origins) for issue in found)
    return _lines(sorted(lines, key=_position))


def _lines(problems: Iterable[str]) -> str:
    every = list(problems)
    more = len(every) - MAX_PROBLEMS
    return "\n".join(every[:MAX_PROBLEMS] + ([f"… and {more} more problems"] if more > 0 else []))


def _line(name: str, issue: Issue, data: Mapping[str, Any], origins: Mapping[Loc, str]) -> str:
    loc = as_written(issue.loc, data)
    where = next(
        (origins[loc[:n]] for n in range(len(loc), 0, -1) if loc[:n] in origins), visible(name)
    )
    field_ = dotted(loc[:-1] if issue.of_key else loc)
    return ": ".join(part for part in (where, field_, issue.message) if part)


def _position(line: str) -> int:
    """The line number in `x.yaml:12: …`; what has none comes first."""
    for part in line.split(": ", 1)[0].split(":")[-1:]:
        if part.isdecimal():
            return int(part)
    return 0


def as_written(loc: Loc, data: Any) -> Loc:
    """A location in the specification as one in the file, where shorthands leave keys out."""
    out: Loc = ()
    here: Any = data
    for part in loc:
        if isinstance(here, Mapping):
            out = (*out, part)
            here = here.get(part, {})
        elif isinstance(here, list | tuple):
            if isinstance(part, int):
                out = (*out, part)
                here = here[part] if part < len(here) else {}
        else:
            break
    return out
