"""How much a part of the data can tell about a metric: bootstrap intervals over its examples."""

from collections.abc import Callable

import torch
from torch import Tensor

RESAMPLED = 1_000_000  # examples of the bootstrap in all
MOST_ROWS = 20_000  # examples of a draw
FEWEST, MOST = 100, 1000  # draws
TAILS = (0.025, 0.975)


def interval(total: int, metric: Callable[[Tensor], float]) -> list[float]:
    """The 95 % interval of a metric of `total` examples: percentiles over resampled ones.

    `metric` gives the value of the examples at indices, int64 [rows], of which some occur often.
    How much a part of this size can tell, not how much training varies (Efron, 1979). Of a large
    part fewer are drawn than it has, and their spread is scaled (Bickel, Götze & van Zwet, 1997).
    """
    if not total:
        return [0.0, 0.0]
    rows = min(total, MOST_ROWS)
    draws = min(max(RESAMPLED // rows, FEWEST), MOST)
    generator = torch.Generator().manual_seed(0)
    found = [metric(torch.randint(total, (rows,), generator=generator)) for _ in range(draws)]
    values = torch.tensor(found, dtype=torch.float64)
    middle = values.mean()
    scaled = middle + (values - middle) * (rows / total) ** 0.5
    low, high = scaled.quantile(torch.tensor(TAILS, dtype=torch.float64)).tolist()
    return [low, high]


def of_mean(values: Tensor) -> list[float]:
    """The interval of the mean of a value an example [N]; of shares, bool [N]."""
    real = values.double()
    return interval(len(real), lambda rows: float(real[rows].mean()))
