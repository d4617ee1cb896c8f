"""A conditional space: an algorithm of scikit-learn, and parameters that only it has.

Every configuration is really fitted. `CONDITIONAL` in `tables.py` has the space.
"""

import time
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from benchmarks.search.making import datasets
from benchmarks.search.simulation import rows
from benchmarks.search.tables import CONDITIONAL, CONDITIONS

TREES = 30
NETWORK_EPOCHS = 20
PREDICTIONS = 3  # of which the quickest counts


def conditional(name: str) -> dict[str, NDArray[np.generic]]:
    """Fit every configuration on a data set: errors, seconds and prediction seconds."""
    x, validation_x, y, validation_y = datasets.load(name)
    sizes = {key: len(values) for key, values in CONDITIONAL.items()}
    grid = rows(sizes, CONDITIONS)
    errors = np.zeros((len(grid), 1), np.uint16)
    seconds, latency = np.zeros(len(grid), np.float32), np.zeros(len(grid), np.float32)
    warnings.simplefilter("ignore")
    for k, row in enumerate(grid):
        params = {
            key: values[place]
            for place, (key, values) in zip(row, CONDITIONAL.items(), strict=True)
            if place >= 0
        }
        start = time.process_time()
        model = _estimator(params).fit(x, y)
        seconds[k] = time.process_time() - start
        latency[k], predictions = _predict(model, validation_x)
        errors[k] = (predictions != validation_y).sum()
    return {
        "losses": errors,
        "out_of": np.array(len(validation_y)),
        "seconds": seconds,
        "second": latency,
    }


def _predict(model: Any, x: NDArray[np.float64]) -> tuple[float, NDArray[np.int64]]:
    best = float("inf")
    for _ in range(PREDICTIONS):
        start = time.process_time()
        predictions = model.predict(x)
        best = min(best, time.process_time() - start)
    return best, predictions


def _estimator(params: dict[str, Any]) -> Any:
    options = {key.partition("_")[2]: value for key, value in params.items() if key != "algorithm"}
    algorithm = params["algorithm"]
    if algorithm == "svm":
        return SVC(**options, cache_size=100, max_iter=20_000)
    if algorithm == "forest":
        return ExtraTreesClassifier(TREES, random_state=0, **options)
    if algorithm == "neighbours":
        return KNeighborsClassifier(**options)
    if algorithm == "linear":
        return SGDClassifier(max_iter=20, tol=None, random_state=0, **options)
    return MLPClassifier(
        max_iter=NETWORK_EPOCHS, n_iter_no_change=NETWORK_EPOCHS, random_state=0, **options
    )
