"""Optuna's Gaussian process.

The one exception to "the worker's parent process never imports torch": Optuna fits the process with
it, on the CPU, at the first draw after the startup trials.
"""

from optuna.samplers import BaseSampler, GPSampler

from tuner.search.samplers import Draw


def make(draw: Draw) -> BaseSampler | None:
    """Return the sampler; random draws after a rejected one, because a second fit is expensive."""
    if draw.redraw:
        return None
    return GPSampler(seed=draw.seed, n_startup_trials=max(1, draw.startup_trials))
