"""The study file as a frozen value: what to search, on what data, with what budget."""

import math
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from tuner.study_file.code import USER_CODE_FAMILIES, check_class, check_function, words_of
from tuner.study_file.data import DataSpec
from tuner.study_file.messages import a, first_problem, problem
from tuner.study_file.parameters import MAX_POINTS, MAX_STRENGTH, PRIOR_STRENGTH
from tuner.study_file.sampler_options import NoOptions, plain_options
from tuner.study_file.samplers import OF_A_CLASS, SAMPLERS, SamplerCard, SamplerName
from tuner.study_file.space import Combination, Range
from tuner.study_file.values import (
    FilePath,
    Flag,
    Label,
    Number,
    Real,
    Value,
    Whole,
    one_or_several,
    some,
)
from tuner.trials import COSTS, Direction

NAME_LENGTH = 100  # characters
MAX_HOURS = 10_000_000  # so that every program can represent the date of the study's end
MAX_EXECUTORS = 1024  # a typo must not start more processes than a machine can hold
MAX_THREADS = 1024

METRICS: dict[str, Direction] = {
    "accuracy": "maximize",
    "balanced_accuracy": "maximize",
    "f1_macro": "maximize",
    "f1_micro": "maximize",
    "precision_macro": "maximize",
    "recall_macro": "maximize",
    "roc_auc": "maximize",
    "log_loss": "minimize",
    "probe_accuracy": "maximize",
    "gap_accuracy": "maximize",
    "word_similarity": "maximize",
    "analogy_accuracy": "maximize",
    "exact_match": "maximize",
    "token_error_rate": "minimize",
    "edit_distance": "minimize",
    "perplexity": "minimize",
    "bleu": "maximize",
    "chrf": "maximize",
    **dict.fromkeys(("rmse", "mae"), "minimize"),
    "r2": "maximize",
    "mse": "minimize",  # of user code
    **dict.fromkeys(COSTS, "minimize"),
}

# The start of the name of a metric that a constraint can bound: how many examples of a class are
# classified right, as `accuracy_class_3`.
CLASS_ACCURACY = "accuracy_class_"

_ANY = (-math.inf, math.inf)
_RANGES: dict[str, tuple[float, float]] = {
    **{name: (0.0, math.inf) for name, direction in METRICS.items() if direction == "minimize"},
    **{name: (0.0, 1.0) for name, direction in METRICS.items() if direction == "maximize"},
    "perplexity": (1.0, math.inf),
    "word_similarity": (-1.0, 1.0),  # a rank correlation
    "r2": (-math.inf, 1.0),
    **dict.fromkeys(("bleu", "chrf"), (0.0, 100.0)),
}


def metric_range(name: str) -> tuple[float, float]:
    """Return the range of a metric's values; unbounded if tuner does not know the metric."""
    return (0.0, 1.0) if name.startswith(CLASS_ACCURACY) else _RANGES.get(name, _ANY)


def check_name(name: str) -> str:
    """Return the name; refuse names that do not fit in a path, a URL or a terminal."""
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


StudyName = Annotated[
    str,
    AfterValidator(check_name),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": NAME_LENGTH,
            "pattern": r"^(?![-.\s])[^/\\\u0000-\u001f\u007f-\u009f]*[^/\\\s]$",
        }
    ),
]


AUTO = "auto"  # in place of a study's name: whatever is related
MAX_PAST_STUDIES = 8


def _past_studies(names: tuple[str, ...]) -> tuple[str, ...]:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise problem(f"names `{name}` twice", place)
    if AUTO in names and len(names) > 1:
        raise problem("must be `auto` alone, or the names of studies without it")
    if len(names) > MAX_PAST_STUDIES:
        raise problem(f"must name at most {MAX_PAST_STUDIES} studies, names {len(names)}")
    return names


LearnFrom = Annotated[
    tuple[StudyName, ...], BeforeValidator(one_or_several), AfterValidator(_past_studies)
]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


DATA_FIDELITY = "data"
ADAPTIVE_RATIO = 3  # of the rungs that `reduction: auto` chooses among
MAX_RISE = 1_000_000  # from the lowest level of a fidelity to the highest


def check_fidelity(name: str) -> str:
    """Return the name of a fidelity; refuse what no program could use as a name."""
    if not name.isidentifier():
        raise ValueError("must be a name of letters, digits and `_`")
    return name


T = TypeVar("T")
_Several = Annotated[tuple[T, ...], AfterValidator(some)]


class Objective(_Section):
    """What is optimized."""

    metric: Annotated[_Several[str] | None, BeforeValidator(one_or_several)] = Field(
        default=None,
        description="One of the family's metrics, by default its first; or a list: that metric, "
        "and others to optimize beside it.",
    )
    direction: Annotated[_Several[Direction] | None, BeforeValidator(one_or_several)] = Field(
        default=None,
        description="`maximize` or `minimize`, a list where `metric` is one; by default what the "
        "metric means.",
    )
    reference: dict[str, Real] = Field(
        default={},
        description="With several metrics: the point that the hypervolume is measured from; by "
        "default it follows from the first ten complete trials.",
    )


class Fidelity(_Section):
    """What trials are given little of until they have shown that they are worth more."""

    name: Annotated[str, AfterValidator(check_fidelity)] = Field(
        default=DATA_FIDELITY,
        description="`data`: share of the training examples; for user code, whatever it makes of "
        "`trial.fidelity`.",
    )
    low: Annotated[Number, Field(gt=0)] = Field(
        default=0.1, description="The least that a trial is compared at."
    )
    high: Annotated[Number, Field(gt=0)] = Field(
        default=1, description="The whole, of which alone values count."
    )

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, section: Any) -> Any:
        return {"name": section} if isinstance(section, str) else section

    @model_validator(mode="after")
    def _check(self) -> "Fidelity":
        if self.low > self.high:
            raise problem(f"must be at most high ({self.high:g}), is {self.low:g}", "low")
        if self.high > MAX_RISE * self.low:
            least = self.high / MAX_RISE
            raise problem(
                f"must be at least {least:g}, a millionth of high, is {self.low:g}", "low"
            )
        return self

    def levels(self, reduction: int) -> tuple[float, ...]:
        """Return the levels, each `reduction` times the one before; the last one is the whole.

        Whole numbers if both ends are written as such.
        """
        levels: list[float] = [self.high]
        while (level := self.high / reduction ** len(levels)) >= self.low * (1 - 1e-9):
            levels.append(level)
        if isinstance(self.low, int) and isinstance(self.high, int):
            levels = [max(self.low, round(level)) for level in levels]
        return tuple(sorted(set(levels)))


class Budget(_Section):
    """When the study ends: whichever limit is reached first."""

    trials: Whole = Field(default=40, ge=1, le=1_000_000, description="Trials in all.")
    epochs: Annotated[Whole, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="Maximum epochs per trial; by default the family's usual number."
    )
    hours: Annotated[Real, Field(gt=0, le=MAX_HOURS)] | None = Field(
        default=None, description="Hours since the launch."
    )
    total_epochs: Annotated[Whole, Field(ge=1, le=10**12)] | None = Field(
        default=None, description="Total epochs of all trials."
    )
    gpu_seconds: Annotated[Real, Field(gt=0, le=1e12)] | None = Field(
        default=None, description="Total seconds that all trials may hold their devices."
    )
    target: Real | None = Field(default=None, description="Stop when the metric reaches this.")
    patience: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None, description="Stop after this many finished trials without a new best."
    )
    max_failures: Whole = Field(
        default=5, ge=1, description="Pause after this many failures in a row with the same cause."
    )
    fidelity: Fidelity | None = Field(
        default=None,
        description="What trials are given little of at first, instead of few epochs.",
    )

    @property
    def whole_fidelity(self) -> Fidelity | None:
        """The fidelity of a study whose trials begin with the whole of it."""
        if self.fidelity is None:
            return None
        return self.fidelity.model_copy(update={"low": self.fidelity.high})


_PRIOR = ("prior", "prior_strength")
# key of a parameter → keys that have no meaning beside it
EXCLUDED_BY = {
    "value": ("type", "low", "high", "log", "step", "points", "choices", *_PRIOR),
    "choices": ("low", "high", "log", "step", "points", "value"),
    **dict.fromkeys(("low", "high", "log", "step", "points"), ("value", "choices")),
}


class ParameterSpec(_Section):
    """A parameter as written in a file; the family's default fills in the rest."""

    type: Literal["float", "int", "categorical"] | None = None
    low: Number | None = None
    high: Number | None = None
    log: Flag | None = None
    step: Number | None = None
    points: Annotated[Whole, Field(ge=1, le=MAX_POINTS)] | None = Field(
        default=None, description="grid: number of values, at equal distances on the scale."
    )
    choices: tuple[Value, ...] | None = None
    value: Value = Field(default=None, description="Pins the parameter to this value.")
    when: dict[str, Annotated[tuple[Value, ...], AfterValidator(some)]] | None = None
    structural: Flag | None = None
    prior: Value = Field(
        default=None, description="Where you expect the best value; searched first, and most."
    )
    prior_strength: Annotated[Real, Field(gt=0, le=MAX_STRENGTH)] | None = Field(
        default=None,
        description="Number of trials up to which the prior counts fully; it fades after them. "
        f"By default {PRIOR_STRENGTH:g}.",
    )

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, parameter: Any) -> Any:
        """`lr: 0.1` pins; `lr: [0.1, 0.2]` lists choices; `when: {a: 1}` means `{a: [1]}`.

        `type: fixed` beside a value, as `tuner families --json` shows it, adds nothing.
        """
        if isinstance(parameter, list | tuple):
            return {"choices": parameter}
        if isinstance(parameter, Mapping):
            parameter = dict(parameter)
            when = parameter.get("when")
            if isinstance(when, Mapping):
                parameter["when"] = {
                    k: v if isinstance(v, list | tuple) else [v] for k, v in when.items()
                }
            if parameter.get("type") == "fixed" and "value" in parameter:
                del parameter["type"]
            return parameter
        if isinstance(parameter, BaseModel):
            return parameter
        if parameter is None:
            raise problem("is empty; give a value, a list of choices or a range")
        return {"value": parameter}

    @model_validator(mode="after")
    def _check(self) -> "ParameterSpec":
        keys = self.keys
        for first, meaning in (("value", "pins the parameter"), ("choices", "lists its values")):
            other = next((k for k in keys if k in EXCLUDED_BY[first]), None)
            if first in keys and other is not None:
                raise problem(f"`{first}` {meaning}, so this has no meaning; remove it", other)
        if self.choices is not None:
            if not self.choices:
                raise problem("must have at least one value", "choices")
            if self.type in ("float", "int"):
                raise problem("must be categorical or left out with `choices`", "type")
        if self.prior_strength is not None and self.prior is None:
            sentence = "has no meaning without `prior`; name the value to expect"
            raise problem(sentence, "prior_strength")
        ranged = next((k for k in keys if k in EXCLUDED_BY and k not in ("value", "choices")), None)
        if self.type == "categorical" and ranged is not None:
            raise problem("has no meaning with `type: categorical`; remove it", ranged)
        return self

    @property
    def keys(self) -> list[str]:
        """The keys present in the file; null only counts for `value`, which it pins."""
        return [
            key
            for key in type(self).model_fields
            if key in self.model_fields_set and (key == "value" or getattr(self, key) is not None)
        ]


class _Replaceable(_Section):
    """A section that names one of tuner's own, or a class."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True
    )

    class_name: Annotated[str, AfterValidator(check_class)] | None = Field(
        default=None,
        alias="class",
        description="A class of Optuna's kind instead of a name, as `package.module:Class`; "
        "`optunahub:samplers/NAME` loads one from OptunaHub.",
    )

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, section: Any) -> Any:
        if isinstance(section, str):
            section = {"class": section} if ":" in section else {"name": section}
        elif not isinstance(section, Mapping | BaseModel):
            raise problem(f"must be a name, a class or a section, is {a(section)}")
        if isinstance(section, Mapping) and section.get("class") is not None:
            if section.get("name") is not None:
                raise problem("has no meaning beside `name`; remove one of them", "class")
            return {**section, "name": None}
        return section


class SamplerSection(_Replaceable):
    """How the next parameters are chosen, as a study file says it."""

    name: Literal["auto", SamplerName] | None = Field(
        default="auto",
        description="auto: chosen by the space, the metrics and the budget; tpe: tree-structured "
        "Parzen estimators; gp: a Gaussian process that learns from pruned and running trials too; "
        "cmaes: covariance matrix adaptation; nsga2, nsga3: genetic algorithms; qmc: a scrambled "
        "Sobol sequence; random: independent draws; grid: every combination.",
    )
    options: dict[str, Any] = Field(
        default={}, description="What the sampler can be told; each has options of its own."
    )
    startup_trials: Whole = Field(default=10, ge=0, description="Random trials before the model.")
    default_first: Flag = Field(
        default=True,
        description="tpe, gp: start with the family's default configuration, if it has one.",
    )

    repeat: Flag = Field(
        default=False,
        description="Repeat configurations once all of a small space were tried; "
        "by default the study ends.",
    )

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        if self.class_name is None and self.name is None:
            raise problem("is missing", "name")
        if self.name is None:
            object.__setattr__(self, "options", plain_options(self.options))
            return self
        if self.name == "auto" and self.options:
            sentence = "belong to one sampler, and `auto` chooses it: name it beside them"
            raise problem(sentence, "options")
        try:
            checked = self.checked_options
        except ValidationError as error:
            raise first_problem(error, self._options_model, "options") from None
        object.__setattr__(self, "options", checked.model_dump(exclude_unset=True))
        return self

    @property
    def checked_options(self) -> NoOptions:
        """The options as its sampler reads them; a class has its own."""
        return (
            NoOptions() if self.name is None else self._options_model.model_validate(self.options)
        )

    @property
    def _options_model(self) -> type[NoOptions]:
        return (
            NoOptions if self.name is None or self.name == "auto" else SAMPLERS[self.name].options
        )


class Sampler(SamplerSection):
    """How the next parameters of a study are chosen."""

    name: SamplerName | None = "tpe"  # which stored studies mean that name none
    reason: str | None = Field(default=None, description="Why it was chosen; None: by the user.")

    @property
    def card(self) -> SamplerCard:
        """What is known of it."""
        return OF_A_CLASS if self.name is None else SAMPLERS[self.name]

    @property
    def label(self) -> str:
        """Its name, or the path of its class."""
        return self.name or str(self.class_name)

    @property
    def evolves(self) -> bool:
        """Whether it learns from one generation of trials after the other."""
        return self.card.evolves

    @property
    def learns(self) -> bool:
        """Whether it learns from earlier trials."""
        return self.card.learns

    @property
    def reads_curves(self) -> bool:
        """Whether it learns from the reports of trials that have no final value."""
        return self.card.reads_curves


class Pruner(_Replaceable):
    """When a trial is ended early."""

    name: Literal["rungs", "hyperband", "curves", "median", "none"] | None = "rungs"
    options: dict[str, Any] = Field(default={}, description="Arguments of the pruner's class.")
    min_epochs: Literal["auto"] | Annotated[Whole, Field(ge=1)] = Field(
        default=1,
        description="No trial is pruned before this epoch. auto: the first rung that pays, by what "
        "earlier trials have shown.",
    )
    reduction: Literal["auto"] | Annotated[Whole, Field(ge=2, le=100)] = Field(
        default=3,
        description="rungs, hyperband: the best 1/reduction of each rung continue. auto: which "
        "further rungs pay, and so how many continue, by what earlier trials have shown.",
    )
    startup_trials: Whole = Field(
        default=5,
        ge=1,
        description="Trials that must have reached an epoch before any is pruned there.",
    )
    resume: Flag = Field(
        default=False,
        description="rungs, hyperband: pause a trial at its rung instead of pruning it, and resume "
        "it when it turns out to be among the best.",
    )

    @model_validator(mode="after")
    def _check_options(self) -> "Pruner":
        if self.class_name is None and self.name is None:
            raise problem("is missing", "name")
        if self.class_name is None and self.options:
            raise problem("are the arguments of a `class`; remove them", "options")
        object.__setattr__(self, "options", plain_options(self.options))
        return self

    @property
    def label(self) -> str:
        """Its name, or the path of its class."""
        return self.name or str(self.class_name)

    @property
    def is_adaptive(self) -> bool:
        """Whether rungs follow from what trials have shown."""
        return self.name == "rungs" and "auto" in (self.min_epochs, self.reduction)

    @property
    def first_rung(self) -> int:
        """The lowest step at which a trial may be pruned."""
        return 1 if self.min_epochs == "auto" else self.min_epochs

    @property
    def ratio(self) -> int:
        """The ratio of two possible rungs."""
        return ADAPTIVE_RATIO if self.reduction == "auto" else self.reduction

    @model_validator(mode="after")
    def _chooses_rungs(self) -> "Pruner":
        for field in ("min_epochs", "reduction"):
            if getattr(self, field) == "auto" and (self.name != "rungs" or self.resume):
                beside = "`resume: true`" if self.resume else f"`{self.label}`"
                raise problem(
                    f"cannot be auto with {beside}, only with `rungs` that prune at once", field
                )
        return self

    @model_validator(mode="after")
    def _has_rungs(self) -> "Pruner":
        if self.resume and self.name not in ("rungs", "hyperband"):
            raise problem(
                f"needs rungs, and `{self.label}` has none; use rungs or hyperband", "resume"
            )
        return self


class Training(_Section):
    """Settings of every trial that are not searched."""

    early_stop: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None, description="End a trial after this many epochs without improvement."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="auto: bfloat16 where the device benefits, else float32."
    )
    seed: Annotated[Whole, Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None,
        description="Seed of initialization, shuffling and dropout, the same in every trial; by "
        "default each trial has its own, which follows from the study's seed and its number.",
    )


class Resources(_Section):
    """The resources of trials and workers."""

    workers: Annotated[Whole, Field(ge=1, le=MAX_EXECUTORS)] | None = Field(
        default=None,
        description="Executors that `tuner run` starts; by default chosen by the number of cores.",
    )
    threads: Annotated[Whole, Field(ge=1, le=MAX_THREADS)] | None = Field(
        default=None, description="CPU threads per trial; by default cores / executors."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    per_gpu: Literal["auto"] | Annotated[Whole, Field(ge=1, le=16)] = Field(
        default=1,
        description="Concurrent trials per GPU; auto: as many as fit in its memory, by "
        "what earlier trials have taken.",
    )
    memory: Annotated[Real, Field(gt=0)] | None = Field(
        default=None,
        description="GiB of memory per trial; pretrained checkpoints that need more "
        "are left out. By default 80 % of the machine's memory, divided among the executors.",
    )
    epoch_seconds: Annotated[Real, Field(gt=0)] | None = Field(
        default=None,
        description="Seconds per epoch; pretrained checkpoints that need more are left out.",
    )
    max_attempts: Whole = Field(
        default=3,
        ge=1,
        description="How many times a trial is attempted in total if its worker dies.",
    )
    timeout_seconds: Annotated[Real, Field(gt=0)] | None = Field(
        default=None, description="Seconds per attempt, after which the trial fails."
    )
    silence_seconds: Annotated[Real, Field(gt=0)] | None = Field(
        default=3600.0,
        description="Seconds without a report after which the trial fails.",
    )
    priority: Annotated[Whole, Field(ge=-1_000, le=1_000)] = Field(
        default=0, description="Workers serve studies of a higher priority first."
    )
    max_concurrent: Annotated[Whole, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="Maximum concurrent trials on all machines."
    )
    labels: dict[Label, Label] = Field(
        default={}, description="Only workers with these labels serve the study."
    )


class Confirm(_Section):
    """How the leading configurations are retrained with fresh seeds, which picks the winner."""

    top: Annotated[Whole, Field(ge=1, le=1_000)] = Field(
        default=5, description="How many of the best configurations to retrain."
    )
    seeds: Annotated[Whole, Field(ge=2, le=1_000)] = Field(
        default=5,
        description="Maximum trainings per configuration, all with the same seeds; with fewer than "
        "three, no differences can be shown.",
    )
    margin: Annotated[Real, Field(ge=0)] | None = Field(
        default=None,
        description="A cheaper configuration wins if it is shown to be worse by no more than this, "
        "in units of the metric; by default one standard error of the best mean.",
    )


class StudySpec(_Section):
    """A study file."""

    name: StudyName = Field(description="Names the study everywhere; unique in the database.")
    family: str = Field(description="The model family; `tuner families` lists them.")
    function: Annotated[str, AfterValidator(check_function)] | None = Field(
        default=None,
        validate_default=True,
        description="Family `function`: `module:function`, which is called with a tuner.Trial.",
    )
    command: Annotated[tuple[str, ...], BeforeValidator(words_of)] | None = Field(
        default=None,
        validate_default=True,
        description="Family `command`: its words; `{name}` is a parameter, `{arguments}` are all.",
    )
    folder: FilePath | None = Field(
        default=None, description="Where user code lies and runs; by default the file's folder."
    )
    data: DataSpec | None = Field(default=None, validate_default=True)
    objective: Objective = Objective()
    budget: Budget = Budget()
    search: dict[str, ParameterSpec] = Field(
        default_factory=dict, description="Overrides of the family's default search space."
    )
    forbidden: tuple[Combination, ...] = Field(
        default=(), description="Combinations that are never tried."
    )
    constraints: dict[str, Range] = Field(
        default={},
        description="Metrics and costs that must be `above` or `below` a bound; a trial whose are "
        "not is never the best.",
    )
    sampler: SamplerSection = SamplerSection()
    pruner: Pruner = Pruner()
    training: Training = Training()
    resources: Resources = Resources()
    confirm: Confirm | None = Field(
        default=None,
        description="`tuner run` confirms the winner before it exports it; `{}` with the defaults.",
    )
    seed: Whole = Field(default=0, ge=0, le=2**31 - 1)
    enqueue: tuple[dict[str, Value], ...] = Field(
        default=(), description="Configurations to try first; parameters left out are searched."
    )
    learn_from: LearnFrom = Field(
        default=(),
        description="Earlier studies to start from, or `auto`: those of the same family and "
        "metric on other data.",
    )

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, sections: Any) -> Any:
        """Treat a section whose lines are all commented out as missing."""
        if isinstance(sections, Mapping):
            return {k: v for k, v in sections.items() if v is not None or k not in cls.model_fields}
        return sections

    @field_validator("function", "command", "folder", "data")
    @classmethod
    def _as_the_family_needs(cls, section: Any, info: ValidationInfo) -> Any:
        """Require user code or data, as the family needs; user code reads its own data."""
        family = info.data.get("family")
        if family is None:  # reported already
            return section
        name = str(info.field_name)
        needed = family == name or (name == "data" and family not in USER_CODE_FAMILIES)
        if section is None and needed:
            raise problem("is missing")
        if (
            section is not None
            and not needed
            and not (name == "folder" and family in USER_CODE_FAMILIES)
        ):
            raise problem(f"has no meaning with `family: {family}`; remove it")
        return section
