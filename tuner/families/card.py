"""A family's card, `families/NAME.yaml`: what it is for, its metrics, its default search space.

It is written in the language of study files. Every process reads cards; the code beside them
(`code.py`) is loaded by executors alone, so the command line and the workers' own processes never
import torch.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tuner.study_file.code import USER_CODE_FAMILIES
from tuner.study_file.data import CORPORA, DataSpec
from tuner.study_file.limits import COMMON, Limit
from tuner.study_file.merge import complete
from tuner.study_file.messages import one_of, quoted
from tuner.study_file.parameters import FixedParameter, IntParameter, Parameter
from tuner.study_file.resolve import fit_possible
from tuner.study_file.space import Space
from tuner.trials import COSTS, LATENCY, ParamValue

PREDICTORS = ("bags", "images", "pairs", "texts", "vectors")  # of `families/bundle/predict`
DataKind = Literal["images", "text", "corpus", "pairs"]
OF_CLASSES = ("label_smoothing", "class_weights")  # parameters without a meaning for numbers


class Card(BaseModel):
    """A family's card."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    module: str = Field(description="Import path of the family's code; beside the card.")
    summary: str = Field(description="One sentence.")
    reference: str = Field(description="The paper or documentation that it follows.")
    data: tuple[DataKind, ...] = Field(
        default=(),
        description="Kinds of data that it learns from; empty for user code, which reads its own.",
    )
    vectors: bool = Field(
        default=False, description="Its weights are word vectors, which other studies can use."
    )
    predictor: str | None = Field(
        default=None,
        description="The module that predicts with its bundles: of `families/bundle/predict`, or "
        "by its whole import path.",
    )
    no_onnx: str | None = Field(
        default=None,
        description="Why its bundles cannot hold a `model.onnx`, as a clause; by default they can.",
    )
    metrics: tuple[str, ...] = Field(
        default=(),
        description="The first is the default; empty for user code, whose study names its metric.",
    )
    metrics_with_labels: tuple[str, ...] = Field(
        default=(), description="Used instead of `metrics` if the data has labels."
    )
    metrics_of_numbers: tuple[str, ...] = Field(
        default=(),
        description="Used instead of `metrics` for regression, if the family supports it.",
    )
    epochs: int | None = Field(
        default=None, ge=1, description="The usual number of epochs of a trial."
    )
    min_epochs: int = Field(
        default=1, ge=1, description="Trials are not pruned before this epoch: they say too little."
    )
    search: dict[str, Parameter] = Field(default_factory=dict)
    search_with_vectors: dict[str, Parameter] = Field(
        default_factory=dict, description="Overrides `search` if the data names word vectors."
    )
    first: dict[str, ParamValue] = Field(
        default_factory=dict,
        description="The configuration that a study starts with; the rest is drawn.",
    )
    also: dict[str, tuple[ParamValue, ...]] = Field(
        default_factory=dict,
        description="Choices that are supported but not searched by default.",
    )
    file_parameters: tuple[str, ...] = Field(
        default=(), description="Parameters whose values name files or folders."
    )
    limits: dict[str, Limit] = Field(
        default_factory=dict,
        description="Hard limits of parameters that differ from `study_file.limits`.",
    )

    @field_validator("data", mode="before")
    @classmethod
    def _as_tuple(cls, kinds: Any) -> Any:
        if not isinstance(kinds, str):
            return kinds
        if kinds not in get_args(DataKind):  # here, since the user has written no list
            raise ValueError(one_of(kinds, get_args(DataKind)))
        return (kinds,)

    @field_validator("search", "search_with_vectors", mode="before")
    @classmethod
    def _complete_shorthands(cls, search: Any) -> Any:
        """Expand the shorthands of study files: `batch_size: [32, 64]`, `dropout: 0.1`."""
        if not isinstance(search, Mapping):
            return search
        return {name: complete(str(name), entry) for name, entry in search.items()}

    @field_validator("predictor")
    @classmethod
    def _exists(cls, predictor: str | None) -> str | None:
        if predictor is None or "." in predictor or predictor in PREDICTORS:
            return predictor
        raise ValueError(
            f"must be {', '.join(PREDICTORS)} or the whole import path of a module, "
            f"is {quoted(predictor)}"
        )

    @model_validator(mode="after")
    def _check(self) -> "Card":
        needed = self.data, self.predictor, self.metrics, self.epochs, self.search
        if not self.is_user_code and not all(needed):
            raise ValueError("needs `data`, `predictor`, `metrics`, `epochs` and `search`")
        # conditions must name parameters of the card, without a circle
        if self.first != fit_possible(self.first, Space(parameters=self.search)):
            raise ValueError("`first` must be a configuration of `search`")
        Space(parameters=self.search | self.search_with_vectors)
        return self

    @property
    def is_user_code(self) -> bool:
        """Whether the study file brings the code, the search space and the metric."""
        return self.name in USER_CODE_FAMILIES

    def defaults(self, data: DataSpec | None, epochs: int | None) -> Mapping[str, Parameter]:
        """Return the default search space for this data and budget.

        A family that searches `epochs` searches up to the budget's.
        """
        has_vectors = data is not None and data.vectors is not None
        space = self.search | (self.search_with_vectors if has_vectors else {})
        if data is not None and data.is_regression:
            space = {name: p for name, p in space.items() if name not in OF_CLASSES}
        searched = space.get("epochs")
        if epochs is None or not isinstance(searched, IntParameter):
            return space
        if epochs <= searched.low:
            return space | {"epochs": FixedParameter(value=epochs)}
        return space | {"epochs": searched.model_copy(update={"high": epochs})}

    def measured(self, data: DataSpec | None) -> tuple[str, ...]:
        """Return the metrics for this data; the first is the default."""
        if data is not None and data.is_regression:
            return self.metrics_of_numbers
        has_labels = data is not None and data.source not in CORPORA
        return (has_labels and self.metrics_with_labels) or self.metrics

    @property
    def space(self) -> Space:
        """The default search space, parents before the parameters that depend on them."""
        return Space(parameters=self.search)

    @property
    def hard_limits(self) -> Mapping[str, Limit]:
        """The limits of its parameters; unknown for user code."""
        return {} if self.is_user_code else {**COMMON, **self.limits}

    @property
    def costs(self) -> tuple[str, ...]:
        """What tuner measures of its trials: word vectors are looked up, which takes no time."""
        return tuple(name for name in COSTS if not (self.vectors and name == LATENCY))

    @property
    def open(self) -> tuple[str, ...]:
        """Parameters of which only the user knows the values, as pretrained models."""
        return tuple(
            name
            for name, parameter in self.search.items()
            if isinstance(parameter, FixedParameter) and parameter.value is None
        )

    @property
    def predictor_module(self) -> str | None:
        """Import path of the module that the bundles' `predict.py` is made of."""
        if self.predictor is None or "." in self.predictor:
            return self.predictor
        return f"tuner.families.bundle.predict.{self.predictor}"
