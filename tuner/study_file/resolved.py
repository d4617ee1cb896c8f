"""The resolved study: what is stored in the database and what every worker rebuilds from there."""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from tuner.errors import SpecError, dotted
from tuner.study_file.code import Code
from tuner.study_file.data import DataSpec
from tuner.study_file.document import scalar
from tuner.study_file.messages import issues, problem, written
from tuner.study_file.space import Space
from tuner.study_file.study import Budget, Confirm, Pruner, Resources, Sampler, StudyName, Training
from tuner.study_file.values import MOST, Value, Whole
from tuner.trials import Direction, Limits


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SecondaryObjective(_Section):
    """What is optimized beside the first metric."""

    metric: str
    direction: Direction


class ResolvedObjective(_Section):
    """What is optimized; the directions are settled.

    The first metric is reported every epoch: it decides which epoch of a trial counts, when a trial
    is stuck, and what is the best trial. With others beside it, nothing is pruned.
    """

    metric: str
    direction: Direction
    secondary: tuple[SecondaryObjective, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all objectives."""
        return (self.metric, *(one.metric for one in self.secondary))

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Their directions."""
        return (self.direction, *(one.direction for one in self.secondary))

    def as_written(self) -> dict[str, Any]:
        """As a study file says it."""
        if not self.secondary:
            return {"metric": self.metric, "direction": self.direction}
        return {"metric": list(self.metrics), "direction": list(self.directions)}


class ResolvedBudget(Budget):
    """When the study ends; the epochs of a trial are settled, but where own code settles them."""

    epochs: Whole | None

    @model_validator(mode="after")
    def _check(self) -> "ResolvedBudget":
        total = self.total_epochs
        if total is not None and self.epochs is None:
            raise problem("needs `budget.epochs`, which a trial reserves", "total_epochs")
        if total is not None and total < (self.epochs or 0):
            sentence = f"must be at least the epochs of one trial ({self.epochs}), is {total}"
            raise problem(sentence, "total_epochs")
        return self


class ResolvedSpec(_Section):
    """A study with nothing left open: the whole search space, absolute paths, a direction."""

    name: StudyName
    family: str
    data: DataSpec | None  # None: own code reads its own
    code: Code | None = None
    objective: ResolvedObjective
    budget: ResolvedBudget
    space: Space
    sampler: Sampler
    pruner: Pruner
    training: Training
    resources: Resources
    confirm: Confirm | None = None  # what is done before the export; None: nothing
    seed: Whole
    enqueue: tuple[dict[str, Value], ...] = ()
    checkpoints: dict[str, str] = {}  # pretrained models → SHA-256 of their files at the launch

    @property
    def limits(self) -> Limits:
        """What a claim obeys."""
        return Limits(
            max_trials=self.budget.trials,
            hours=self.budget.hours,
            max_epochs=self.budget.total_epochs,
            max_seconds=self.budget.gpu_seconds,
            trial_epochs=self.budget.epochs,
            priority=self.resources.priority,
            max_concurrent=self.resources.max_concurrent,
            labels=self.resources.labels,
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values for the database; `from_json` gives an equal specification back."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "ResolvedSpec":
        """A stored specification; SpecError if another tuner wrote what this one cannot read."""
        try:
            return cls.model_validate(_with_floats(stored))
        except ValidationError as error:
            unknown = [e["loc"] for e in error.errors() if e["type"] == "extra_forbidden"]
            if unknown:
                raise SpecError(
                    f"The study was stored by a newer tuner: this one does not know "
                    f"{', '.join(dotted(loc) for loc in unknown)}. Upgrade tuner to work with it."
                ) from None
            first = issues(error, cls)[0]
            raise SpecError(
                f"The stored study cannot be read by this version of tuner: {first}"
            ) from None


def _with_floats(value: Any) -> Any:
    """Stored values with numbers beyond all whole ones as floats, for PostgreSQL has digits alone.

    It gives `1e30` back as a whole number of 31 digits, which no study file may have.
    """
    if isinstance(value, Mapping):
        return {key: _with_floats(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_floats(inner) for inner in value]
    if isinstance(value, int) and not -MOST <= value <= MOST:
        return float(value)
    return value


def differences(a: ResolvedSpec, b: ResolvedSpec, *, ignore: Collection[str] = ()) -> list[str]:
    """What differs, a line each: `search.learning_rate.high: 0.1 → 0.01`.

    `ignore` leaves out whole sections: a rerun may extend its budget, so
    `differences(a, b, ignore=["budget"])` tells whether anything else has changed.
    """
    left, right = _flat(a), _flat(b)
    out = []
    for key in dict.fromkeys((*left, *right)):
        section = key.split(".")[0].split("[")[0]
        before, after = left.get(key), right.get(key)
        if before != after and section not in ignore:
            out.append(f"{key}: {before or 'not set'} → {after or 'not set'}")
    return out


def _flat(spec: ResolvedSpec) -> dict[str, str]:
    """Every leaf as text under its dotted name, in the words of study files."""
    plain = spec.model_dump(mode="json", exclude={"space"})
    if spec.confirm is None:
        del plain["confirm"]
    out: dict[str, str] = {}
    _flatten(plain, "", out)
    for name, parameter in spec.space.parameters.items():
        fields = parameter.model_dump(mode="json", exclude={"type"})
        _flatten({"type": parameter.type, **fields}, f"search.{name}", out)
    for index, combination in enumerate(spec.space.model_dump(mode="json")["forbidden"]):
        _flatten(combination, f"forbidden[{index}]", out)
    return out


def _flatten(value: Any, name: str, out: dict[str, str]) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _flatten(inner, f"{name}.{key}" if name else str(key), out)
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        for index, inner in enumerate(value):
            _flatten(inner, f"{name}[{index}]", out)
    elif isinstance(value, list):
        out[name] = "[" + ", ".join(map(_leaf, value)) + "]"
    else:
        out[name] = _leaf(value)


def _leaf(value: Any) -> str:
    """As in a study file: text that would read as something else stands in quotes."""
    if isinstance(value, str) and not _is_text(value):
        return f'"{value}"'
    if isinstance(value, float):
        return repr(value)
    return written(value)


def _is_text(value: str) -> bool:
    try:
        return isinstance(scalar(value), str)
    except ValueError:
        return False
