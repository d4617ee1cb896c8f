"""What the page Launch knows of a study file that is being written: its form, its verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from tuner import families
from tuner.accounts import Role, User
from tuner.commands import preparing, reading
from tuner.dashboard.context import Board
from tuner.dashboard.security import paths
from tuner.data import PreparedData, limited_process
from tuner.data import prepare as prepare_data
from tuner.errors import SpecError, TunerError
from tuner.families import registry
from tuner.families.card import Card
from tuner.figures.text import duration
from tuner.study_file.code import OWN
from tuner.study_file.data import PATHS, DataSpec
from tuner.study_file.document import NotYamlError, parse
from tuner.study_file.load import Source, loads
from tuner.study_file.messages import counted, quoted, written
from tuner.study_file.parameters import FixedParameter, describe
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Study

NAME = "the study file"  # in messages, as a file's name
START = """name: digits-cnn-2
family: cnn
data: digits
budget:
  trials: 40
  epochs: 15
"""
EXAMPLES: Mapping[str, str] = {
    "cnn": "digits",
    "seq2seq": "cmudict",
    "word2vec": "lee",
    "fasttext": "lee",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A parameter in the form."""

    name: str
    default: str  # in words
    mode: str  # default, range, choices, value
    low: str = ""
    high: str = ""
    log: bool = False
    choices: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """The study file as a form; what is not in it stays in the text alone."""

    values: Mapping[str, str]  # dotted path → text
    family: str
    card: Card | None
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the study file could be launched, and what that would cost."""

    problems: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()


def source(board: Board, text: str) -> Source:
    """The study file as the command line reads it; SpecError with lines."""
    folder = board.settings.uploads if board.access.login else Path.cwd()
    return loads(text, name=NAME, folder=folder)


def prepare(board: Board, source: Source) -> preparing.PreparedStudy:
    """Prepare a study to be launched; its files are read in a process with limits."""
    return preparing.prepare_source(
        board.database,
        source,
        board.settings,
        prepare=lambda spec, cache: _prepare_data(board, spec, cache),
    )


def _prepare_data(board: Board, spec: DataSpec, cache: Path) -> PreparedData:
    files = [path for name in PATHS if (path := getattr(spec, name)) is not None]
    if not files:  # it comes with a package
        return prepare_data(spec, cache)
    uploads = board.settings.uploads.resolve()
    is_upload = any(file.resolve().is_relative_to(uploads) for file in files)
    limits = limited_process.upload_limits() if is_upload else limited_process.machine_limits()
    return limited_process.prepare_apart(spec, cache, limits)


def form(text: str) -> Form | None:
    """The form of a text; None where it cannot be read at all."""
    try:
        document = parse(text)
    except NotYamlError:
        return None
    data = document.data if isinstance(document.data, dict) else {}
    family = str(data.get("family") or "")
    card = registry.card(family) if family in registry.NAMES else None
    values = {
        path: _text(_at(data, path))
        for path in (
            *("name", "family", "budget.trials", "budget.epochs", "budget.hours"),
            *("objective.metric", "objective.direction", "resources.max_concurrent"),
            *("resources.priority", "seed"),
        )
    }
    for section, key in (("data", "source"), ("sampler", "name"), ("pruner", "name")):
        given = data.get(section)
        short = given if isinstance(given, str) else _at(data, f"{section}.{key}")
        values[section] = _text(short)
    values["data.path"] = _text(_at(data, "data.path"))
    metrics = (
        () if card is None else (*card.metrics, *card.metrics_with_labels, *card.metrics_of_numbers)
    )
    return Form(values, family, card, tuple(dict.fromkeys(metrics)), _rows(card, data))


def _rows(card: Card | None, data: Mapping[str, Any]) -> tuple[Row, ...]:
    searched = data.get("search")
    given: Mapping[str, Any] = searched if isinstance(searched, dict) else {}
    defaults = {} if card is None else card.search
    rows = []
    for name in dict.fromkeys([*defaults, *given]):
        default = defaults.get(name)
        said = "" if default is None else describe(default)
        rows.append(_row(str(name), said, given.get(name), name in given))
    return tuple(rows)


def _row(name: str, default: str, value: Any, is_given: bool) -> Row:
    if not is_given:
        return Row(name, default, "default")
    if isinstance(value, list):
        return Row(name, default, "choices", choices=_list(value))
    if not isinstance(value, dict):
        return Row(name, default, "value", value=_text(value))
    if "value" in value:
        return Row(name, default, "value", value=_text(value["value"]))
    if isinstance(value.get("choices"), list):
        return Row(name, default, "choices", choices=_list(value["choices"]))
    return Row(
        name,
        default,
        "range",
        low=_text(value.get("low")),
        high=_text(value.get("high")),
        log=value.get("log") is True,
    )


def section(text: str, parameter: str) -> Any:
    """What the text says of a parameter so far."""
    try:
        data = parse(text).data
    except NotYamlError:
        return None
    searched = data.get("search") if isinstance(data, dict) else None
    return searched.get(parameter) if isinstance(searched, dict) else None


def verdict(board: Board, text: str, who: User) -> Verdict:
    """Whether it could be launched: the sentences of the command line, or what it would cost."""
    try:
        spec = families.confirm(source(board, text))
        check_allowed(board, spec, who)
        _refuse_taken(board, spec)
    except (TunerError, HTTPException) as error:
        said = str(error.detail) if isinstance(error, HTTPException) else str(error)
        return Verdict(problems=tuple(said.split("\n")))
    return Verdict(facts=tuple(_facts(board, spec)))


def check_allowed(board: Board, spec: ResolvedSpec, who: User) -> None:
    """Where accounts are asked for, not everybody may run code or read this machine's files."""
    if not board.access.login:
        return
    if spec.family in OWN and who.role < Role.ADMIN:
        raise HTTPException(403, "studies with code of their own are launched by admins alone")
    if who.role < Role.ADMIN:
        paths.check(spec, board.settings)


def _refuse_taken(board: Board, spec: ResolvedSpec) -> None:
    if any(study.name == spec.name for study in reading.list_studies(board.database)):
        raise SpecError(f"name: there is a study named {quoted(spec.name)} already")


def _facts(board: Board, spec: ResolvedSpec) -> list[str]:
    searched = sum(not isinstance(p, FixedParameter) for p in spec.space.parameters.values())
    budget = spec.budget
    verb = "is" if searched == 1 else "are"
    first = f"{counted(searched, 'parameter')} {verb} searched in {counted(budget.trials, 'trial')}"
    if budget.epochs is not None:
        first += f" of at most {counted(budget.epochs, 'epoch')}"
    facts = [f"{first}; {spec.objective.direction} {spec.objective.metric}."]
    facts.append(_cost(board, spec))
    return facts


def _cost(board: Board, spec: ResolvedSpec) -> str:
    """Trials × seconds, by what trials of the same family took on the same data."""
    like = [s for s in reading.list_studies(board.database) if _is_like(s, spec)]
    if not like:
        return "What a trial takes is not known: no study of this family and data has run here."
    progresses = board.progresses.of(*like)
    for study in reversed(like):
        progress = progresses[study.id]
        if progress.finished:
            each = progress.seconds / progress.finished
            total = each * spec.budget.trials
            return (
                f"About {duration(total)} of training: {spec.budget.trials:,} × {duration(each)}, "
                f"as trials of {study.name} took. Executors share it."
            )
    return "What a trial takes is not known yet: no trial of this family and data has ended here."


def _is_like(study: Study, spec: ResolvedSpec) -> bool:
    if study.family != spec.family or study.spec is None:
        return False
    if spec.data is None:
        return study.name == spec.name
    given = study.spec.get("data") or {}
    path = None if spec.data.path is None else str(spec.data.path)
    return (given.get("source"), given.get("path")) == (spec.data.source, path)


def _at(data: Any, path: str) -> Any:
    for key in path.split("."):
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _text(value: Any) -> str:
    if value is None or isinstance(value, dict | list):
        return ""
    return repr(value) if isinstance(value, float) else written(value)


def _list(values: list[Any]) -> str:
    return ", ".join(map(_text, values))
