"""What may be changed of a study that exists: how long it goes on, where and with what it works."""

from collections.abc import Sequence

from pydantic import ValidationError

from tuner.errors import SpecError
from tuner.spec import overrides
from tuner.spec.resolved import ResolvedSpec
from tuner.spec.study import Budget, Resources
from tuner.spec.words import instead, issues, quoted

FIELDS = (
    *(f"budget.{name}" for name in Budget.model_fields if name != "epochs"),
    *(f"resources.{name}" for name in Resources.model_fields),
)


def is_changeable(field: str) -> bool:
    """Whether a field, or what is inside it, may have another value in a study that exists."""
    return any(field == known or field.startswith(f"{known}.") for known in FIELDS)


def changed(spec: ResolvedSpec, assignments: Sequence[str]) -> ResolvedSpec:
    """The study with `budget.trials=100` and the like set; SpecError with a line a problem."""
    fields = [assignment.partition("=")[0].strip() for assignment in assignments]
    refused = [field for field in fields if not is_changeable(field)]
    if refused:
        raise SpecError("\n".join(f"{quoted(f)} cannot be changed{_instead(f)}" for f in refused))
    data, _ = overrides.apply(spec.as_json(), {}, assignments, option="")
    try:
        return ResolvedSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError("\n".join(map(str, issues(error, ResolvedSpec)))) from None


def _instead(field: str) -> str:
    return instead(field, FIELDS, of="what can be is")
