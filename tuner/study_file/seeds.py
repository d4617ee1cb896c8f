"""Seeds: everything random in a study follows from its seed and the trial's number."""

import hashlib

from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import SEED, Trial


def trial_seed(spec: ResolvedSpec, number: int) -> int:
    """Return the seed of a trial's initialization, shuffling and dropout.

    `training.seed` pins it, so the study file of an export, where the best trial is number 0,
    repeats that trial.
    """
    if spec.training.seed is not None:
        return spec.training.seed
    return derived_seed(spec.seed, "trial", number)


def seed_of(spec: ResolvedSpec, trial: Trial) -> int:
    """Return the seed that a stored trial was trained with: its own if it was queued with one."""
    own = trial.user_attrs.get(SEED)
    return own if isinstance(own, int) else trial_seed(spec, trial.number)


def derived_seed(*parts: object) -> int:
    """Derive a 31-bit seed that depends on every part."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
