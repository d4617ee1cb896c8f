"""From a study file to a study that can be launched: read, check, prepare its data or code."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner import families
from tuner.commands import learning, vectors
from tuner.data import PreparedData, evict, prepare
from tuner.database.engine import Database
from tuner.errors import BadInputError, DataError, SpecError
from tuner.families.transfer import affordable
from tuner.settings import Settings
from tuner.study_file.data import DataSpec
from tuner.study_file.load import Source, load
from tuner.study_file.messages import counted, listed, quoted
from tuner.study_file.parameters import IntParameter
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.search_checks import (
    notes_on_fidelity,
    notes_on_promotion,
    notes_on_sampler,
)
from tuner.study_file.space import MAX_CELLS
from tuner.user_code.classes import find_classes
from tuner.user_code.source import fingerprint


@dataclass(frozen=True, slots=True)
class PreparedStudy:
    """A study that can be launched: its space is complete, its data or code is on this machine."""

    spec: ResolvedSpec
    fingerprint: str | None  # of its data; None for user code, whose fingerprint is in `spec`
    examples: Mapping[str, int]  # part → number of examples
    notes: tuple[str, ...] = ()  # for the user: about the data, and what was left out
    experiment: str | None = None  # name of the experiment it belongs to
    learned: str | None = None  # what it has learned from earlier studies, as it is stored


def prepare_study(
    database: Database,
    path: Path,
    settings: Settings,
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
) -> PreparedStudy:
    """Read and check a study file and its data or code.

    Writes only the data cache and, if the study takes word vectors from another study, their file.
    """
    source = load(path, overrides, rename=name)
    return prepare_resolved(database, source, families.resolve(source), settings)


def prepare_resolved(
    database: Database,
    source: Source,
    spec: ResolvedSpec,
    settings: Settings,
    *,
    prepare: Callable[[DataSpec, Path], PreparedData] = prepare,
) -> PreparedStudy:
    """Prepare a study that was read and resolved already.

    `source` knows the lines, for messages; `prepare` prepares the study's data.
    """
    with source.locating():
        spec = spec.model_copy(update={"classes": find_classes(spec, source.folder)})
        if spec.sampler.class_name or spec.pruner.class_name:
            from tuner.search.plugins.signatures import misuses  # Optuna, slow to import

            if problems := list(misuses(spec)):
                raise SpecError(issues=problems)
    if spec.data is None:
        assert spec.code is not None
        with source.locating():
            code = spec.code.model_copy(update={"fingerprint": fingerprint(spec.code)})
        spec = spec.model_copy(update={"code": code})
        with source.locating("learn_from"):
            learned, learning_notes = learning.learn(database, spec, None)
        notes = (*_notes_on_search(spec), *learning_notes)
        return PreparedStudy(spec, None, {}, notes, learned=learned)
    with source.locating("data", "vectors"):
        spec, notes = vectors.resolve(database, settings, spec, spec.data)
    assert spec.data is not None
    try:
        with source.locating("data"):
            data = prepare(spec.data, settings.data_cache)
    except DataError:
        raise
    except BadInputError as error:  # the cache folder, which study files do not name
        raise BadInputError(f"{error}; TUNER_HOME can name another folder") from error
    with source.locating("family"):
        families.check_data(spec, data)
    with source.locating("search", "checkpoint"):
        spec, left_out = affordable.affordable(spec, data)
        spec = affordable.with_digests(spec)
    evict(settings.data_cache, settings.cache_bytes)
    with source.locating("learn_from"):
        learned, learning_notes = learning.learn(database, spec, data.fingerprint)
    notes = (*notes, *data.notes, *left_out, *_notes_on_search(spec), *learning_notes)
    sizes: Mapping[str, int] = dict(data.sizes.items())
    return PreparedStudy(spec, data.fingerprint, sizes, notes, learned=learned)


def _notes_on_search(spec: ResolvedSpec) -> tuple[str, ...]:
    return (
        *_note_on_space(spec),
        *notes_on_sampler(spec),
        *notes_on_promotion(spec),
        *notes_on_fidelity(spec),
    )


def _note_on_space(spec: ResolvedSpec) -> tuple[str, ...]:
    """Say that a study will end before its budget of trials is used, if that is certain."""
    is_grid = spec.sampler.name == "grid" and spec.sampler.reason is None
    if spec.sampler.repeat or is_grid or spec.sampler.name is None:
        return ()
    cells = spec.space.cells(min(spec.budget.trials, MAX_CELLS))
    if cells is None or len(cells) >= spec.budget.trials:
        return ()
    all_of_them = "it has" if len(cells) == 1 else "all of them have"
    return (
        f"its space has {counted(len(cells), 'configuration')}: the study ends once {all_of_them} "
        f"been tried, before {counted(spec.budget.trials, 'trial')}{_note_on_ends(spec)}",
    )


def _note_on_ends(spec: ResolvedSpec) -> str:
    """Explain how to search fractions, for users who wrote `{low: 0, high: 1}` for user code."""
    parameters = spec.space.parameters.items()
    names = [quoted(name) for name, p in parameters if isinstance(p, IntParameter)]
    if spec.code is None or not names:
        return ""
    takes = "takes" if len(names) == 1 else "take"
    return (
        f" ({listed(names)} {takes} whole numbers only; to search fractions, write an end as 0.0)"
    )
