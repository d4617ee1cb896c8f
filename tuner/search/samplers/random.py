"""Independent draws."""

from optuna.samplers import RandomSampler

from tuner.origin import Origin, OriginKind
from tuner.search.samplers import Draw


def make(_: Draw) -> None:
    """Leave the draw to the search space."""


class SubstituteSampler(RandomSampler):
    """Draws at random in place of another sampler, and says why."""

    def __init__(self, sampler: str, reason: str, seed: int) -> None:
        super().__init__(seed=seed)
        self.origin = Origin(kind=OriginKind.RANDOM, sampler=sampler, reason=reason)
