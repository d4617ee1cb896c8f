"""Learning-rate schedules: the factor on the learning rate at a step."""

import math


def factor(name: str, step: int, total: int, warmup: float) -> float:
    """The factor at `step` (from 0) of `total`; linear from 0 during the first `warmup` share.

    `constant` stays at 1, `cosine` (Loshchilov & Hutter, 2017) and `linear` fall to 0 at the end.
    """
    warm = warmup * total
    if step < warm:
        return (step + 1) / (warm + 1)
    if name == "constant":
        return 1.0
    progress = min(1.0, (step - warm) / max(1.0, total - warm))
    if name == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    if name == "linear":
        return 1.0 - progress
    raise ValueError(f"there is no schedule `{name}`")
