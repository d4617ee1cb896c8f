"""NSGA-II, a genetic algorithm for several objectives (Deb et al., IEEE TEC 2002): Optuna's."""

from optuna.samplers import BaseSampler, NSGAIISampler

from tuner.search.samplers import Draw
from tuner.search.samplers.genetic import GeneticSampler


def make(draw: Draw) -> BaseSampler:
    """Return the sampler."""
    return GeneticSampler(
        "nsga2", draw, NSGAIISampler(population_size=draw.options.population_size)
    )
