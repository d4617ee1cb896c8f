"""What the samplers of a study file can be told, each in its section `sampler.options`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tuner.errors import SpecError
from tuner.study_file.code import check_class
from tuner.study_file.messages import problem
from tuner.study_file.parameters import MAX_POINTS
from tuner.study_file.plain import plain
from tuner.study_file.values import Flag, Real, Whole

MAX_POPULATION = 10_000

_Share = Annotated[Real, Field(ge=0, le=1)]
_Population = Annotated[Whole, Field(ge=4, le=MAX_POPULATION)]


class NoOptions(BaseModel):
    """Of a sampler without options."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TpeOptions(NoOptions):
    """Of the tree-structured Parzen estimators."""

    multivariate: Flag | None = Field(
        default=None, description="tpe: model parameters together (the default), or one by one."
    )
    group: Flag | None = Field(
        default=None,
        description="tpe: model conditional parameters in the groups in which they occur together; "
        "by default where the space has conditions.",
    )
    constant_liar: Flag = Field(
        default=True, description="tpe: keep away from the configurations of running trials."
    )
    n_ei_candidates: Whole = Field(
        default=24, ge=1, le=10_000, description="tpe: candidates of which the best is tried."
    )


class GpOptions(NoOptions):
    """Of the Gaussian process."""

    cost_aware: Flag = Field(
        default=True,
        description="gp: prefer configurations of shorter epochs where these differ much; measured "
        "times then have a part in what is drawn.",
    )


class GridOptions(NoOptions):
    """Of a grid."""

    points: Annotated[Whole, Field(ge=1, le=MAX_POINTS)] | None = Field(
        default=None,
        description="grid: number of values of each range without steps that states none itself.",
    )
    shuffle: Flag = Field(
        default=True,
        description="grid: try configurations in a random order; else the last parameter varies "
        "fastest.",
    )


class CmaesOptions(NoOptions):
    """Of the covariance matrix adaptation."""

    population_size: _Population | None = Field(
        default=None,
        description="cmaes, nsga2, nsga3: trials per generation; by default 4 + 3 ln(parameters) "
        "for cmaes, and 50 for nsga2 and nsga3.",
    )
    sigma: Annotated[Real, Field(gt=0, le=1)] = Field(
        default=0.25, description="cmaes: first standard deviation, as a share of each range."
    )


class GeneticOptions(NoOptions):
    """Of the genetic algorithms."""

    population_size: _Population = 50
    crossover: Literal["uniform", "blx_alpha", "sbx", "spx", "undx", "vsbx"] = Field(
        default="uniform",
        description="nsga2, nsga3: how numbers of two or three parents are mixed.",
    )
    crossover_probability: _Share = Field(
        default=0.9, description="nsga2, nsga3: share of children that have more than one parent."
    )
    swapping_probability: _Share = Field(
        default=0.5, description="nsga2, nsga3: share of the second parent in a uniform crossover."
    )
    mutation_probability: _Share | None = Field(
        default=None,
        description="nsga2, nsga3: probability that a parameter is drawn anew; by default 1 / "
        "parameters.",
    )


class Nsga3Options(GeneticOptions):
    """Of NSGA-III."""

    dividing_parameter: Whole = Field(
        default=3, ge=1, le=50, description="nsga3: density of the reference points."
    )


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a class as plain values; refuse those that no study file can hold.

    A section `{class: …, options: …}` stands for an object.
    """
    try:
        values: dict[str, Any] = plain(options)
    except SpecError as error:
        first = error.issues[0]
        raise problem(first.message, "options", *first.loc) from None
    for loc, path in _classes(values):
        if not isinstance(path, str):
            raise problem("must be text", "options", *loc)
        check_class(path)
    return values


def _classes(value: Any, loc: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        if loc and "class" in value:
            yield (*loc, "class"), value["class"]
        for key, inner in value.items():
            yield from _classes(inner, (*loc, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _classes(inner, (*loc, index))
