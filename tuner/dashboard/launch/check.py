"""Checking a study file before its launch: what is wrong with it, or what it will cost."""

from dataclasses import dataclass
from pathlib import Path

from fastapi import HTTPException

from tuner import families
from tuner.accounts import Role, User
from tuner.commands import preparing, reading
from tuner.dashboard.board import Board
from tuner.dashboard.security import paths
from tuner.data import PreparedData, limited_process
from tuner.data import prepare as prepare_data
from tuner.errors import SpecError, TunerError
from tuner.figures.text import duration
from tuner.study_file.code import USER_CODE_FAMILIES
from tuner.study_file.data import PATHS, DataSpec
from tuner.study_file.load import Source, loads
from tuner.study_file.messages import counted, quoted
from tuner.study_file.parameters import FixedParameter
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Study

NAME = "the study file"  # its file name in messages


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the study file could be launched, and what that would cost."""

    problems: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()


def load_source(board: Board, text: str) -> Source:
    """The study file as the command line reads it; SpecError names the lines."""
    folder = board.settings.uploads if board.access.login else Path.cwd()
    return loads(text, name=NAME, folder=folder)


def prepare(board: Board, text: str, user: User) -> preparing.PreparedStudy:
    """Prepare a study for its launch; its files are read in a process with limits.

    SpecError names the lines; HTTPException if the user may not launch this study.
    """
    source = load_source(board, text)
    spec = families.resolve(source)
    check_allowed(board, spec, user)
    return preparing.prepare_resolved(
        board.database,
        source,
        spec,
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


def check(board: Board, text: str, user: User) -> Verdict:
    """Check a study file: the command line's messages, or what the study would cost."""
    try:
        spec = families.resolve(load_source(board, text))
        check_allowed(board, spec, user)
        _check_name_is_free(board, spec)
    except (TunerError, HTTPException) as error:
        message = str(error.detail) if isinstance(error, HTTPException) else str(error)
        return Verdict(problems=tuple(message.split("\n")))
    return Verdict(facts=(_plan(spec), _cost(board, spec)))


def check_allowed(board: Board, spec: ResolvedSpec, user: User) -> None:
    """With accounts, only admins may run user code or read any file of the machine."""
    if not board.access.login:
        return
    runs_code = spec.family in USER_CODE_FAMILIES or spec.has_classes
    if runs_code and user.role < Role.ADMIN:
        raise HTTPException(403, "only admins may launch studies that run user code")
    if user.role < Role.ADMIN:
        paths.check(spec, board.settings)


def _check_name_is_free(board: Board, spec: ResolvedSpec) -> None:
    if any(study.name == spec.name for study in reading.list_studies(board.database)):
        raise SpecError(f"name: a study named {quoted(spec.name)} exists already")


def _plan(spec: ResolvedSpec) -> str:
    searched = sum(not isinstance(p, FixedParameter) for p in spec.space.parameters.values())
    budget, objective = spec.budget, spec.objective
    plan = f"Searches {counted(searched, 'parameter')} in {counted(budget.trials, 'trial')}"
    if budget.epochs is not None:
        plan += f" of at most {counted(budget.epochs, 'epoch')}"
    return f"{plan} to {objective.direction} {objective.metric}."


def _cost(board: Board, spec: ResolvedSpec) -> str:
    """Trials × seconds, from what trials of the same family took on the same data."""
    similar = [s for s in reading.list_studies(board.database) if _is_similar(s, spec)]
    if not similar:
        return "The cost is unknown: no study of this family has run on this data yet."
    progress_by_id = board.progress.of(*similar)
    for study in reversed(similar):
        progress = progress_by_id[study.id]
        if progress.finished:
            seconds = progress.seconds / progress.finished
            total = seconds * spec.budget.trials
            return (
                f"About {duration(total)} of training, shared by the executors: "
                f"{spec.budget.trials:,} × {duration(seconds)}, as trials of {study.name} took."
            )
    return "The cost is unknown: no trial of this family has finished on this data yet."


def _is_similar(study: Study, spec: ResolvedSpec) -> bool:
    if study.family != spec.family or study.spec is None:
        return False
    if spec.data is None:
        return study.name == spec.name
    data = study.spec.get("data") or {}
    path = None if spec.data.path is None else str(spec.data.path)
    return (data.get("source"), data.get("path")) == (spec.data.source, path)
