"""Study file → StudySpec, and from an error back to the line that caused it."""

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
from tuner.study_file.code import USER_CODE_FAMILIES
from tuner.study_file.document import Loc, NotYamlError, parse
from tuner.study_file.experiment import Parameters, divide, is_experiment
from tuner.study_file.messages import a, issues
from tuner.study_file.study import StudySpec

MAX_BYTES = 250_000  # of a study file; about a second to parse
MAX_PROBLEMS = 20  # listed by one error

_TOO_LARGE = f"is larger than {MAX_BYTES // 1000} kB, more than a study file may be"


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """A study as the user wrote it: its specification and the origin of each part."""

    name: str  # the file as the user named it
    spec: StudySpec  # with absolute paths
    folder: Path  # base of relative paths
    data: Mapping[str, Any] = field(repr=False)  # plain values, shorthands as they were written
    origins: Mapping[Loc, str] = field(repr=False)  # location → `x.yaml:12` or `--set …`

    @contextmanager
    def locating(self, *at: str | int) -> Iterator[None]:
        """Prefix every sentence of a SpecError or DataError raised inside with its file and line.

        `at` is where an error without issues belongs, for example `"data"`. Errors that the file
        did not cause, such as a cache that cannot be written, pass through.
        """
        try:
            yield
        except SpecError as error:
            problems = error.issues or (Issue(at, " ".join(str(error).split())),)
            report = _report(self.name, problems, self.data, self.origins)
            raise type(error)(report, error.issues) from None
        except DataError as error:
            issue = Issue(at, " ".join(str(error).split()))
            raise type(error)(_line(self.name, issue, self.data, self.origins)) from None


def load(path: Path, overrides: Sequence[str] = (), *, rename: str | None = None) -> Source:
    """Read a study file; SpecError with one line per problem if it is not valid.

    `overrides` are `path=value`; `rename` replaces the name in the file. Relative data paths, in
    the file as in `overrides`, are relative to the file's folder.
    """
    name = str(path)
    return loads(
        _read_text(path, name), name=name, folder=_folder(path), overrides=overrides, rename=rename
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
    """Read the name of an experiment and its studies, one per family; (None, [study]) otherwise.

    `parameters` returns those that a family searches: what stands beside `family` applies only to
    the families that have the parameters it names.
    """
    name = str(path)
    data, origins = _parse(_read_text(path, name), name, overrides, rename)
    return _divide(data, origins, name, _folder(path), parameters)


def loads_all(
    text: str,
    overrides: Sequence[str] = (),
    *,
    rename: str | None = None,
    parameters: Parameters,
) -> tuple[str | None, list[Source]]:
    """The same for a text that is in no file."""
    data, origins = _parse(text, "study", overrides, rename)
    return _divide(data, origins, "study", Path.cwd(), parameters)


def _divide(
    data: Mapping[str, Any],
    origins: Mapping[Loc, str],
    name: str,
    folder: Path,
    parameters: Parameters,
) -> tuple[str | None, list[Source]]:
    if not is_experiment(data):
        return None, [_validate(data, origins, name, folder)]
    try:
        studies = list(divide(data, origins, parameters))
    except SpecError as error:
        raise SpecError(_report(name, error.issues, data, origins), error.issues) from None
    sources = collect(partial(_validate, data, origins, name, folder) for data, origins in studies)
    return str(data["name"]), sources


def collect(steps: Iterable[Callable[[], T]]) -> list[T]:
    """Return the results of all steps; SpecError with the problems of all that raise one."""
    results: list[T] = []
    lines: dict[str, None] = {}
    for step in steps:
        try:
            results.append(step())
        except SpecError as error:
            lines |= dict.fromkeys(str(error).split("\n"))
    if lines:
        raise SpecError(_lines(sorted(lines, key=_position)))
    return results


def loads(
    text: str,
    *,
    name: str = "study",
    folder: Path | None = None,
    overrides: Sequence[str] = (),
    rename: str | None = None,
) -> Source:
    """As `load`, for text without a file; errors show `name` instead of the file's."""
    data, origins = _parse(text, name, overrides, rename)
    return _validate(data, origins, name, folder or Path.cwd())


def _parse(
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
    """As `load`, for plain values, as the Python and REST APIs receive them."""
    return _validate(data, {}, "", folder or Path.cwd())


def _validate(
    data: Mapping[str, Any], origins: Mapping[Loc, str], name: str, folder: Path
) -> Source:
    try:
        spec = StudySpec.model_validate(data)
    except ValidationError as error:
        problems = issues(error, StudySpec)
        raise SpecError(_report(name, problems, data, origins), problems) from None
    paths: dict[str, Any] = {}
    if spec.data is not None:
        paths["data"] = spec.data.resolved(folder)
    if spec.family in USER_CODE_FAMILIES:
        own = (spec.folder or Path()).expanduser()
        paths["folder"] = Path(os.path.abspath(folder / own))  # noqa: PTH100 - not through links
    spec = spec.model_copy(update=paths)
    return Source(name=name, spec=spec, folder=folder, data=data, origins=origins)


def _read_text(path: Path, name: str) -> str:
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
    name: str, problems: Sequence[Issue], data: Mapping[str, Any], origins: Mapping[Loc, str]
) -> str:
    """One line per problem, without duplicates, in the order of the file."""
    lines = dict.fromkeys(_line(name, issue, data, origins) for issue in problems)
    return _lines(sorted(lines, key=_position))


def _lines(problems: Iterable[str]) -> str:
    lines = list(problems)
    more = len(lines) - MAX_PROBLEMS
    return "\n".join(lines[:MAX_PROBLEMS] + ([f"… and {more} more problems"] if more > 0 else []))


def _line(name: str, issue: Issue, data: Mapping[str, Any], origins: Mapping[Loc, str]) -> str:
    loc = as_written(issue.loc, data)
    where = next(
        (origins[loc[:n]] for n in range(len(loc), 0, -1) if loc[:n] in origins), visible(name)
    )
    field_ = dotted(loc[:-1] if issue.of_key else loc)
    return ": ".join(part for part in (where, field_, issue.message) if part)


def _position(line: str) -> int:
    """Return the line number in `x.yaml:12: …`; 0 without one, so that it sorts first."""
    for part in line.split(": ", 1)[0].split(":")[-1:]:
        if part.isdecimal():
            return int(part)
    return 0


def as_written(loc: Loc, data: Any) -> Loc:
    """Map a location in the specification to the file, where shorthands leave out keys."""
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
