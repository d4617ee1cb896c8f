"""Copying studies between Optuna's RDB storages and tuner's database, with all that they hold.

Optuna's side is written through its storage API, which takes local times without a zone: within the
hour that clocks repeat in autumn, a copy there is ambiguous.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy  # the type that BaseStorage promises
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from sqlalchemy import Connection

from tuner import shell
from tuner.database import attributes, studies
from tuner.database.engine import Database
from tuner.database.optuna import bulk, databases, rdb_rows
from tuner.database.optuna.rdb_rows import OptunaTrial
from tuner.database.readers.feed import Feed
from tuner.errors import BadInputError, StudyExistsError, StudyNotFoundError
from tuner.search.copies import new_trials, template
from tuner.search.damage import DamagedError
from tuner.search.directions import optuna_direction, our_direction
from tuner.search.distributions import from_json
from tuner.search.garbage import no_collection
from tuner.study_file.messages import quoted
from tuner.trials import Study, TrialState

_UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
)
METRIC_NAMES = "study:metric_names"  # system attribute of `Study.set_metric_names`


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of one study."""

    name: str  # in the copy
    trials: int
    were_running: int  # failed in the copy
    renumbered: bool = False  # its numbers had gaps, which Optuna does not support


def import_studies(
    database: Database, url: str, *, name: str | None = None, rename: str | None = None
) -> list[Copied]:
    """Copy all studies of an Optuna storage, or the one named, into tuner: all of them or none.

    StudyExistsError if a name is taken; `rename` renames a single study.
    """
    with (
        _opened(url, make=False) as storage,
        storage.engine.connect() as source,
        database.transaction() as connection,
    ):
        with _refusals(url):
            summaries = storage.get_all_studies()
            # a consistent view of studies that are running meanwhile
            if source.dialect.name != "sqlite":
                source.execution_options(isolation_level="REPEATABLE READ")
        matching = [study for study in summaries if name in (None, study.study_name)]
        _check_choice(matching, name, rename)
        existing = {study.name for study in studies.list_all(connection)}
        for study in matching:
            _check_free(rename or study.study_name, existing, study.study_name)
        now = bulk.clock(connection)
        copied = []
        for study in matching:
            with _refusals(url):
                heads = rdb_rows.heads(source, study._study_id)
            target = rename or study.study_name
            with _damages(study.study_name):
                study_id = _make_study(connection, study, target)
                trials = new_trials(
                    _read(url, source, study._study_id, heads),
                    now,
                    objectives=len(study.directions),
                    count=len(heads),
                )
                with no_collection():
                    bulk.insert(connection, study_id, trials, count=len(heads))
            running = sum(head.state == OptunaState.RUNNING.name for head in heads)
            copied.append(Copied(target, len(heads), running))
    return copied


def _read(
    url: str, source: Connection, study_id: int, heads: Sequence[rdb_rows.Head]
) -> Iterator[OptunaTrial]:
    with _refusals(url):
        yield from rdb_rows.trials(source, study_id, heads)


def _check_choice(matching: Sequence[FrozenStudy], name: str | None, rename: str | None) -> None:
    if not matching:
        what = "no studies" if name is None else f"no study named `{name}`"
        raise StudyNotFoundError(f"the source has {what}")
    if rename is not None and len(matching) > 1:
        raise BadInputError(
            f"the source has {len(matching)} studies; `--as` renames one, chosen with `--study`"
        )


def _check_free(target: str, existing: Iterable[str], source: str) -> None:
    if target in existing:
        raise StudyExistsError(
            f"a study named {quoted(target)} exists already; add "
            f"`{shell.line('--study', source, '--as', 'NAME')}` to import it under another name"
        )
    for _ in attributes.unstorable([target]):
        raise BadInputError(
            f"the study {target!r} has a name that PostgreSQL cannot store; import it under "
            f"another with `{shell.line('--study', source, '--as', 'NAME')}`"
        )


def _make_study(connection: Connection, study: FrozenStudy, target: str) -> int:
    if not study.directions or StudyDirection.NOT_SET in study.directions:
        raise BadInputError(
            f"the study {quoted(study.study_name)} has no direction for each of its objectives"
        )
    for key in attributes.unstorable([*study.user_attrs, *study.system_attrs]):
        raise BadInputError(
            f"the study `{study.study_name}` has an attribute named {key!r}, which PostgreSQL "
            "cannot store: names hold neither NUL nor half of a surrogate pair"
        )
    study_id = studies.create(
        connection,
        target,
        [our_direction(d) for d in study.directions],
        metrics=_metrics(study),
        system_attrs=study.system_attrs,
    )
    for key, value in study.user_attrs.items():
        studies.set_attribute(connection, study_id, "user_attrs", key, value)
    return study_id


def _metrics(study: FrozenStudy) -> list[str]:
    """Return the objectives' names; none if the study has none that can be stored."""
    names = study.system_attrs.get(METRIC_NAMES)
    if not isinstance(names, list) or len(names) != len(study.directions):
        return []
    usable = all(isinstance(name, str) for name in names) and not any(attributes.unstorable(names))
    return names if usable else []


def export_study(
    database: Database,
    study: Study,
    url: str,
    *,
    rename: str | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Copied:
    """Copy a study into an Optuna storage, creating its tables if necessary.

    Optuna writes each trial in a transaction of its own; after an error the copy is removed
    again. `progress` is called with the number of trials written and their total.
    """
    target = rename or study.name
    with database.statement() as connection:
        trials, running = _templates(connection, study)
    with _opened(url, make=True) as storage, _refusals(url):
        try:
            study_id = storage.create_new_study(
                [optuna_direction(d) for d in study.directions], target
            )
        except DuplicatedStudyError:
            raise StudyExistsError(
                f"{databases.mask(url)} has a study named `{target}` already; export it under "
                "another name: --as NAME"
            ) from None
        try:
            _fill(storage, study_id, study, trials, progress)
        except BaseException:
            with suppress(Exception):  # the user must read the error before it
                storage.delete_study(study_id)
            raise
    return Copied(
        target,
        len(trials),
        running,
        renumbered=any(trial.number != index for index, trial in enumerate(trials)),
    )


def _fill(
    storage: BaseStorage,
    study_id: int,
    study: Study,
    trials: Sequence[FrozenTrial],
    progress: Callable[[int, int], object],
) -> None:
    system_attrs = dict(study.system_attrs)
    if study.metrics:
        system_attrs.setdefault(METRIC_NAMES, list(study.metrics))
    for key, value in study.user_attrs.items():
        storage.set_study_user_attr(study_id, key, value)
    for key, value in system_attrs.items():
        storage.set_study_system_attr(study_id, key, value)
    for done, trial in enumerate(trials, start=1):
        storage.create_new_trial(study_id, trial)
        progress(done, len(trials))


def _templates(connection: Connection, study: Study) -> tuple[list[FrozenTrial], int]:
    """Return the study's trials in Optuna's form, and how many of them are running."""
    reader = Feed(study.id, metrics=False)
    rows = reader.poll(connection)
    templates = {id_: from_json(stored) for id_, stored in reader.spaces.items()}
    now = bulk.clock(connection)
    trials = [
        template(row, {} if row.space_id is None else templates[row.space_id], now) for row in rows
    ]
    return trials, sum(row.state == TrialState.RUNNING for row in rows)


@contextmanager
def _opened(url: str, *, make: bool) -> Iterator[RDBStorage]:
    """Open Optuna's storage; `make` creates its tables if they are missing."""
    usable = databases.url(url, must_exist=not make)
    try:
        storage = RDBStorage(usable, skip_table_creation=not make)
    except ImportError as error:
        raise BadInputError(
            f"{databases.mask(url)} needs a driver that is not installed: "
            f"{error.__cause__ or error}"
        ) from error
    except (StorageInternalError, databases.DriverError) as error:
        raise BadInputError(
            f"{databases.mask(url)} is no Optuna storage or does not answer: "
            f"{databases.message(error)}"
        ) from error
    except RuntimeError as error:  # its tables are of another version of Optuna
        raise BadInputError(f"{databases.mask(url)}: {error}") from error
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


@contextmanager
def _refusals(url: str) -> Iterator[None]:
    """Turn errors of Optuna or its database into a sentence."""
    try:
        yield
    # ValueError: distributions that Optuna considers incompatible, texts that the driver refuses
    except (StorageInternalError, databases.DriverError, ValueError) as error:
        raise BadInputError(f"{databases.mask(url)}: {databases.message(error)}") from error
    except _UNREADABLE as error:  # what Optuna and we take for granted is not there
        raise BadInputError(
            f"{databases.mask(url)}: holds what no Optuna has written: {databases.message(error)}"
        ) from error


@contextmanager
def _damages(study: str) -> Iterator[None]:
    """Name the study that contains a damaged trial."""
    try:
        yield
    except DamagedError as error:
        raise BadInputError(f"study {quoted(study)}: {error}; nothing is imported") from error
