"""What a user can do. The command line, the dashboard, the REST API and notebooks call these.

Every function takes the open `Database`; what a user did wrong comes out as a `TunerError`.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

from tuner import chained, families, shell
from tuner.data import Prepared as PreparedData
from tuner.data import entries, evict, prepare
from tuner.database import leases, notes, refusals, schema, studies, trials, workers
from tuner.database.engine import Connected, Database, connect
from tuner.database.readers import feed
from tuner.errors import (
    BadInputError,
    DataError,
    NothingToExportError,
    SpecError,
    StudyExistsError,
    StudyNotFoundError,
    StudyStateError,
    TrialNotFoundError,
    TunerError,
    WorkerNotFoundError,
    visible,
)
from tuner.families.transfer import affordable
from tuner.settings import Settings, settings
from tuner.study_file.change import changed, extends, is_changeable, trials_of
from tuner.study_file.code import OWN
from tuner.study_file.data import DataSpec
from tuner.study_file.load import Source, load
from tuner.study_file.messages import counted, listed, quoted
from tuner.study_file.parameters import FloatParameter, IntParameter
from tuner.study_file.resolve import fitted
from tuner.study_file.resolved import ResolvedSpec, differences
from tuner.study_file.space import MAX_CELLS
from tuner.trials import (
    Attempt,
    Failures,
    Limits,
    ParamValue,
    Study,
    StudyState,
    Trial,
    TrialState,
    best_trial,
    latest_failure,
    pareto_front,
)
from tuner.user_code.source import check, fingerprint

KILL_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.5)  # seconds between attempts to kill a trial
_RESUMABLE = (StudyState.PAUSED, StudyState.STOPPED, StudyState.FINISHED)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A study file that can be launched: the family knows its space, its data is there."""

    spec: ResolvedSpec
    fingerprint: str | None  # of its data; None for own code, which has its own in `spec`
    examples: Mapping[str, int]  # part → how many
    notes: tuple[str, ...] = ()  # what the user should know of the data, and what was left out
    experiment: str | None = None  # that it is a part of


@dataclass(frozen=True, slots=True)
class Launched:
    """What `launch` did."""

    study: Study
    created: bool  # False: it was there and goes on
    changes: tuple[str, ...] = ()  # of its limits, resources and code, for people
    notes: tuple[str, ...] = ()  # what did not come as it was asked for
    retried: tuple[int, ...] = ()  # failed trials that wait again, for its code was corrected


@dataclass(frozen=True, slots=True)
class Overview:
    """A study with its counts, for lists."""

    study: Study
    counts: Mapping[TrialState, int]


def open_database(settings: Settings) -> Database:
    """The database, its schema checked; made on first use where it is the embedded one."""
    database = connect(settings)
    try:
        schema.check(database)
    except BaseException:
        database.close()
        raise
    return database


def prepare_study(
    database: Database,
    path: Path,
    settings: Settings,
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
) -> Prepared:
    """Read and check a study file and its data or code.

    Writes nothing but the data's cache and the vectors that it takes from another study.
    """
    return prepare_source(database, load(path, overrides, rename=name), settings)


def prepare_source(
    database: Database,
    source: Source,
    settings: Settings,
    *,
    prepare: Callable[[DataSpec, Path], PreparedData] = prepare,
) -> Prepared:
    """The same for a study that is in no file; `prepare` prepares its data."""
    spec = families.confirm(source)
    if spec.data is None:
        assert spec.code is not None
        with source.locating():
            code = spec.code.model_copy(update={"fingerprint": fingerprint(spec.code)})
        return Prepared(spec.model_copy(update={"code": code}), None, {}, _note_on_space(spec))
    with source.locating("data", "vectors"):
        spec, notes = _with_vectors(database, settings, spec, spec.data)
    assert spec.data is not None
    try:
        with source.locating("data"):
            data = prepare(spec.data, settings.data_cache)
    except DataError:
        raise
    except BadInputError as error:  # the cache, which no study file names
        raise BadInputError(f"{error}; TUNER_HOME can name another folder") from error
    with source.locating("family"):
        families.check_data(spec, data)
    with source.locating("search", "checkpoint"):
        spec, left_out = affordable.affordable(spec, data)
        spec = affordable.with_digests(spec)
    evict(settings.data_cache, settings.cache_bytes)
    notes = (*notes, *data.notes, *left_out, *_note_on_space(spec))
    return Prepared(spec, data.fingerprint, dict(data.sizes.items()), notes)


def _note_on_space(spec: ResolvedSpec) -> tuple[str, ...]:
    """That a study will end before its budget of trials is used, where that is known."""
    if spec.sampler.repeat:
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
    """How to search fractions, for who wrote `{low: 0, high: 1}` for a parameter of own code."""
    parameters = spec.space.parameters.items()
    names = [quoted(name) for name, p in parameters if isinstance(p, IntParameter)]
    if spec.code is None or not names:
        return ""
    takes = "takes" if len(names) == 1 else "take"
    return (
        f" ({listed(names)} {takes} whole numbers only; to search fractions, write an end as 0.0)"
    )


def _with_vectors(
    database: Database, settings: Settings, spec: ResolvedSpec, data: DataSpec
) -> tuple[ResolvedSpec, tuple[str, ...]]:
    """The study with the file of the vectors that it takes from another one, and a note on them.

    A study that is there already keeps those that it was launched with.
    """
    name = data.vectors_study
    if name is None:
        return spec, ()
    try:
        before = find(database, spec.name)
    except StudyNotFoundError:
        before = None
    if before is not None and before.spec is not None:
        known = ResolvedSpec.from_json(before.spec).data
        folder = chained.folder_of(name, settings)
        if known is not None and known.vectors is not None and known.vectors.parent == folder:
            return _with_file(spec, data, known.vectors), ()
    try:
        study = find(database, name)
        chained.check(study)
        trial = best(database, study)
    except (StudyNotFoundError, NothingToExportError) as error:
        raise DataError(str(error)) from error
    value = f"{study.metric} {trial.value:.4g}" if trial.value is not None else ""
    so_far = ", so far: the study is still active" if study.state is StudyState.ACTIVE else ""
    note = f"word vectors: trial {trial.number} of {quoted(name)}, the best ({value}){so_far}"
    return _with_file(spec, data, chained.pin(study, trial, settings)), (note,)


def _with_file(spec: ResolvedSpec, data: DataSpec, vectors: Path) -> ResolvedSpec:
    return spec.model_copy(update={"data": data.model_copy(update={"vectors": vectors})})


def launch(
    database: Database, prepared: Prepared, *, resume: bool = False, by: str | None = None
) -> Launched:
    """Make the study, ready for workers.

    StudyExistsError if its name is taken; with `resume`, a study of the same file goes on (its
    limits and resources may have changed), and one that differs in anything else is refused.
    """
    return launch_all(database, [prepared], resume=resume, by=by)[0]


def launch_all(
    database: Database,
    prepared: Sequence[Prepared],
    *,
    resume: bool = False,
    by: str | None = None,
) -> list[Launched]:
    """The same for several studies at once: all of them are there afterwards, or none."""
    with database.transaction() as connection:
        for one in prepared:
            _check_experiment(connection, one)
        return [_launch(connection, one, resume=resume, by=by) for one in prepared]


def _launch(connection: Connected, prepared: Prepared, *, resume: bool, by: str | None) -> Launched:
    spec = prepared.spec
    try:
        study_id = studies.create(
            connection,
            spec.name,
            spec.objective.directions,
            metrics=spec.objective.metrics,
            family=spec.family,
            spec=spec.as_json(),
            fingerprint=prepared.fingerprint,
            limits=spec.limits,
            launched_by=by,
            experiment=prepared.experiment,
        )
    except StudyExistsError:
        # two may launch at once, so that whoever makes it is known only by having made it
        existing = studies.by_name(connection, spec.name)
    else:
        begun_with = families.default_configuration(spec)
        for params in (*spec.enqueue, *([begun_with] if begun_with else [])):
            trials.enqueue(connection, study_id, params)
        return Launched(studies.by_id(connection, study_id), created=True)
    if not resume:
        raise StudyExistsError(
            f"a study named {quoted(spec.name)} exists already ({existing.state}): "
            f"{_how_to_go_on(existing)}, or launch under another name with `--name`"
        )
    spec = _in_its_form(existing, spec)
    prepared = replace(prepared, spec=spec)
    counts = _by_state(trials.counts(connection, existing.id).get(existing.id, {}))
    changes = _changes(existing, prepared, counts)
    if existing.state is not StudyState.FINISHED:
        studies.set_state(connection, existing.id, StudyState.ACTIVE, allowed=list(_RESUMABLE))
    if not changes:
        return Launched(studies.by_id(connection, existing.id), created=False)
    retried = trials.retry(connection, existing.id) if any(map(_is_of_code, changes)) else []
    done = _set_limits(connection, existing, spec, may_go_on=bool(retried))
    return replace(done, retried=tuple(retried))


def _check_experiment(connection: Connected, prepared: Prepared) -> None:
    """StudyExistsError where a name means two things, or studies could not be compared."""
    name = prepared.experiment
    if name is None:
        if studies.of_experiment(connection, prepared.spec.name):
            raise StudyExistsError(
                f"an experiment is named {quoted(prepared.spec.name)}; launch under another name "
                "with `--name`"
            )
        return
    if name in studies.names(connection):
        raise StudyExistsError(
            f"a study is named {quoted(name)}; launch the experiment under another name with "
            "`--name`"
        )
    for other in studies.of_experiment(connection, name):
        if other.name != prepared.spec.name and (
            other.data_fingerprint != prepared.fingerprint
            or other.metrics != prepared.spec.objective.metrics
            or other.directions != prepared.spec.objective.directions
        ):
            raise StudyExistsError(
                f"the experiment {quoted(name)} has a study, {quoted(other.name)}, on other data "
                "or by another metric; launch under another name with `--name`"
            )


def _how_to_go_on(study: Study) -> str:
    if study.spec is None:
        return "it was made through Optuna, where it goes on"
    if study.state in (StudyState.PAUSED, StudyState.STOPPED):
        return f"continue it with `{shell.command('resume', study.name)}`"
    return "`tuner run` with its file continues it"


def _in_its_form(existing: Study, spec: ResolvedSpec) -> ResolvedSpec:
    """The file as the existing study's tuner has read it, which may be an older one."""
    if existing.spec is None or spec.code is None:
        return spec
    before = ResolvedSpec.from_json(existing.spec).code
    return spec.model_copy(update={"code": spec.code.in_form_of(before)})


def _changes(existing: Study, prepared: Prepared, counts: Mapping[TrialState, int]) -> list[str]:
    """What differs in limits and resources; refuses a file that differs in anything else.

    Own code may be corrected as long as no trial has a result that others are compared with.
    """
    spec = prepared.spec
    if existing.spec is None:
        raise StudyExistsError(
            f"the study {quoted(spec.name)} was made through Optuna; choose another name with "
            "`--name`"
        )
    before = ResolvedSpec.from_json(existing.spec)
    _refuse_another_kind(before, spec)
    different = differences(before, spec)
    others = [line for line in different if not is_changeable(line.partition(":")[0])]
    if _may_be_corrected(counts):
        others = [line for line in others if not _is_of_code(line)]
    if not before.checkpoints:  # an older tuner noted none
        others = [line for line in others if not line.startswith("checkpoints.")]
    if existing.data_fingerprint != prepared.fingerprint:
        others.append(f"data: fingerprint {existing.data_fingerprint} → {prepared.fingerprint}")
    if existing.experiment != prepared.experiment:
        before_, after = existing.experiment or "none", prepared.experiment or "none"
        others.append(f"experiment: {before_} → {after}")
    if others:
        raise StudyExistsError(
            f"a study named {quoted(spec.name)} exists with another definition "
            f"({visible('; '.join(others))}): choose another name with `--name`, or delete it with "
            f"`{shell.command('delete', spec.name)}`"
        )
    return different


def _refuse_another_kind(before: ResolvedSpec, spec: ResolvedSpec) -> None:
    """Earlier versions searched a log range between whole numbers as floats."""
    names = [
        name
        for name, parameter in spec.space.parameters.items()
        if isinstance(parameter, IntParameter)
        and parameter.log
        and isinstance(before.space.parameters.get(name), FloatParameter)
    ]
    if names:
        raise StudyExistsError(
            f"a study named {quoted(spec.name)} exists and searches {listed(names)} as float: "
            "write `type: float` beside the range to go on with it, or choose another name with "
            "`--name`"
        )


def _may_be_corrected(counts: Mapping[TrialState, int]) -> bool:
    """Whether no trial has a result of the code as it is, or will have one."""
    return not sum(
        counts[s] for s in TrialState if s not in (TrialState.WAITING, TrialState.FAILED)
    )


def _is_of_code(change: str) -> bool:
    return change.startswith("code.")


def _take_corrected_code(connection: Connected, study: Study) -> None:
    """Have workers run own code as it is on this machine now, where it may be corrected.

    Nothing changes on a machine that has no such code.
    """
    if study.spec is None or study.family not in OWN:
        return
    spec = ResolvedSpec.from_json(study.spec)
    assert spec.code is not None
    counts = _by_state(trials.counts(connection, study.id).get(study.id, {}))
    with suppress(SpecError):
        now = fingerprint(spec.code)
        if now != spec.code.fingerprint and _may_be_corrected(counts):
            code = spec.code.model_copy(update={"fingerprint": now})
            spec = spec.model_copy(update={"code": code})
            studies.set_limits(connection, study.id, spec.limits, spec.as_json())


def changed_code(study: Study) -> str | None:
    """Why no worker on this machine runs the study's code, if that is because it has changed."""
    spec = None if study.spec is None else ResolvedSpec.from_json(study.spec)
    if spec is None or spec.code is None:
        return None
    try:
        fingerprint(spec.code)
    except SpecError:  # it lies elsewhere, perhaps
        return None
    try:
        check(spec.code)
    except TunerError as error:
        return str(error)
    return None


def change(database: Database, name: str, assignments: Sequence[str]) -> Launched:
    """Change limits and resources of a study, as `budget.trials=100`, from the next claim on.

    A study that has finished goes on if this gives it a trial; no budget falls below what is given
    out. SpecError where a field is none that can be changed or a value is wrong.
    """
    with database.transaction() as connection:
        study = studies.by_name(connection, name)
        if not assignments:
            return Launched(study, created=False)
        if study.spec is None:
            return _set_trials(connection, study, trials_of(assignments))
        before = ResolvedSpec.from_json(study.spec)
        spec = changed(before, assignments)
        if not differences(before, spec):
            return Launched(study, created=False)
        return _set_limits(connection, study, spec)


def _set_limits(
    connection: Connected, study: Study, spec: ResolvedSpec, *, may_go_on: bool = False
) -> Launched:
    """Have a study obey another specification, whose trials mean the same.

    `may_go_on`: whether it has something to try by more than the specification.
    """
    assert study.spec is not None
    before = ResolvedSpec.from_json(study.spec)
    studies.set_limits(connection, study.id, spec.limits, spec.as_json())
    after = studies.by_id(connection, study.id)
    assert after.spec is not None
    effective = ResolvedSpec.from_json(after.spec)
    notes = [
        f"budget.{name} cannot be {asked:g}: {least:g} given out already"
        for name in ("trials", "total_epochs", "gpu_seconds")
        if (asked := getattr(spec.budget, name)) != (least := getattr(effective.budget, name))
    ]
    notes += refusals.left_waiting(connection, after)
    changes = differences(before, effective)
    more = may_go_on or extends(before, effective)
    return _changed(connection, after, changes, notes, may_go_on=more)


def _set_trials(connection: Connected, study: Study, wanted: int | None) -> Launched:
    """The same for a study that Optuna made, whose budget is one of trials."""
    if wanted == study.max_trials:
        return Launched(study, created=False)
    studies.set_limits(connection, study.id, Limits(max_trials=wanted), None)
    after = studies.by_id(connection, study.id)
    notes, changes = [], []
    if after.max_trials != wanted:
        notes.append(f"budget.trials cannot be {wanted}: {after.max_trials} given out already")
    notes += refusals.left_waiting(connection, after)
    if after.max_trials != study.max_trials:
        old, new = study.max_trials or "not set", after.max_trials or "not set"
        changes.append(f"budget.trials: {old} → {new}")
    may_go_on = bool(changes) and (
        study.max_trials is not None
        and (after.max_trials is None or after.max_trials > study.max_trials)
    )
    return _changed(connection, after, changes, notes, may_go_on=may_go_on)


def _changed(
    connection: Connected,
    study: Study,
    changes: Sequence[str],
    notes: Sequence[str],
    *,
    may_go_on: bool,
) -> Launched:
    """What a change of limits has done; a finished study goes on if there is something to try."""
    notes = list(notes)
    if study.state is StudyState.FINISHED:
        why_over = _why_over(connection, study) if may_go_on else study.reason
        if may_go_on and why_over is None:
            studies.set_state(
                connection, study.id, StudyState.ACTIVE, allowed=[StudyState.FINISHED]
            )
        else:
            notes.append(f"the study stays finished: {visible(why_over or 'it is over')}")
    elif study.state is StudyState.ACTIVE:  # it may be the last one that it gives
        lease = settings().lease_seconds
        studies.finish_if_done(connection, [study.id], lease=lease)
    return Launched(
        studies.by_id(connection, study.id),
        created=False,
        changes=tuple(changes),
        notes=tuple(notes),
    )


def find(database: Database, name: str) -> Study:
    """The study of that name; StudyNotFoundError without one."""
    with database.statement() as connection:
        return studies.by_name(connection, name)


@dataclass(frozen=True, slots=True)
class Cached:
    """What this machine's cache holds of a study's data."""

    size: int  # bytes
    seconds: float  # that making it took
    saved: float  # seconds for which nobody had to wait, since it was made


def cached(settings: Settings, study: Study) -> Cached | None:
    """The prepared data of a study; None where this machine has none."""
    found = [e for e in entries(settings.data_cache) if e.fingerprint == study.data_fingerprint]
    if not found or study.data_fingerprint is None:
        return None
    size, seconds, saved = zip(*((e.size, e.seconds, e.saved) for e in found), strict=True)
    return Cached(sum(size), sum(seconds), sum(saved))


def of_experiment(database: Database, name: str) -> list[Study]:
    """The studies of an experiment, the oldest first; none where there is none of that name."""
    with database.statement() as connection:
        return studies.of_experiment(connection, name)


def named(database: Database, name: str) -> list[Study]:
    """The study of that name, or the studies of the experiment of that name, the oldest first.

    StudyNotFoundError where there is neither: no name means two things.
    """
    return of_experiment(database, name) or [find(database, name)]


def studies_of(database: Database) -> list[Study]:
    """All studies, the oldest first."""
    with database.statement() as connection:
        return studies.every(connection)


def study_of(database: Database, study_id: int) -> Study:
    """The study of that id; StudyNotFoundError without one."""
    with database.statement() as connection:
        return studies.by_id(connection, study_id)


def overviews(database: Database) -> list[Overview]:
    """All studies with their counts, the oldest first."""
    with database.statement() as connection:
        found = studies.every(connection)
        counts = trials.counts(connection)
    return [Overview(study, _by_state(counts.get(study.id, {}))) for study in found]


def overview(database: Database, name: str) -> Overview:
    """One study with its counts."""
    with database.statement() as connection:
        study = studies.by_name(connection, name)
        return Overview(study, _by_state(trials.counts(connection, study.id).get(study.id, {})))


def _by_state(counts: Mapping[str, int]) -> dict[TrialState, int]:
    return {state: counts.get(state, 0) for state in TrialState}


def overview_of(database: Database, study_id: int) -> Overview:
    """The same by the study's id."""
    with database.statement() as connection:
        study = studies.by_id(connection, study_id)
        return Overview(study, _by_state(trials.counts(connection, study.id).get(study.id, {})))


def load_trials(database: Database, study: Study) -> list[Trial]:
    """All trials of a study by number."""
    with database.statement() as connection:
        return feed.load(connection, study.id)


def failures(database: Database, study: Study) -> list[Failures]:
    """What went wrong in a study, an entry a cause."""
    with database.statement() as connection:
        return trials.failures(connection, study.id)


def attempts(database: Database, study: Study) -> list[Attempt]:
    """Every attempt of a study's trials, by trial."""
    with database.statement() as connection:
        return trials.attempts(connection, study.id)


def report_times(database: Database, study: Study) -> dict[tuple[int, int], datetime]:
    """When each report of a study came: number of the trial, step → time."""
    with database.statement() as connection:
        return trials.report_times(connection, study.id)


def trial(database: Database, study: Study, number: int) -> Trial:
    """The trial of that number; TrialNotFoundError without one."""
    with database.statement() as connection:
        found = feed.by_number(connection, study.id, number)
    if found is None:
        raise TrialNotFoundError(f"the study {quoted(study.name)} has no trial {number}")
    return found


def best(database: Database, study: Study) -> Trial:
    """The best complete trial; NothingToExportError without one."""
    every = load_trials(database, study)
    found = best_of(every, study)
    if found is None:
        by_state = {s: sum(t.state is s for t in every) for s in TrialState}
        by_count = ", ".join(f"{n} {s}" for s, n in by_state.items() if n) or "no trials at all"
        finite = " with a finite value" if by_state[TrialState.COMPLETE] else ""
        if any(t.violates_constraint and t.state is TrialState.COMPLETE for t in every):
            finite += " that violates no constraint"
        raise NothingToExportError(
            f"the study {quoted(study.name)} has no complete trial{finite}, so there is no best "
            f"one ({by_count}){_latest_failure(every, study)}"
        )
    return found


def _latest_failure(every: Sequence[Trial], study: Study) -> str:
    """How a sentence about a study without a result ends: what failed last, and what to do."""
    trial = latest_failure(every)
    if trial is None or trial.cause is None:  # a study made through Optuna has no causes
        return ""
    message = visible(trial.message or "without a message")
    return (
        f"; the latest failure, trial {trial.number} ({trial.cause}): {message}. Once that is "
        f"corrected, `{shell.command('retry', study.name)}` queues failed trials again"
    )


def best_of(trials: Sequence[Trial], study: Study) -> Trial | None:
    """The best complete trial of these; None without one.

    Of several objectives the first counts, and the others between trials that are equal in it.
    """
    if len(study.directions) > 1:
        return next(iter(pareto_front(trials, study.directions)), None)
    return best_trial(trials, study.direction)


def pause(database: Database, name: str) -> Study:
    """No new claims; running trials go back to the queue and keep their number and reports."""
    return _change(
        database, name, StudyState.PAUSED, allowed=[StudyState.ACTIVE], reason="paused by the user"
    )


def resume(database: Database, name: str) -> Study:
    """Let workers claim again."""
    return _change(
        database, name, StudyState.ACTIVE, allowed=[StudyState.PAUSED, StudyState.STOPPED]
    )


def stop(database: Database, name: str) -> Study:
    """End a study before its budget is used; running trials go back to the queue."""
    return _change(
        database,
        name,
        StudyState.STOPPED,
        allowed=[StudyState.ACTIVE, StudyState.PAUSED],
        reason="stopped by the user",
    )


_DONE = {
    StudyState.PAUSED: "paused",
    StudyState.ACTIVE: "resumed",
    StudyState.STOPPED: "stopped",
}


def _change(
    database: Database,
    name: str,
    state: StudyState,
    *,
    allowed: Sequence[StudyState],
    reason: str | None = None,
) -> Study:
    with database.transaction() as connection:
        study = studies.by_name(connection, name)
        if state is StudyState.ACTIVE:
            _take_corrected_code(connection, study)
        if study.state is state:
            return study  # asking twice is no error
        if not studies.set_state(connection, study.id, state, allowed=allowed, reason=reason):
            raise StudyStateError(
                f"the study {quoted(name)} is {study.state}"
                + (f" ({visible(study.reason)})" if study.reason else "")
                + f"; only {' or '.join(allowed)} studies can be {_DONE[state]}"
                + (_how_to_extend(connection, study) if state is StudyState.ACTIVE else "")
            )
        return studies.by_id(connection, study.id)


def _how_to_extend(connection: Connected, study: Study) -> str:
    budget = studies.used_up(connection, study.id, lease=settings().lease_seconds)
    return f": {refusals.how_to_extend(study, budget)}"


def retry(database: Database, name: str, number: int | None = None) -> list[int]:
    """Queue failed trials (or one of them) again; returns their numbers.

    A study that has finished goes on. TrialNotFoundError if there is no trial of that number or it
    has not failed; StudyStateError if the study's budgets would let none of them run.
    """
    with database.transaction() as connection:
        study = studies.by_name(connection, name)
        if number is not None:
            found = feed.by_number(connection, study.id, number)
            if found is None:
                raise TrialNotFoundError(f"the study {quoted(name)} has no trial {number}")
            if found.state is not TrialState.FAILED:
                raise TrialNotFoundError(
                    f"trial {number} of {quoted(name)} is {found.state}; only failed trials can "
                    "be tried again"
                )
        _take_corrected_code(connection, study)
        before = trials.queued(connection, study.id)
        numbers = trials.retry(connection, study.id, number)
        if numbers:
            units = trials.queued(connection, study.id) - before  # of those that never began
            _go_on(connection, studies.by_id(connection, study.id), units)
        return numbers


def _go_on(connection: Connected, study: Study, units: int) -> None:
    """Let a study try what has just been queued, which wants so many units of its trials.

    StudyStateError where it would not: the caller's transaction takes them back.
    """
    over = _why_over(connection, study)
    if over is not None and study.state in (StudyState.FINISHED, StudyState.ACTIVE):
        raise StudyStateError(over)
    queued = trials.queued(connection, study.id) if units else 0
    if study.max_trials is not None and units and study.issued + queued > study.max_trials:
        raise StudyStateError(refusals.given_out(study, "trials", queued))
    studies.set_state(connection, study.id, StudyState.ACTIVE, allowed=[StudyState.FINISHED])


def kill(database: Database, name: str, number: int, *, by: str) -> None:
    """Fail a running trial, or one that was enqueued and never ran, for good.

    Its worker leaves it at its next report, or when it hears of it. TrialNotFoundError without
    such a trial, StudyStateError where the trial is neither.
    """
    message = f"killed by {by}"
    study = find(database, name)
    for pause in KILL_PAUSES:
        with database.statement() as connection:
            if leases.kill(connection, study.id, number, message=message):
                # it may have been the last one, and no worker be there to look
                studies.finish_if_done(connection, [study.id], lease=settings().lease_seconds)
                return
        found = trial(database, study, number)
        if found.state is not TrialState.RUNNING:
            break
        time.sleep(pause)  # its worker was just writing to it
    again = " for another attempt; it can be killed when it runs, or the study be stopped"
    raise StudyStateError(
        f"trial {number} of {quoted(name)} is {found.state}"
        + (
            again
            if found.state is TrialState.WAITING
            else "; only running and enqueued trials can be killed"
        )
    )


def drain(database: Database, worker_id: UUID) -> None:
    """Ask a worker to stop as SIGTERM does: its trials finish or go back to the queue."""
    with database.statement() as connection:
        if not workers.drain(connection, worker_id):
            raise WorkerNotFoundError(f"there is no worker {worker_id}, or it has stopped already")


def check_sources(settings: Settings, study: Study) -> None:
    """BadInputError where the study's code or data is not here, or not what it was at launch.

    A worker does not serve a study whose code has changed, so whoever waits for its end would wait
    for ever; with other data each of its trials would fail.
    """
    if study.spec is None:
        return
    spec = ResolvedSpec.from_json(study.spec)
    try:
        if spec.code is not None:
            check(spec.code)
            return
        assert spec.data is not None
        data = prepare(spec.data, settings.data_cache)
    except TunerError as error:
        raise BadInputError(
            f"the study {quoted(study.name)} cannot be trained here: {error}"
        ) from error
    if data.fingerprint != study.data_fingerprint:
        raise BadInputError(
            f"the study {quoted(study.name)} cannot be trained here: its data has changed since it "
            f"was launched (fingerprint {data.fingerprint}, at launch {study.data_fingerprint}); "
            "restore the data, or launch the study anew under another name"
        )


def trainable(
    database: Database, settings: Settings, names: Sequence[str], *, allow_code: bool
) -> None:
    """Refuse to work on studies that are not there, not allowed or were made through Optuna.

    Their code must be what it was at launch: a worker that serves nothing else would idle for ever.
    """
    for name in names:
        study = find(database, name)
        if study.spec is None:
            raise BadInputError(
                f"the study {quoted(name)} was made through Optuna: its trials run where "
                "`study.optimize` is called"
            )
        if study.family in OWN and not allow_code:
            raise BadInputError(
                f"the study {quoted(name)} runs code of its own, which this worker may not do: "
                "`--allow-code` allows it"
            )
        if study.state is StudyState.ACTIVE and study.family in OWN:
            check_sources(settings, study)


def _why_over(connection: Connected, study: Study) -> str | None:
    """Why workers would try nothing of a study that is active; None if they would.

    Units of the budget for what is queued are the caller's business.
    """
    budget = studies.used_up(connection, study.id, lease=settings().lease_seconds)
    if budget is not None:
        return refusals.given_out(study, budget)
    if study.spec is None:
        return None
    spec = ResolvedSpec.from_json(study.spec)
    ends_early = spec.budget.target is not None or spec.budget.patience is not None
    if not ends_early and (spec.sampler.repeat or spec.space.cells(MAX_CELLS) is None):
        return None
    # with Optuna, which the command line need not wait for
    from tuner.search import cells, ending

    found = feed.load(connection, study.id)
    reason = ending.reason_among(found, spec.budget, study.direction)
    if reason is not None:
        return f"{reason}: {refusals.how_to_extend(study, None)}"
    if spec.sampler.repeat or any(trial.state is TrialState.WAITING for trial in found):
        return None
    used_up = cells.used_up_by(found, spec.space)
    repeat = shell.command("change", study.name, "sampler.repeat=true")
    return None if used_up is None else f"{used_up}: `{repeat}` repeats them"


def enqueue(
    database: Database, name: str, params: Mapping[str, ParamValue], *, extend: bool = False
) -> int:
    """Queue a configuration to be tried next; returns the trial's number.

    A study that has finished goes on. `extend` raises `budget.trials` where it is given out.
    SpecError if a parameter is unknown, a value is outside the space or all of it is forbidden;
    StudyStateError if the study's budgets would never let it run.
    """
    with database.transaction() as connection:
        study = studies.by_name(connection, name)
        if study.spec is not None:
            params = fitted(ResolvedSpec.from_json(study.spec).space, params)
        number = trials.enqueue(connection, study.id, params)
        study = studies.by_id(connection, study.id)  # locked by now, so nobody claims meanwhile
        needed = study.issued + trials.queued(connection, study.id)
        if study.max_trials is not None and needed > study.max_trials:
            if not extend:
                raise StudyStateError(
                    f"{refusals.is_given_out(study, 'trials')}, so this one would not be tried: "
                    "extend the budget for it with `--extend`, or "
                    f"`{shell.command('change', name, f'budget.trials={needed}')}`"
                )
            study = _with_trials(connection, study, needed)
        _go_on(connection, study, 1)
        return number


def _with_trials(connection: Connected, study: Study, wanted: int) -> Study:
    """Give a study so many trials in all."""
    if study.spec is None:
        return _set_trials(connection, study, wanted).study
    spec = ResolvedSpec.from_json(study.spec)
    budget = spec.budget.model_copy(update={"trials": wanted})
    return _set_limits(connection, study, spec.model_copy(update={"budget": budget})).study


def write_note(database: Database, study_id: int, note: str, *, author: str, revision: int) -> None:
    """Replace a study's note; StudyStateError if somebody has since it was read as `revision`."""
    with database.transaction() as connection:
        studies.by_id(connection, study_id)
        if not notes.write(connection, study_id, note, author=author, revision=revision):
            raise StudyStateError(
                "somebody else has changed the note meanwhile: copy your text, reload, and bring "
                "both together"
            )


def delete(database: Database, settings: Settings, *names: str) -> None:
    """Delete studies with their trials, weights and logs, for good: all of them or none.

    StudyStateError while one is active.
    """
    deleted = []
    with database.transaction() as connection:
        for name in names:
            study = studies.by_name(connection, name)
            if study.state is StudyState.ACTIVE and study.spec is not None:
                raise StudyStateError(
                    f"the study {quoted(name)} is active; stop it first: "
                    f"`{shell.command('stop', name)}`"
                )
            studies.delete(connection, study.id)
            deleted.append(study.id)
    for study_id in deleted:
        shutil.rmtree(settings.artifacts / str(study_id), ignore_errors=True)
