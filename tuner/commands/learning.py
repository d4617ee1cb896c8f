"""What a study learns from earlier ones: `learn_from` in its file.

What is learned is fixed at the launch and stored beside the study, so neither a later trial of an
earlier study nor its deletion changes anything. Every user may read every study, so any of them may
be named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner import families
from tuner.commands.confirming import SUFFIX
from tuner.database import spaces, studies, warm_starts
from tuner.database.engine import Connected, Database
from tuner.errors import Issue, SpecError, StudyNotFoundError
from tuner.study_file.messages import counted, listed, quoted
from tuner.study_file.parameters import FixedParameter
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.study import AUTO, MAX_PAST_STUDIES
from tuner.trials import Study

if TYPE_CHECKING:
    from tuner.search.warm_start.past_study import PastStudy, WarmStart

FEWEST = 5  # trials with a value that a related study must have


def learn(
    database: Database, spec: ResolvedSpec, fingerprint: str | None
) -> tuple[str | None, tuple[str, ...]]:
    """Read what a new study learns from earlier ones.

    Args:
        database: Holds the earlier studies.
        spec: The new study.
        fingerprint: Of its data.

    Returns:
        What is learned, as it is stored, None if that is nothing; and notes for the user. A study
        that exists already keeps what it has learned.

    Raises:
        SpecError: A study that the file names does not exist, or nothing can be learned from it.

    """
    if not spec.learn_from:
        return None, ()
    with database.statement() as connection:
        if spec.name in studies.names(connection):
            return None, ()
        if spec.learn_from == (AUTO,):
            past = list(_read_related(connection, spec, fingerprint))
            if not past:
                return None, (_describe_nothing(spec),)
        else:
            past = _read_named(connection, spec)
    # imports SciPy, which few commands need
    from tuner.search.warm_start.past_study import WarmStart
    from tuner.search.warm_start.portfolio import choose

    default = families.default_configuration(spec)
    warm_start = WarmStart(tuple(past), choose(tuple(past), spec.space, default))
    return warm_start.as_text(), _notes(warm_start, spec)


def _read_named(connection: Connected, spec: ResolvedSpec) -> list[PastStudy]:
    """Read the studies that the file names."""
    problems: list[Issue] = []
    past: list[PastStudy] = []
    for place, name in enumerate(spec.learn_from):
        try:
            past.append(_read_useful(connection, studies.by_name(connection, name), spec))
        except (StudyNotFoundError, _UselessError) as error:
            problems.append(Issue(("learn_from", place), str(error)))
    if problems:
        raise SpecError(issues=problems)
    return past


class _UselessError(Exception):
    """Nothing can be learned from the study; the message says why."""


def _read_useful(connection: Connected, study: Study, spec: ResolvedSpec) -> PastStudy:
    past = _read(connection, study)
    if not len(past.numbers):
        raise _UselessError(f"the study {quoted(study.name)} has no trial with a result yet")
    if not _searched(spec) & (past.space.keys() | past.pinned.keys()):
        raise _UselessError(
            f"the study {quoted(study.name)} searched {listed(past.space)}: it has no parameter "
            "in common with this one"
        )
    return past


def _read_related(
    connection: Connected, spec: ResolvedSpec, fingerprint: str | None
) -> Iterator[PastStudy]:
    """Read the newest studies of the same family and metric on other data."""
    count = 0
    for study in reversed(studies.list_all(connection)):
        if count == MAX_PAST_STUDIES:
            return
        if not _is_related(connection, study, spec, fingerprint):
            continue
        try:
            past = _read_useful(connection, study, spec)
        except _UselessError:
            continue
        if len(past.numbers) >= FEWEST:
            count += 1
            yield past


def _is_related(
    connection: Connected, study: Study, spec: ResolvedSpec, fingerprint: str | None
) -> bool:
    aim = spec.objective.metric, spec.objective.direction
    if (study.metric, study.direction) != aim or study.name.endswith(SUFFIX):
        return False
    if study.spec is None:  # made through Optuna: its parameters say what it was
        searched = _searched(spec)
        return bool(searched) and searched <= spaces.names(connection, study.id)
    if study.family != spec.family:
        return False
    if spec.code is None:
        return study.data_fingerprint != fingerprint
    other = ResolvedSpec.from_json(study.spec).code
    return other is not None and (other.function, other.command) == (
        spec.code.function,
        spec.code.command,
    )


def _searched(spec: ResolvedSpec) -> set[str]:
    return {
        name
        for name, parameter in spec.space.parameters.items()
        if not isinstance(parameter, FixedParameter)
    }


def _read(connection: Connected, study: Study) -> PastStudy:
    # imports Optuna, which few commands need
    from tuner.search.history import History
    from tuner.search.warm_start.past_study import summarize

    history = History(study.id)
    history.refresh(connection)
    return summarize(study, history)


def _describe_nothing(spec: ResolvedSpec) -> str:
    return (
        f"learn_from: no other study of {quoted(spec.family)} by {spec.objective.metric} on other "
        f"data has {counted(FEWEST, 'trial')} with a result, so this one starts from nothing"
    )


def _notes(warm_start: WarmStart, spec: ResolvedSpec) -> tuple[str, ...]:
    """Say what was learned, and how the spaces differ."""
    from tuner.search.warm_start.mapping import map_trials

    sources = ", ".join(
        f"{quoted(past.name)} ({_size(len(past.numbers), past.total)})"
        for past in warm_start.studies
    )
    tried = counted(len(warm_start.portfolio), "configuration")
    notes = [f"learns from {sources}, and tries {tried} of theirs"]
    for past in warm_start.studies:
        clauses = map_trials(past, spec.space).describe()
        if past.metric != spec.objective.metric:
            clauses.insert(0, f"it was judged by {past.metric}")
        if clauses:
            notes.append(f"learns from {quoted(past.name)}: {'; '.join(clauses)}")
    return tuple(notes)


def _size(kept: int, total: int) -> str:
    return counted(total, "trial") if kept == total else f"{kept:,} of {counted(total, 'trial')}"


@dataclass(frozen=True, slots=True)
class LearnedFrom:
    """An earlier study that another one has learned from.

    Args:
        study: Its name at that launch.
        trials: How many of its trials were kept.
        total: How many had a value.
        portfolio: The numbers of its trials among the configurations that are tried first.
        weight: From 0 to 1, how well it ranks the trials that the study has so far, compared with
            the study's own model; None before there are enough.
        differences: How the spaces differ, in clauses.

    """

    study: str
    trials: int
    total: int
    portfolio: tuple[int, ...]
    weight: float | None
    differences: tuple[str, ...]

    @property
    def size(self) -> str:
        """Its number of trials, and how many of them were kept if not all."""
        return _size(self.trials, self.total)


def load_learned(database: Database, study: Study) -> list[LearnedFrom]:
    """Load what a study has learned from, with present weights; nothing for most studies."""
    spec = None if study.spec is None else ResolvedSpec.from_json(study.spec)
    if spec is None or not spec.learn_from:
        return []
    with database.statement() as connection:
        stored = warm_starts.load(connection, study.id)
        if stored is None:
            return []
        # imports SciPy, which few commands need
        from tuner.search.warm_start.mapping import map_trials
        from tuner.search.warm_start.past_study import WarmStart
        from tuner.search.weights import present_weights

        warm_start = WarmStart.from_text(stored)
        weights = present_weights(connection, study, spec, warm_start)
    return [
        LearnedFrom(
            study=past.name,
            trials=len(past.numbers),
            total=past.total,
            portfolio=tuple(a.number for a in warm_start.portfolio if a.study == past.name),
            weight=weights.get(past.name),
            differences=tuple(map_trials(past, spec.space).describe()),
        )
        for past in warm_start.studies
    ]
