"""The samplers that a study file can name. `search/samplers/NAME.py` holds the code of each.

To add one, name it in both places here and write its module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tuner.study_file.sampler_options import (
    CmaesOptions,
    GeneticOptions,
    GpOptions,
    GridOptions,
    NoOptions,
    Nsga3Options,
    TpeOptions,
)

SamplerName = Literal["tpe", "random", "gp", "qmc", "grid", "cmaes", "nsga2", "nsga3"]


@dataclass(frozen=True, slots=True)
class SamplerCard:
    """What is known of a sampler without loading its code.

    Args:
        title: Its name in reports.
        learns: Whether it draws near good results. Only such a sampler reads the history, draws
            random trials first (`startup_trials`) and starts from a default configuration.
        reads_curves: Whether it learns from the reports of trials that have no final value.
        evolves: Whether it learns from one generation of trials after the other.
        options: The model of its options.

    """

    title: str
    learns: bool
    reads_curves: bool = False
    evolves: bool = False
    options: type[NoOptions] = NoOptions


SAMPLERS: Mapping[SamplerName, SamplerCard] = MappingProxyType(
    {
        "tpe": SamplerCard("TPE", learns=True, options=TpeOptions),
        "random": SamplerCard("random", learns=False),
        "gp": SamplerCard("Gaussian process", learns=True, reads_curves=True, options=GpOptions),
        "qmc": SamplerCard("quasi-random", learns=False),
        "grid": SamplerCard("grid", learns=False, options=GridOptions),
        "cmaes": SamplerCard("CMA-ES", learns=True, evolves=True, options=CmaesOptions),
        "nsga2": SamplerCard("NSGA-II", learns=True, evolves=True, options=GeneticOptions),
        "nsga3": SamplerCard("NSGA-III", learns=True, evolves=True, options=Nsga3Options),
    }
)

OF_A_CLASS = SamplerCard("class", learns=True)  # one that a study file names by its class
