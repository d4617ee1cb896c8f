"""Learning-rate schedules."""

import math


def factor(name: str, step: int, total: int, warmup: float) -> float:
    """Return the factor on the learning rate at `step` (from 0) of `total` steps.

    It rises linearly from 0 during the first steps, a share `warmup` of all. Then `constant` stays
    at 1; `cosine` (Loshchilov & Hutter, 2017) and `linear` fall to 0 at the end.
    """
    warmup_steps = warmup * total
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if name == "constant":
        return 1.0
    progress = min(1.0, (step - warmup_steps) / max(1.0, total - warmup_steps))
    if name == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    if name == "linear":
        return 1.0 - progress
    raise ValueError(f"there is no schedule `{name}`")
