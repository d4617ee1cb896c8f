"""Bootstrap intervals of metrics: how precisely a part of the data determines them."""

from collections.abc import Callable

import torch
from torch import Tensor

TOTAL_ROWS = 1_000_000  # examples over all resamples
MAX_ROWS = 20_000  # examples of one resample
MIN_RESAMPLES, MAX_RESAMPLES = 100, 1000
TAILS = (0.025, 0.975)


def interval(total: int, metric: Callable[[Tensor], float]) -> list[float]:
    """Compute the 95 % interval of a metric over `total` examples (Efron, 1979).

    `metric` returns the value over the examples at the given indices, int64 [rows]; some occur more
    than once. The interval says how much a part of this size can tell, not how much training
    varies. A resample of a large part is smaller than the part, and its deviations are scaled to
    the whole (Bickel, Götze & van Zwet, 1997). Returns the lower and the upper end.
    """
    if not total:
        return [0.0, 0.0]
    rows = min(total, MAX_ROWS)
    resamples = min(max(TOTAL_ROWS // rows, MIN_RESAMPLES), MAX_RESAMPLES)
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor(
        [metric(torch.randint(total, (rows,), generator=generator)) for _ in range(resamples)],
        dtype=torch.float64,
    )
    mean = values.mean()
    scaled = mean + (values - mean) * (rows / total) ** 0.5
    low, high = scaled.quantile(torch.tensor(TAILS, dtype=torch.float64)).tolist()
    return [low, high]


def interval_of_mean(values: Tensor) -> list[float]:
    """Compute the 95 % interval of the mean of values [N]; bool [N] gives that of a share."""
    numbers = values.double()
    return interval(len(numbers), lambda rows: float(numbers[rows].mean()))
