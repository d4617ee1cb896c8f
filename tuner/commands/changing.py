"""Change the limits and resources of a study; a finished one may continue."""

from collections.abc import Sequence
from dataclasses import dataclass

from tuner import shell
from tuner.database import refusals, serving, studies, study_limits, trials
from tuner.database.engine import Connected, Database
from tuner.database.readers import feed
from tuner.errors import StudyStateError, visible
from tuner.settings import settings
from tuner.study_file.change import apply_changes, extends, trials_of
from tuner.study_file.resolved import ResolvedSpec, differences
from tuner.study_file.space import MAX_CELLS
from tuner.trials import Limits, Study, StudyState, TrialState


@dataclass(frozen=True, slots=True)
class LaunchResult:
    """A study after it was launched or changed."""

    study: Study
    created: bool  # False: it existed already
    changes: tuple[str, ...] = ()  # of its limits, resources and code, as `field: old → new`
    notes: tuple[str, ...] = ()  # where the outcome differs from the request
    retried: tuple[int, ...] = ()  # failed trials, queued again because its code was corrected


def change(database: Database, name: str, assignments: Sequence[str]) -> LaunchResult:
    """Change limits and resources of a study, as in `budget.trials=100`, from the next claim on.

    A finished study continues if this gives it a trial. No budget falls below what was given out.
    SpecError if a field cannot be changed or a value is wrong.
    """
    with database.transaction() as connection:
        study = studies.by_name(connection, name)
        if not assignments:
            return LaunchResult(study, created=False)
        if study.spec is None:
            return set_trials(connection, study, trials_of(assignments))
        before = ResolvedSpec.from_json(study.spec)
        spec = apply_changes(before, assignments)
        if not differences(before, spec):
            return LaunchResult(study, created=False)
        return set_limits(connection, study, spec)


def set_limits(
    connection: Connected, study: Study, spec: ResolvedSpec, *, may_continue: bool = False
) -> LaunchResult:
    """Replace a study's specification by one under which its trials mean the same.

    `may_continue`: whether it has something to try for another reason than the new specification.
    """
    assert study.spec is not None
    before = ResolvedSpec.from_json(study.spec)
    study_limits.set_limits(connection, study.id, spec.limits, spec.as_json())
    after = studies.by_id(connection, study.id)
    assert after.spec is not None
    effective = ResolvedSpec.from_json(after.spec)
    notes = [
        f"budget.{name} cannot be {requested:g}: {least:g} given out already"
        for name in ("trials", "total_epochs", "gpu_seconds")
        if (requested := getattr(spec.budget, name)) != (least := getattr(effective.budget, name))
    ]
    notes += refusals.notes_on_queue(connection, after)
    changes = differences(before, effective)
    more = may_continue or extends(before, effective)
    return _apply(connection, after, changes, notes, may_continue=more)


def set_trials(connection: Connected, study: Study, max_trials: int | None) -> LaunchResult:
    """Set the number of trials of a study made through Optuna; it has no other budget."""
    if max_trials == study.max_trials:
        return LaunchResult(study, created=False)
    study_limits.set_limits(connection, study.id, Limits(max_trials=max_trials), None)
    after = studies.by_id(connection, study.id)
    notes, changes = [], []
    if after.max_trials != max_trials:
        notes.append(f"budget.trials cannot be {max_trials}: {after.max_trials} given out already")
    notes += refusals.notes_on_queue(connection, after)
    if after.max_trials != study.max_trials:
        old, new = study.max_trials or "not set", after.max_trials or "not set"
        changes.append(f"budget.trials: {old} → {new}")
    may_continue = bool(changes) and (
        study.max_trials is not None
        and (after.max_trials is None or after.max_trials > study.max_trials)
    )
    return _apply(connection, after, changes, notes, may_continue=may_continue)


def _apply(
    connection: Connected,
    study: Study,
    changes: Sequence[str],
    notes: Sequence[str],
    *,
    may_continue: bool,
) -> LaunchResult:
    """Activate or finish a study after its limits changed."""
    notes = list(notes)
    if study.state is StudyState.FINISHED:
        reason = _explain_end(connection, study) if may_continue else study.reason
        if may_continue and reason is None:
            studies.set_state(
                connection, study.id, StudyState.ACTIVE, allowed=[StudyState.FINISHED]
            )
        else:
            notes.append(f"the study stays finished: {visible(reason or 'it is over')}")
    elif study.state is StudyState.ACTIVE:  # its budget may be used up now
        lease = settings().lease_seconds
        serving.finish_if_done(connection, [study.id], lease=lease)
    return LaunchResult(
        studies.by_id(connection, study.id),
        created=False,
        changes=tuple(changes),
        notes=tuple(notes),
    )


def reactivate(connection: Connected, study: Study, units: int) -> None:
    """Let a study try what was just queued, which takes `units` of its budget of trials.

    StudyStateError if its budgets would prevent that: the caller's transaction rolls back.
    """
    reason = _explain_end(connection, study)
    if reason is not None and study.state in (StudyState.FINISHED, StudyState.ACTIVE):
        raise StudyStateError(reason)
    queued = trials.queued(connection, study.id) if units else 0
    if study.max_trials is not None and units and study.issued + queued > study.max_trials:
        raise StudyStateError(refusals.explain_given_out(study, "trials", queued))
    studies.set_state(connection, study.id, StudyState.ACTIVE, allowed=[StudyState.FINISHED])


def extend(connection: Connected, study: Study, max_trials: int) -> Study:
    """Raise a study's budget to `max_trials` trials in all."""
    if study.spec is None:
        return set_trials(connection, study, max_trials).study
    spec = ResolvedSpec.from_json(study.spec)
    budget = spec.budget.model_copy(update={"trials": max_trials})
    return set_limits(connection, study, spec.model_copy(update={"budget": budget})).study


def _explain_end(connection: Connected, study: Study) -> str | None:
    """Why workers would run nothing of the study even if it were active; None if they would.

    Whether the budget of trials suffices for what is queued is left to the caller.
    """
    budget = serving.used_up(connection, study.id, lease=settings().lease_seconds)
    if budget is not None:
        return refusals.explain_given_out(study, budget)
    if study.spec is None:
        return None
    spec = ResolvedSpec.from_json(study.spec)
    ends_early = spec.budget.target is not None or spec.budget.patience is not None
    is_counted = spec.sampler.name == "grid" or (
        spec.sampler.name is not None and spec.space.cells(MAX_CELLS) is not None
    )
    if not ends_early and (spec.sampler.repeat or not is_counted):
        return None
    # imports Optuna, which few commands need
    from tuner.search import cells, ending

    all_trials = feed.load(connection, study.id)
    reason = ending.reason_among(all_trials, spec.budget, study.direction)
    if reason is not None:
        return f"{reason}: {refusals.describe_extension(study, None)}"
    if spec.sampler.repeat or any(trial.state is TrialState.WAITING for trial in all_trials):
        return None
    used_up = cells.used_up_by(all_trials, spec)
    repeat = shell.command("change", study.name, "sampler.repeat=true")
    return None if used_up is None else f"{used_up}: `{repeat}` repeats them"
