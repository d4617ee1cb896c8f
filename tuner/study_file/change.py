"""What may change in an existing study: its budget, where it runs, and on which resources."""

from collections.abc import Sequence

from pydantic import ValidationError

from tuner.errors import SpecError
from tuner.study_file import overrides
from tuner.study_file.messages import instead, issues, quoted
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.study import Budget, Confirm, Resources

FIELDS = (
    *(f"budget.{name}" for name in Budget.model_fields if name not in ("epochs", "fidelity")),
    *(f"resources.{name}" for name in Resources.model_fields),
    *(f"confirm.{name}" for name in Confirm.model_fields),
    "sampler.repeat",
)


def is_changeable(field: str) -> bool:
    """Whether a field, or a field inside it, may change in an existing study."""
    # `confirm` can appear or disappear as a whole section
    return field == "confirm" or any(
        field == changeable or field.startswith(f"{changeable}.") for changeable in FIELDS
    )


def apply_changes(spec: ResolvedSpec, assignments: Sequence[str]) -> ResolvedSpec:
    """Return the study with assignments such as `budget.trials=100` applied.

    SpecError, with one line per problem.
    """
    fields = [assignment.partition("=")[0].strip() for assignment in assignments]
    refused = [field for field in fields if not is_changeable(field)]
    if refused:
        raise SpecError("\n".join(f"{quoted(f)} cannot be changed{_instead(f)}" for f in refused))
    data, _ = overrides.apply(spec.as_json(), {}, assignments, option="")
    try:
        return ResolvedSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError("\n".join(map(str, issues(error, ResolvedSpec)))) from None


def trials_of(assignments: Sequence[str]) -> int | None:
    """Return the total number of trials that `budget.trials=100` asks for, for an Optuna study.

    It is the only budget of a study without a study file; None means no limit. SpecError, one line
    per problem.
    """
    fields = [assignment.partition("=")[0].strip() for assignment in assignments]
    refused = [field for field in fields if field != "budget.trials"]
    if refused:
        reason = "the study was made through Optuna, and has `budget.trials` alone"
        raise SpecError("\n".join(f"{quoted(f)} cannot be changed: {reason}" for f in refused))
    data, _ = overrides.apply({}, {}, assignments, option="")
    if data["budget"]["trials"] is None:
        return None
    try:
        return Budget.model_validate(data["budget"]).trials
    except ValidationError as error:
        raise SpecError("\n".join(f"budget.{issue}" for issue in issues(error, Budget))) from None


def extends(before: ResolvedSpec, after: ResolvedSpec) -> bool:
    """Whether this change lets an ended study continue: one that only narrows it does not.

    A different target or patience may not be reached yet.
    """
    if after.sampler.repeat and not before.sampler.repeat:
        return True
    return any(
        _is_more(getattr(before.budget, name), getattr(after.budget, name))
        for name in ("trials", "total_epochs", "gpu_seconds", "hours")
    ) or any(
        getattr(before.budget, name) != getattr(after.budget, name)
        for name in ("target", "patience")
    )


def _is_more(before: float | None, after: float | None) -> bool:
    return before is not None and (after is None or after > before)


def _instead(field: str) -> str:
    return instead(field, FIELDS, of="what can be is")
