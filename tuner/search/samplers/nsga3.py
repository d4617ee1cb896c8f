"""NSGA-III, a genetic algorithm for many objectives (Deb & Jain, IEEE TEC 2014): Optuna's."""

from optuna.samplers import BaseSampler, NSGAIIISampler

from tuner.search.samplers import Draw
from tuner.search.samplers.genetic import GeneticSampler


def make(draw: Draw) -> BaseSampler:
    """Return the sampler."""
    algorithm = NSGAIIISampler(
        population_size=draw.options.population_size,
        dividing_parameter=draw.options.dividing_parameter,
    )
    return GeneticSampler("nsga3", draw, algorithm)
