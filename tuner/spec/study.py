"""The study file as a frozen value: what to search, on what data, with what budget."""

import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tuner.spec.data import DataSpec
from tuner.spec.space import Range
from tuner.trials import Direction, ParamValue

NAME_LENGTH = 100  # characters

METRICS: dict[str, Direction] = {
    "accuracy": "maximize",
    "balanced_accuracy": "maximize",
    "f1_macro": "maximize",
    "log_loss": "minimize",
}


def check_name(name: str) -> str:
    """Refuse names that cannot stand in a path, a URL or a terminal; returns the name."""
    if not name.strip():
        raise ValueError("must not be empty")
    if len(name) > NAME_LENGTH:
        raise ValueError(f"has {len(name)} characters; {NAME_LENGTH} are allowed")
    if name != name.strip():
        raise ValueError("must not start or end with a space")
    if name[0] in ".-":
        raise ValueError(f"must not start with `{name[0]}`")
    for character in name:
        if character in "/\\":
            raise ValueError(f"must not contain `{character}`")
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"):
            raise ValueError(f"must not contain the control character U+{ord(character):04X}")
    return name


StudyName = Annotated[str, AfterValidator(check_name)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Objective(_Section):
    """What is optimized."""

    metric: str = Field(default="accuracy", description="One of the family's metrics.")
    direction: Direction | None = Field(
        default=None, description="`maximize` or `minimize`; by default what the metric means."
    )


class Budget(_Section):
    """When the study ends: whichever limit is reached first."""

    trials: int = Field(default=40, ge=1, le=1_000_000, description="Trials in all.")
    epochs: int = Field(default=10, ge=1, le=100_000, description="Epochs of a trial at most.")
    hours: float | None = Field(default=None, gt=0, description="Hours since the launch.")
    target: float | None = Field(default=None, description="Stop when the metric reaches this.")
    patience: int | None = Field(
        default=None, ge=1, description="Stop after so many finished trials without a new best."
    )
    max_failures: int = Field(
        default=5, ge=1, description="Pause after so many failures in a row from the same cause."
    )


class ParameterSpec(_Section):
    """A parameter as written in a file; what is left out comes from the family's default."""

    type: Literal["float", "int", "categorical"] | None = None
    low: int | float | None = None
    high: int | float | None = None
    log: bool | None = None
    step: int | float | None = None
    choices: tuple[ParamValue, ...] | None = None
    value: ParamValue = Field(default=None, description="Pins the parameter to this value.")
    when: dict[str, tuple[ParamValue, ...]] | None = None
    structural: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, given: Any) -> Any:
        """`lr: 0.1` pins; `lr: [0.1, 0.2]` lists choices; `when: {a: 1}` means `{a: [1]}`."""
        if isinstance(given, list | tuple):
            return {"choices": given}
        if isinstance(given, dict):
            when = given.get("when")
            if isinstance(when, dict):
                as_lists = {k: v if isinstance(v, list | tuple) else [v] for k, v in when.items()}
                return {**given, "when": as_lists}
            return given
        if isinstance(given, BaseModel):
            return given
        return {"value": given}


class Sampler(_Section):
    """How the next parameters are chosen."""

    name: Literal["tpe", "random", "gp", "cmaes", "qmc"] = "tpe"
    startup_trials: int = Field(default=10, ge=0, description="Random trials before the model.")

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given


class Pruner(_Section):
    """When a trial is ended early."""

    name: Literal["rungs", "median", "none"] = "rungs"
    min_epochs: int = Field(default=1, ge=1, description="No trial is pruned before.")
    reduction: int = Field(
        default=3, ge=2, le=100, description="rungs: the best 1/reduction of each rung go on."
    )
    startup_trials: int = Field(
        default=5, ge=1, description="Trials that must have reached an epoch before it decides."
    )

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given


class Training(_Section):
    """What holds for every trial and is not searched."""

    early_stop: int | None = Field(
        default=None, ge=1, description="End a trial after so many epochs without improvement."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="auto: bfloat16 where the device gains from it, else float32."
    )


class Resources(_Section):
    """What one trial may use."""

    workers: int | None = Field(
        default=None, ge=1, description="Executors that `tuner run` starts; by default by cores."
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads of a trial; by default cores / executors."
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_attempts: int = Field(
        default=3, ge=1, description="How often a trial whose worker died is tried in all."
    )


def _list_values(given: Any) -> Any:
    """`{optimizer: sgd}` means `{optimizer: [sgd]}` in a forbidden combination."""
    if not isinstance(given, list | tuple):
        return given
    out = []
    for combination in given:
        if isinstance(combination, dict):
            combination = {
                name: rule if isinstance(rule, dict | list | tuple | Range) else [rule]
                for name, rule in combination.items()
            }
        out.append(combination)
    return out


class StudySpec(_Section):
    """A study file."""

    name: StudyName
    family: str = Field(description="The model family; `tuner families` lists them.")
    data: DataSpec
    objective: Objective = Objective()
    budget: Budget = Budget()
    search: dict[str, ParameterSpec] = Field(
        default_factory=dict, description="Overrides of the family's default search space."
    )
    forbidden: tuple[dict[str, Range | tuple[ParamValue, ...]], ...] = ()
    sampler: Sampler = Sampler()
    pruner: Pruner = Pruner()
    training: Training = Training()
    resources: Resources = Resources()
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    enqueue: tuple[dict[str, ParamValue], ...] = Field(
        default=(), description="Configurations to try first; parameters left out are searched."
    )

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, given: Any) -> Any:
        if isinstance(given, dict) and "forbidden" in given:
            return {**given, "forbidden": _list_values(given["forbidden"])}
        return given
