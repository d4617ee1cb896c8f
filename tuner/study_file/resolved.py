"""The resolved study: stored in the database and rebuilt from there by every worker."""

from collections.abc import Collection, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from tuner.errors import SpecError, dotted
from tuner.study_file.code import Code
from tuner.study_file.data import DataSpec
from tuner.study_file.document import scalar
from tuner.study_file.messages import issues, problem, written
from tuner.study_file.space import Range, Space
from tuner.study_file.study import (
    Budget,
    Confirm,
    LearnFrom,
    Pruner,
    Resources,
    Sampler,
    StudyName,
    Training,
)
from tuner.study_file.values import MOST, Real, Value, Whole
from tuner.trials import Direction, Limits


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SecondaryObjective(_Section):
    """An objective beside the first metric."""

    metric: str
    direction: Direction


class ResolvedObjective(_Section):
    """What is optimized, with all directions known.

    The first metric is reported every epoch: it decides which epoch of a trial counts, when a trial
    is stuck, and which trial is best. Rungs compare trials by all objectives that are known there.
    """

    metric: str
    direction: Direction
    secondary: tuple[SecondaryObjective, ...] = ()
    reference: dict[str, Real] = {}  # objective → where the hypervolume is measured from

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all objectives."""
        return (self.metric, *(objective.metric for objective in self.secondary))

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions of all objectives."""
        return (self.direction, *(objective.direction for objective in self.secondary))

    def as_written(self) -> dict[str, Any]:
        """Return the section as a study file holds it."""
        if not self.secondary:
            return {"metric": self.metric, "direction": self.direction}
        written: dict[str, Any] = {
            "metric": list(self.metrics),
            "direction": list(self.directions),
        }
        return written | ({"reference": dict(self.reference)} if self.reference else {})


class ResolvedBudget(Budget):
    """When the study ends; the epochs per trial are known, except for user code."""

    epochs: Whole | None

    @model_validator(mode="after")
    def _check(self) -> "ResolvedBudget":
        total = self.total_epochs
        if total is not None and self.epochs is None:
            raise problem("needs `budget.epochs`, the epochs that a trial reserves", "total_epochs")
        if total is not None and total < (self.epochs or 0):
            sentence = f"must be at least the epochs of one trial ({self.epochs}), is {total}"
            raise problem(sentence, "total_epochs")
        return self


class ResolvedSpec(_Section):
    """A fully resolved study: the whole search space, absolute paths, directions."""

    name: StudyName
    family: str
    data: DataSpec | None  # None: user code reads its own
    code: Code | None = None
    classes: dict[Literal["sampler", "pruner"], Code] = {}  # that are not installed packages'
    objective: ResolvedObjective
    constraints: dict[str, Range] = {}  # metric or cost → its bounds
    budget: ResolvedBudget
    space: Space
    sampler: Sampler
    pruner: Pruner
    training: Training
    resources: Resources
    confirm: Confirm | None = None  # done before the export; None: no confirmation
    seed: Whole
    enqueue: tuple[dict[str, Value], ...] = ()
    learn_from: LearnFrom = ()  # as written; what was learned is stored beside the study
    checkpoints: dict[str, str] = {}  # pretrained model → SHA-256 of its files at launch

    @property
    def further_metrics(self) -> tuple[str, ...]:
        """What is measured of trials beside the first metric: objectives and what is bounded."""
        names = dict.fromkeys([*self.objective.metrics, *self.constraints])
        return tuple(name for name in names if name != self.objective.metric)

    @property
    def fidelities(self) -> tuple[float, ...]:
        """The levels of `budget.fidelity` that a trial goes through; empty without it."""
        fidelity = self.budget.fidelity
        return () if fidelity is None else fidelity.levels(self.pruner.ratio)

    @property
    def last_step(self) -> int | None:
        """The last step that a trial reports: an epoch, or a level of fidelity; None if unknown."""
        return len(self.fidelities) or self.budget.epochs

    @property
    def has_classes(self) -> bool:
        """Whether its sampler or pruner is a class that its file names."""
        return self.sampler.class_name is not None or self.pruner.class_name is not None

    @property
    def limits(self) -> Limits:
        """Return the limits that claims obey."""
        return Limits(
            max_trials=self.budget.trials,
            hours=self.budget.hours,
            max_epochs=self.budget.total_epochs,
            max_seconds=self.budget.gpu_seconds,
            trial_epochs=self.last_step,
            priority=self.resources.priority,
            max_concurrent=self.resources.max_concurrent,
            labels=self.resources.labels,
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain values for the database; `from_json` returns an equal specification."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "ResolvedSpec":
        """Read a stored specification; SpecError if this version cannot read it."""
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
    """Return stored values with huge whole numbers as floats, since jsonb keeps digits only.

    PostgreSQL returns `1e30` as a whole number of 31 digits, which no study file may contain.
    """
    if isinstance(value, Mapping):
        return {key: _with_floats(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_floats(inner) for inner in value]
    if isinstance(value, int) and not -MOST <= value <= MOST:
        return float(value)
    return value


def differences(a: ResolvedSpec, b: ResolvedSpec, *, ignore: Collection[str] = ()) -> list[str]:
    """Return the differences, one line each: `search.learning_rate.high: 0.1 → 0.01`.

    `ignore` leaves out whole sections: a rerun may extend its budget, so
    `differences(a, b, ignore=["budget"])` returns what else has changed.
    """
    old, right = _flat(a), _flat(b)
    out = []
    for key in dict.fromkeys((*old, *right)):
        section = key.split(".")[0].split("[")[0]
        before, after = old.get(key), right.get(key)
        if before != after and section not in ignore:
            out.append(f"{key}: {before or 'not set'} → {after or 'not set'}")
    return out


def _flat(spec: ResolvedSpec) -> dict[str, str]:
    """Return every leaf as text under its dotted name, with the keys of study files."""
    plain = spec.model_dump(mode="json", exclude={"space": True, "sampler": {"reason"}})
    if spec.confirm is None:
        del plain["confirm"]
    out: dict[str, str] = {}
    _flatten(plain, "", out)
    for name, parameter in spec.space.parameters.items():
        fields = {
            key: value
            for key, value in parameter.model_dump(mode="json", exclude={"type"}).items()
            if value is not None or key == "value"
        }
        if "prior" not in fields:
            fields.pop("prior_strength", None)
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
    """Write a value as in a study file: quote text that would read as something else."""
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
