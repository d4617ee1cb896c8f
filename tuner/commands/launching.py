"""Launch studies, or continue existing ones that the same file defines."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tuner import families, shell
from tuner.commands import changing, sources
from tuner.commands.changing import LaunchResult
from tuner.commands.preparing import PreparedStudy
from tuner.commands.reading import count_by_state
from tuner.database import studies, trials, warm_starts
from tuner.database.engine import Connected, Database
from tuner.errors import StudyExistsError, visible
from tuner.origin import Origin, OriginKind
from tuner.study_file.change import is_changeable
from tuner.study_file.messages import listed, quoted
from tuner.study_file.parameters import FloatParameter, IntParameter
from tuner.study_file.resolved import ResolvedSpec, differences
from tuner.trials import Study, StudyState, TrialState

_RESUMABLE = (StudyState.PAUSED, StudyState.STOPPED, StudyState.FINISHED)


def launch(
    database: Database, prepared: PreparedStudy, *, resume: bool = False, by: str | None = None
) -> LaunchResult:
    """Create the study, ready for workers.

    With `resume`, a study of the same file continues; its limits and resources may have changed.
    StudyExistsError if its name is taken, or with `resume` by a study that differs otherwise.
    """
    return launch_all(database, [prepared], resume=resume, by=by)[0]


def launch_all(
    database: Database,
    prepared: Sequence[PreparedStudy],
    *,
    resume: bool = False,
    by: str | None = None,
) -> list[LaunchResult]:
    """Launch several studies in one transaction: all of them exist afterwards, or none."""
    with database.transaction() as connection:
        for study in prepared:
            _check_experiment(connection, study)
        return [_launch(connection, study, resume=resume, by=by) for study in prepared]


def _launch(
    connection: Connected, prepared: PreparedStudy, *, resume: bool, by: str | None
) -> LaunchResult:
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
        # several processes may launch at once: only the insert shows which one creates the study
        existing = studies.by_name(connection, spec.name)
    else:
        if prepared.learned is not None:
            warm_starts.store(connection, study_id, prepared.learned)
        default = families.default_configuration(spec)
        for params in spec.enqueue:
            trials.enqueue(connection, study_id, params)
        if default:
            origin = Origin(kind=OriginKind.DEFAULT)
            trials.enqueue(connection, study_id, default, origin=origin)
        return LaunchResult(studies.by_id(connection, study_id), created=True)
    if not resume:
        raise StudyExistsError(
            f"a study named {quoted(spec.name)} exists already ({existing.state}): "
            f"{_how_to_continue(existing)}, or launch under another name with `--name`"
        )
    spec = _in_stored_form(existing, spec)
    prepared = replace(prepared, spec=spec)
    counts = count_by_state(connection, existing.id)
    changes = _compare_definitions(existing, prepared, counts)
    if existing.state is not StudyState.FINISHED:
        studies.set_state(connection, existing.id, StudyState.ACTIVE, allowed=list(_RESUMABLE))
    if not changes:
        return LaunchResult(studies.by_id(connection, existing.id), created=False)
    retried = (
        trials.retry(connection, existing.id) if any(map(sources.concerns_code, changes)) else []
    )
    launched = changing.set_limits(connection, existing, spec, may_continue=bool(retried))
    return replace(launched, retried=tuple(retried))


def _check_experiment(connection: Connected, prepared: PreparedStudy) -> None:
    """StudyExistsError if a name is ambiguous, or an experiment's studies cannot be compared."""
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


def _how_to_continue(study: Study) -> str:
    if study.spec is None:
        return "it was made through Optuna, where it continues"
    if study.state in (StudyState.PAUSED, StudyState.STOPPED):
        return f"continue it with `{shell.command('resume', study.name)}`"
    return "`tuner run` with its file continues it"


def _in_stored_form(existing: Study, spec: ResolvedSpec) -> ResolvedSpec:
    """Express the file in the form of the study that was launched.

    Its code is in the form of the tuner that launched it. A file that leaves the sampler to tuner
    means the one that was chosen then: with more trials, another might be chosen now.
    """
    if existing.spec is None:
        return spec
    before = ResolvedSpec.from_json(existing.spec)
    if spec.sampler.reason is not None:
        chosen = {name: getattr(before.sampler, name) for name in ("name", "options", "reason")}
        spec = spec.model_copy(update={"sampler": spec.sampler.model_copy(update=chosen)})
    if spec.code is None:
        return spec
    return spec.model_copy(update={"code": spec.code.in_form_of(before.code)})


def _compare_definitions(
    existing: Study, prepared: PreparedStudy, counts: Mapping[TrialState, int]
) -> list[str]:
    """List what differs in limits and resources; StudyExistsError if anything else differs.

    User code may be corrected as long as no trial has a result that others are compared with.
    """
    spec = prepared.spec
    if existing.spec is None:
        raise StudyExistsError(
            f"the study {quoted(spec.name)} was made through Optuna; choose another name with "
            "`--name`"
        )
    before = ResolvedSpec.from_json(existing.spec)
    _refuse_changed_type(before, spec)
    different = differences(before, spec)
    others = [line for line in different if not is_changeable(line.partition(":")[0])]
    if sources.may_be_corrected(counts):
        others = [line for line in others if not sources.concerns_code(line)]
    if not before.checkpoints:  # earlier versions stored none
        others = [line for line in others if not line.startswith("checkpoints.")]
    if existing.data_fingerprint != prepared.fingerprint:
        others.append(f"data: fingerprint {existing.data_fingerprint} → {prepared.fingerprint}")
    if existing.experiment != prepared.experiment:
        old, new = existing.experiment or "none", prepared.experiment or "none"
        others.append(f"experiment: {old} → {new}")
    if others:
        raise StudyExistsError(
            f"a study named {quoted(spec.name)} exists with another definition "
            f"({visible('; '.join(others))}): choose another name with `--name`, or delete it with "
            f"`{shell.command('delete', spec.name)}`"
        )
    return different


def _refuse_changed_type(before: ResolvedSpec, spec: ResolvedSpec) -> None:
    """StudyExistsError for log ranges that an earlier version searched as floats."""
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
            "write `type: float` beside the range to continue it, or choose another name with "
            "`--name`"
        )
