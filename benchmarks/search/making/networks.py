"""Learning curves of multilayer perceptrons, of which as many as share a structure train at once.

Random configurations of a large grid, from which `tables.py` models the rest, and a small grid that
is trained whole, with three seeds each, so that nothing smooths its noise.
"""

import itertools
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.search.making import datasets
from benchmarks.search.tables import GRID, NOISY_GRID, SIZES

EPOCHS = 27
SAMPLE = 480  # configurations of the large grid
REPEATS = 3  # seeds of each configuration of the small one
NOISY_TRAIN = 400  # examples: few, so that seeds differ
FUSED = 240  # networks of a structure that train at once
NOISY_STRUCTURE = {"width": 24, "batch_size": 32, "depth": 1}

Array = NDArray[np.float64]


def sample(name: str) -> dict[str, NDArray[np.generic]]:
    """Train a random part of the large grid on a data set."""
    data = _tensors(*datasets.load(name))
    rng = np.random.default_rng(sum(map(ord, name)))
    rows = np.stack([rng.integers(size, size=SAMPLE) for size in SIZES.values()], axis=1)
    values = {key: column[rows[:, k]].astype(float) for k, (key, column) in enumerate(GRID.items())}
    accuracy = np.zeros((SAMPLE, EPOCHS), np.float32)
    cost = np.zeros((4, 3, 3))
    for w, b, d in itertools.product(range(4), range(3), range(3)):
        (of_structure,) = np.nonzero((rows[:, 5:] == (w, b, d)).all(axis=1))
        configurations = {key: column[of_structure] for key, column in values.items()}
        structure = {
            "width": int(GRID["width"][w]),
            "batch_size": int(GRID["batch_size"][b]),
            "depth": int(GRID["depth"][d]),
        }
        correct = train(configurations, structure, data, seed=w * 100 + b * 10 + d)
        accuracy[of_structure] = correct / len(data[3])
        cost[w, b, d] = _seconds_of_an_epoch(configurations, structure, data)
    return {"idx": rows.astype(np.int8), "acc": accuracy, "cost": cost}


def noisy(name: str) -> dict[str, NDArray[np.generic]]:
    """Train the whole small grid with several seeds: errors [configurations, repeats, epochs]."""
    data = _tensors(*datasets.load(name, train=NOISY_TRAIN))
    sizes = [len(column) for column in NOISY_GRID.values()]
    rows = np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)
    values = {
        k: column[rows[:, n]].astype(float) for n, (k, column) in enumerate(NOISY_GRID.items())
    }
    errors = np.zeros((len(rows), REPEATS, EPOCHS), np.uint16)
    for repeat in range(REPEATS):
        for part in np.array_split(np.arange(len(rows)), -(-len(rows) // FUSED)):
            configurations = {key: column[part] for key, column in values.items()}
            seed = 1000 * repeat + int(part[0])
            errors[part, repeat] = len(data[3]) - train(configurations, NOISY_STRUCTURE, data, seed)
    return {
        "losses": errors,
        "out_of": np.array(len(data[3])),
        "seconds": np.ones(len(rows), np.float32),
    }


def _tensors(*arrays: Array) -> list[torch.Tensor]:
    x, other_x, y, other_y = arrays
    return [
        torch.tensor(x, dtype=torch.float32),
        torch.tensor(other_x, dtype=torch.float32),
        torch.tensor(y).long(),
        torch.tensor(other_y).long(),
    ]


def train(
    configurations: dict[str, Array],
    structure: dict[str, int],
    data: list[torch.Tensor],
    seed: int,
    epochs: int = EPOCHS,
) -> NDArray[np.int64]:
    """Train networks of one structure; how many validation examples are right, [networks, epochs].

    `configurations` has the learning rate, weight decay, dropout, momentum and optimizer (0: SGD,
    1: Adam with decoupled decay) of each network.
    """
    x, validation_x, y, validation_y = data
    count, classes = len(configurations["learning_rate"]), int(y.max()) + 1
    generator = torch.Generator().manual_seed(seed)
    parameters = _initial(count, x.shape[1], classes, structure, generator)
    column = {
        key: torch.tensor(values, dtype=torch.float32).view(count, 1, 1)
        for key, values in configurations.items()
    }
    update = _updates(parameters, column)
    batch = structure["batch_size"]
    correct = []
    for _ in range(epochs):
        order = torch.stack([torch.randperm(len(x), generator=generator) for _ in range(count)])
        for start in range(0, len(x) - batch + 1, batch):
            chosen = order[:, start : start + batch]
            logits = _forward(parameters, x[chosen], column["dropout"], generator)
            loss = torch.nn.functional.cross_entropy(
                logits.reshape(-1, classes), y[chosen].reshape(-1), reduction="sum"
            )
            update(torch.autograd.grad(loss / batch, parameters))
        with torch.no_grad():
            logits = _forward(parameters, validation_x.expand(count, *validation_x.shape))
            correct.append((logits.nan_to_num(-20, -20, -20).argmax(-1) == validation_y).sum(1))
    return torch.stack(correct, dim=1).numpy()


def _initial(
    count: int, inputs: int, classes: int, structure: dict[str, int], generator: torch.Generator
) -> list[torch.Tensor]:
    sizes = [inputs, *[structure["width"]] * structure["depth"], classes]
    parameters = []
    for rows, columns in itertools.pairwise(sizes):
        weights = torch.randn(count, rows, columns, generator=generator) * (2 / rows) ** 0.5
        parameters += [weights.requires_grad_(), torch.zeros(count, 1, columns).requires_grad_()]
    return parameters


def _forward(
    parameters: list[torch.Tensor],
    x: torch.Tensor,
    dropout: torch.Tensor | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    for k in range(0, len(parameters), 2):
        x = torch.baddbmm(parameters[k + 1], x, parameters[k])
        if k < len(parameters) - 2:
            x = x.relu()
            if dropout is not None:
                x = x * (torch.rand(x.shape, generator=generator) >= dropout) / (1 - dropout)
    return x


def _updates(
    parameters: list[torch.Tensor], column: dict[str, torch.Tensor]
) -> Callable[[tuple[torch.Tensor, ...]], None]:
    rate, decay, momentum = (column[k] for k in ("learning_rate", "weight_decay", "momentum"))
    is_adam = column["optimizer"] > 0
    first = [torch.zeros_like(p) for p in parameters]
    second = [torch.zeros_like(p) for p in parameters]
    steps = 0

    @torch.no_grad()
    def update(gradients: tuple[torch.Tensor, ...]) -> None:
        nonlocal steps
        steps += 1
        for parameter, gradient, mean, square in zip(
            parameters, gradients, first, second, strict=True
        ):
            coupled = torch.where(is_adam, gradient, gradient + decay * parameter)
            mean.mul_(momentum).add_(torch.where(is_adam, (1 - momentum) * gradient, coupled))
            square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            scale = (square / (1 - 0.999**steps)).sqrt() + 1e-8
            adam = mean / (1 - momentum**steps) / scale + decay * parameter
            parameter.sub_(rate * torch.where(is_adam, adam, mean))

    return update


def _seconds_of_an_epoch(
    configurations: dict[str, Array], structure: dict[str, int], data: list[torch.Tensor]
) -> float:
    """Return what an epoch of one network takes: the quickest of six measurements of four steps."""
    single = {key: column[:1] for key, column in configurations.items()}
    examples = 4 * structure["batch_size"]
    x, validation_x, y, validation_y = data
    few = [x[:examples], validation_x[:2], y[:examples], validation_y[:2]]
    few[2][0] = y.max()  # so that it has all classes
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        train(single, structure, few, seed=0, epochs=1)
        best = min(best, time.perf_counter() - start)
    return best / 4 * (len(x) // structure["batch_size"])
