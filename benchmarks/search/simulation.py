"""Asynchronous workers over a table of learning curves, in simulated time.

Nothing trains: an epoch of a configuration takes the table's seconds and gives the table's value,
so a study of hours takes seconds, and a busy machine changes no result.
"""

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Answer = Literal["go on", "end"]


@dataclass(frozen=True)
class Table:
    """Every configuration of a grid, with its learning curve.

    Args:
        name: Of the task.
        parameters: Name → number of values of each dimension of the grid.
        choices: The dimensions whose order carries no meaning.
        losses: After each epoch, [configurations, epochs]; smaller is better.
        seconds: Of an epoch, [configurations].

    """

    name: str
    parameters: dict[str, int]
    choices: frozenset[str]
    losses: NDArray[np.float32]
    seconds: NDArray[np.float32]
    best: NDArray[np.float32] = field(init=False)  # of each configuration, sorted

    def __post_init__(self) -> None:
        object.__setattr__(self, "best", np.sort(self.losses.min(axis=1)))

    @property
    def epochs(self) -> int:
        return self.losses.shape[1]

    @property
    def full_trial(self) -> float:
        """Seconds of an average trial that runs to its end: the unit of time in all results."""
        return float(self.seconds.mean() * self.epochs)

    def target(self, share: float) -> float:
        """The loss that this share of the configurations reach."""
        return float(self.best[max(1, round(share * len(self.best))) - 1])

    def share_better(self, loss: float) -> float:
        """The share of the configurations that are at least as good."""
        return max(1, int(np.searchsorted(self.best, loss, "right"))) / len(self.best)

    def index(self, values: Sequence[int]) -> int:
        """The row of a configuration, given by the place of each value."""
        return int(np.ravel_multi_index([int(v) for v in values], list(self.parameters.values())))


class Method(Protocol):
    """A sampler with a pruner."""

    def ask(self) -> tuple[int, int]:
        """Return the number of the next trial and the row of its configuration."""
        ...

    def tell(self, number: int, epoch: int, loss: float, now: float) -> Answer:
        """Take a report; a trial of as many epochs as the table has ends by itself."""
        ...


@dataclass(frozen=True)
class Run:
    """What a method has reached: improvements as (time, loss), and counts of trials."""

    improvements: list[tuple[float, float]]
    horizon: float
    trials: int
    full_trials: int

    def time_to(self, loss: float) -> float | None:
        return next((time for time, best in self.improvements if best <= loss), None)

    def best_at(self, time: float) -> float:
        return min((best for at, best in self.improvements if at <= time), default=np.inf)


def simulate(
    table: Table, method: Method, *, workers: int, horizon: float, target: float | None = None
) -> Run:
    """Let `workers` work until `horizon` seconds, or until the loss `target` is reached."""
    improvements: list[tuple[float, float]] = []
    order = itertools.count()
    trials = full_trials = 0
    best = np.inf
    events: list[tuple[float, int, int, int, int]] = []

    def begin(now: float) -> None:
        nonlocal trials
        trials += 1
        number, row = method.ask()
        heapq.heappush(events, (now + float(table.seconds[row]), next(order), number, row, 1))

    for _ in range(workers):
        begin(0.0)
    while events:
        now, _, number, row, epoch = heapq.heappop(events)
        if now > horizon:
            break
        loss = float(table.losses[row, epoch - 1])
        if loss < best:
            best = loss
            improvements.append((now, best))
            if target is not None and best <= target:
                break
        answer = method.tell(number, epoch, loss, now)
        if epoch < table.epochs and answer == "go on":
            later = now + float(table.seconds[row])
            heapq.heappush(events, (later, next(order), number, row, epoch + 1))
            continue
        full_trials += epoch == table.epochs
        begin(now)
    return Run(improvements, horizon, trials, full_trials)
