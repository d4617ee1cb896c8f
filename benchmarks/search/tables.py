"""Tables of learning curves: really trained networks, and adversarial ones with a known shape.

`tables/*.npz` hold the validation accuracy after each of 27 epochs, and the seconds of an epoch, of
480 small networks each, drawn at random from a grid of 110,592 configurations and trained on
scikit-learn's digits and on reviews. A model of these curves (extremely randomized trees) fills the
rest of the grid, so the tables are smoother than training is; `noise` adds some.
"""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from benchmarks.search.simulation import Table

GRID = {
    "learning_rate": np.geomspace(1e-4, 1.0, 16),
    "weight_decay": np.geomspace(1e-6, 1e-1, 6),
    "dropout": np.array([0.0, 0.2, 0.4, 0.6]),
    "momentum": np.array([0.0, 0.5, 0.9, 0.98]),
    "optimizer": np.array([0, 1]),  # SGD, Adam
    "width": np.array([8, 16, 32, 64]),
    "batch_size": np.array([32, 64, 128]),
    "depth": np.array([1, 2, 3]),
}
SIZES = {name: len(values) for name, values in GRID.items()}
REAL = ("digits", "reviews")
ADVERSARIAL = ("noise only", "late bloomers", "dead parameters")
NOISE = 0.01  # standard deviation of what `noise` adds to every report


@cache
def load(name: str) -> Table:
    """Load or make a table, by its name."""
    return _real(name) if name in REAL else _adversarial(name)


def _real(name: str) -> Table:
    with np.load(Path(__file__).parent / "tables" / f"{name}.npz") as file:
        rows, accuracy, cost = file["idx"].astype(np.int64), file["acc"], file["cost"]
    model = ExtraTreesRegressor(60, max_features=0.7, random_state=0)
    model.fit(_features(rows), 1 - accuracy)
    grid = _grid(tuple(SIZES.values()))
    losses = np.concatenate(
        [model.predict(_features(part)) for part in np.array_split(grid, 16)]
    ).astype(np.float32)
    seconds = 100 * cost[grid[:, 5], grid[:, 6], grid[:, 7]].astype(np.float32)
    return Table(name, SIZES, frozenset({"optimizer"}), losses, seconds)


def _grid(sizes: tuple[int, ...]) -> NDArray[np.int64]:
    """Every configuration as places in the grid, [configurations, dimensions]."""
    return np.stack(np.unravel_index(np.arange(int(np.prod(sizes))), sizes), axis=1)


def _features(rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """What decides how a network trains: among others, its effective learning rate."""
    rate = np.log(GRID["learning_rate"][rows[:, 0]])
    decay = np.log(GRID["weight_decay"][rows[:, 1]])
    momentum, batch = GRID["momentum"][rows[:, 3]], np.log2(GRID["batch_size"][rows[:, 6]])
    is_sgd = rows[:, 4] == 0
    effective = np.where(is_sgd, rate - np.log(1 - momentum) - 0.7 * batch, rate - 0.35 * batch)
    columns = [
        *(rate, np.where(is_sgd, effective, -9.0), np.where(is_sgd, 9.0, effective), decay),
        *(rate + decay, rows[:, 2], momentum, rows[:, 4], rows[:, 5], batch, rows[:, 7]),
    ]
    return np.column_stack(columns)


def _adversarial(name: str) -> Table:
    rng = np.random.default_rng(0)
    sizes = dict.fromkeys(("a", "b", "c", "d"), 10)
    if name == "dead parameters":
        sizes |= dict.fromkeys(("u", "v"), 10)
    grid = _grid(tuple(sizes.values()))
    epochs = np.arange(1, 28) / 27
    distance = ((grid[:, :4] - np.array([2, 7, 4, 6])) / 9) ** 2
    final = 0.1 + distance @ np.array([1.0, 0.6, 0.3, 0.1])
    if name == "noise only":
        losses = rng.random((len(grid), 1)) * np.ones(27) + 0.3 * rng.random((len(grid), 27))
    elif name == "late bloomers":  # the better at the end, the worse at the start
        start = final.max() + 0.5 - final
        losses = start[:, None] + (final - start)[:, None] * epochs**0.5
    else:
        losses = final[:, None] + 0.5 * np.exp(-6 * epochs)
    seconds = 1.0 + rng.random(len(grid))
    table = losses.astype(np.float32), seconds.astype(np.float32)
    return Table(name, sizes, frozenset(), *table)
