"""What every contestant trains: a small CNN on scikit-learn's digits, as one writes it by hand.

Each epoch's figure is appended to the file that BENCH_LOG names, whoever calls: what was trained is
counted there, not where a contestant says so. Needs torch and scikit-learn alone.
"""

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

TRIALS, EPOCHS, WORKERS, REDUCTION = 60, 12, 2, 3
GOAL = 0.97  # validation accuracy
# name → (low, high) on a log scale, (low, high, "linear"), or a list of choices
SPACE: dict[str, Any] = {
    "learning_rate": (1e-4, 1e-1),
    "weight_decay": (1e-6, 1e-2),
    "dropout": (0.0, 0.5, "linear"),
    "batch_size": [16, 32, 64, 128],
    "width": [8, 16, 32],
    "optimizer": ["sgd", "adam"],
}

torch.set_num_threads(1)


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """1,257 images to train and 540 to validate with, [N, 1, 8, 8] in [0, 1], and their classes."""
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    parts = train_test_split(x, torch.tensor(labels), test_size=0.3, random_state=0)
    train_x, test_x, train_y, test_y = parts
    return train_x, train_y, test_x, test_y


TRAIN_X, TRAIN_Y, VALIDATION_X, VALIDATION_Y = data()


class Network(nn.Module):
    """Two convolutions and two dense layers."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.dense = nn.Sequential(
            nn.Flatten(),
            nn.Linear(32 * width, 64),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(64, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.convolutions(x))


def train(params: dict[str, Any], epochs: int = EPOCHS, seed: int = 0) -> Iterator[float]:
    """Train a configuration; gives the validation accuracy after each epoch."""
    torch.manual_seed(seed)
    network = Network(params["width"], params["dropout"])
    rate, decay = params["learning_rate"], params["weight_decay"]
    optimizer = (
        torch.optim.SGD(network.parameters(), rate, momentum=0.9, weight_decay=decay)
        if params["optimizer"] == "sgd"
        else torch.optim.Adam(network.parameters(), rate, weight_decay=decay)
    )
    trial = f"{os.getpid()}-{time.time_ns()}"
    for epoch in range(1, epochs + 1):
        network.train()
        for batch in torch.randperm(len(TRAIN_X)).split(params["batch_size"]):
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(network(TRAIN_X[batch]), TRAIN_Y[batch]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            hits = network(VALIDATION_X).argmax(1) == VALIDATION_Y
        accuracy = float(hits.float().mean())
        log(trial=trial, epoch=epoch, accuracy=accuracy, params=dict(params), seed=seed)
        yield accuracy


def log(**record: Any) -> None:
    """Append a line; short ones appear whole, whoever else writes."""
    line = json.dumps({**record, "at": time.time()}) + "\n"
    with open(os.environ["BENCH_LOG"], "a", encoding="utf-8") as file:  # noqa: PTH123
        file.write(line)


def tuner_train(trial: Any) -> None:
    """The function that tuner calls."""
    for accuracy in train(trial.params, seed=trial.number):
        trial.report(accuracy)
        if trial.should_stop():
            return
