"""The samplers that a study file can name. `search/samplers/NAME.py` holds the code of each.

To add one, name it in both places here and write its module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

SamplerName = Literal["tpe", "random", "gp", "qmc"]


@dataclass(frozen=True, slots=True)
class SamplerCard:
    """What is known of a sampler without loading its code.

    Args:
        title: Its name in reports.
        learns: Whether it draws near good results. Only such a sampler reads the history, draws
            random trials first (`startup_trials`) and starts from a default configuration.
        reads_curves: Whether it learns from the reports of trials that have no final value.

    """

    title: str
    learns: bool
    reads_curves: bool = False


SAMPLERS: Mapping[SamplerName, SamplerCard] = MappingProxyType(
    {
        "tpe": SamplerCard("TPE", learns=True),
        "random": SamplerCard("random", learns=False),
        "gp": SamplerCard("Gaussian process", learns=True, reads_curves=True),
        "qmc": SamplerCard("quasi-random", learns=False),
    }
)
