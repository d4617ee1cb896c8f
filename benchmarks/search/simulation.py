"""Asynchronous workers over a table of learning curves, in simulated time.

Nothing trains: an epoch of a configuration takes the table's seconds and gives the table's value,
so a study of hours takes seconds, and a busy machine changes no result. This module needs NumPy
alone: peers run it in an environment of their own.
"""

import heapq
import itertools
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Answer = Literal["go on", "pause", "end"]
Conditions = Mapping[str, Mapping[str, tuple[int, ...]]]
"""Dimension → other dimension → the places of its values under which the first exists."""

INACTIVE = -1


def rows(sizes: Mapping[str, int], when: Conditions) -> NDArray[np.int64]:
    """Every configuration as places in the grid, [configurations, dimensions].

    A dimension comes after those that it depends on; without them it is `INACTIVE`.
    """
    names = list(sizes)
    grid = np.zeros((1, 0), np.int64)
    for name, size in sizes.items():
        is_active = np.ones(len(grid), bool)
        for parent, allowed in when.get(name, {}).items():
            is_active &= np.isin(grid[:, names.index(parent)], allowed)
        repeats = np.where(is_active, size, 1)
        first = np.repeat(np.cumsum(repeats) - repeats, repeats)
        place = np.arange(repeats.sum()) - first
        place[~np.repeat(is_active, repeats)] = INACTIVE
        grid = np.column_stack([np.repeat(grid, repeats, axis=0), place])
    return grid


@dataclass(frozen=True)
class Table:
    """Every configuration of a grid, with its learning curve.

    Args:
        name: Of the task.
        parameters: Name → number of values of each dimension of the grid.
        choices: The dimensions whose order carries no meaning.
        losses: After each epoch, [configurations, epochs], or [configurations, seeds, epochs], of
            which each trial has one seed; smaller is better. NaN: the trial diverges there.
        seconds: Of an epoch, [configurations].
        when: The dimensions that exist only under values of others.
        second: A second objective, which is known when a trial ends, [configurations].
        noise: Standard deviation of what is added to every report.

    """

    name: str
    parameters: dict[str, int]
    choices: frozenset[str]
    losses: NDArray[np.float32]
    seconds: NDArray[np.float32]
    when: Conditions = field(default_factory=dict)
    second: NDArray[np.float32] | None = None
    noise: float = 0.0
    rows: NDArray[np.int64] = field(init=False)
    quality: NDArray[np.float32] = field(init=False)  # of each configuration; inf if it diverges
    ranked: NDArray[np.float32] = field(init=False)  # the same, sorted
    _keys: NDArray[np.int64] = field(init=False)
    _order: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        grid = rows(self.parameters, self.when)
        if len(grid) != len(self.losses):
            raise ValueError(f"{self.name}: {len(self.losses)} curves, {len(grid)} configurations")
        best = self.losses.min(axis=-1)
        quality = best.mean(axis=1) if best.ndim == 2 else best
        quality = np.where(np.isnan(quality), np.inf, quality).astype(np.float32)
        keys = self._key(grid)
        order = np.argsort(keys)
        for name, array in {
            "rows": grid,
            "quality": quality,
            "ranked": np.sort(quality),
            "_keys": keys[order],
            "_order": order,
        }.items():
            object.__setattr__(self, name, array)

    @property
    def epochs(self) -> int:
        return self.losses.shape[-1]

    @property
    def full_trial(self) -> float:
        """Seconds of an average trial that runs to its end: the unit of time in all results."""
        return float(self.seconds.mean() * self.epochs)

    def without_curves(self) -> "Table":
        """The same task, whose trials report only what they have reached in the end."""
        if self.epochs == 1:
            return self
        best = self.losses.min(axis=-1)[..., None]
        return Table(
            **{key: getattr(self, key) for key in ("name", "parameters", "choices", "when")},
            losses=best,
            seconds=self.seconds * self.epochs,
            second=self.second,
            noise=self.noise,
        )

    def target(self, share: float) -> float:
        """The loss that this share of the configurations reach."""
        return float(self.ranked[max(1, round(share * len(self.ranked))) - 1])

    def share_better(self, loss: float) -> float:
        """The share of the configurations that are at least as good."""
        return max(1, int(np.searchsorted(self.ranked, loss, "right"))) / len(self.ranked)

    def index(self, values: Mapping[str, int]) -> int:
        """The row of a configuration, given by the place of each active dimension's value."""
        places = np.array([values.get(name, INACTIVE) for name in self.parameters])
        key = self._key(places)
        at = int(np.searchsorted(self._keys, key))
        if at == len(self._keys) or self._keys[at] != key:
            raise ValueError(f"{self.name} has no configuration {dict(values)}")
        return int(self._order[at])

    def values(self, row: int) -> dict[str, int]:
        """The place of each active dimension's value."""
        pairs = zip(self.parameters, self.rows[row].tolist(), strict=True)
        return {name: place for name, place in pairs if place != INACTIVE}

    def _key(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        sizes = [size + 1 for size in self.parameters.values()]
        return np.ravel_multi_index(tuple((places + 1).T), sizes)


class Method(Protocol):
    """A sampler with a pruner."""

    def ask(self) -> tuple[int, int] | None:
        """Return the number of the next trial and the row of its configuration.

        A trial that paused goes on if its number comes again; None: nothing to do now.
        """
        ...

    def tell(self, number: int, epoch: int, loss: float, now: float) -> Answer:
        """Take a report; a trial of as many epochs as the table has ends by itself.

        A NaN tells that it has diverged, which ends it too.
        """
        ...


@dataclass(frozen=True)
class Run:
    """What a method has reached.

    Args:
        improvements: Time, number of finished trials, and what the trial with the best report is
            really worth: with noise, that may be worse than before.
        horizon: Until when it could go on, in seconds of simulated time.
        ended: When it was over.
        trials: How many began.
        full_trials: How many of them ran to their end.
        distinct: How many configurations they had.
        epochs: How many were trained.
        finished: Rows of the trials that ran to their end, in that order.
        asking: Processor seconds of asking and telling.

    """

    improvements: list[tuple[float, int, float]]
    horizon: float
    ended: float
    trials: int
    full_trials: int
    distinct: int
    epochs: int
    finished: list[int]
    asking: float

    def time_to(self, loss: float) -> float | None:
        return next((time for time, _, best in self.improvements if best <= loss), None)

    def best_at(self, time: float) -> float:
        """What the incumbent of that time is worth."""
        return next((best for at, _, best in reversed(self.improvements) if at <= time), np.inf)

    def best_after(self, trials: int) -> float:
        """What the incumbent is worth once so many trials have finished."""
        return next(
            (best for _, count, best in reversed(self.improvements) if count <= trials), np.inf
        )


class _Clock:
    """Processor seconds of a method, its threads included."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self._start


def simulate(
    table: Table,
    method: Method,
    *,
    workers: int,
    horizon: float = np.inf,
    trials: int | None = None,
    target: tuple[float, float] | None = None,
    seed: int = 0,
) -> Run:
    """Let `workers` work until `horizon` seconds, or until so many `trials` have finished.

    `target` is a loss and a time: once both are reached, the rest decides nothing.
    """
    rng = np.random.default_rng(seed)  # of what is noise; the method has its own
    improvements: list[tuple[float, int, float]] = []
    order = itertools.count()
    counts = {"epochs": 0, "full": 0, "ended": 0}
    best, worth = np.inf, np.inf
    events: list[tuple[float, int, int | None]] = []
    configurations: dict[int, int] = {}  # number → row
    curves: dict[int, NDArray[np.float32]] = {}
    done: dict[int, int] = {}  # number → epochs
    finished: list[int] = []
    clock = _Clock()

    def begin(now: float) -> None:
        with clock:
            asked = method.ask()
        if asked is None:
            heapq.heappush(events, (now + table.full_trial / 50, next(order), None))
            return
        number, row = asked
        if number not in configurations:
            configurations[number], done[number] = row, 0
            curves[number] = _curve(table, row, rng)
        push(now, number)

    def push(now: float, number: int) -> None:
        seconds = float(table.seconds[configurations[number]])
        heapq.heappush(events, (now + seconds, next(order), number))

    for _ in range(workers):
        begin(0.0)
    now = 0.0
    while events:
        later, _, number = heapq.heappop(events)
        if later > horizon:
            break
        now = later
        if number is None:
            begin(now)
            continue
        row = configurations[number]
        done[number] += 1
        counts["epochs"] += 1
        epoch = done[number]
        loss = float(curves[number][epoch - 1])
        if epoch == table.epochs and not math.isnan(loss):
            finished.append(row)
        with clock:
            answer = method.tell(number, epoch, loss, now)
        is_over = epoch == table.epochs or math.isnan(loss)
        counts["full"] += epoch == table.epochs
        counts["ended"] += is_over or answer == "end"
        if loss < best:
            best, worth = loss, _worth(table, row, epoch)
            improvements.append((now, counts["ended"], worth))
        if target is not None and worth <= target[0] and now >= target[1]:
            break
        if trials is not None and counts["ended"] >= trials:
            break
        if is_over or answer != "go on":
            begin(now)
        else:
            push(now, number)
    return Run(
        improvements,
        now if np.isinf(horizon) else float(horizon),
        now,
        len(configurations),
        counts["full"],
        len(set(configurations.values())),
        counts["epochs"],
        finished,
        clock.seconds,
    )


def _curve(table: Table, row: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """What one trial of a configuration reports."""
    curve = table.losses[row]
    if curve.ndim == 2:
        curve = curve[rng.integers(len(curve))]
    return curve + rng.normal(0, table.noise, curve.shape) if table.noise else curve


def _worth(table: Table, row: int, epoch: int) -> float:
    """What a trial that has come so far has reached, without noise: its best epoch's loss."""
    curve = table.losses[row, ..., :epoch]
    return float(curve.min(axis=-1).mean())
