"""Tables of losses: really trained models, public ones, and adversarial ones with a known shape.

`tables/*.npz` are made by `python -m benchmarks.search.making`. What they hold:

    curves        validation accuracy after each of 27 epochs, and the seconds of an epoch, of 480
                  networks drawn at random from a grid of 110,592. A model of these curves
                  (extremely randomized trees) fills the rest, so they are smoother than training is
    noisy         the curves of a grid of 960 networks, trained whole with three seeds each
    conditional   errors, seconds and prediction seconds of 1,290 estimators of scikit-learn, each
                  really fitted: an algorithm and parameters that only it has
    public        networks that others have trained; no curves (sources: `making/public.py`)

Constants of tuner's search may be tuned on `TUNING` alone; the others judge it.
"""

import hashlib
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.packing import unpack
from benchmarks.search.simulation import Conditions, Table, rows

FOLDER = Path(__file__).parent / "tables"
CACHE = Path(__file__).parents[2] / "build" / "search"  # what is made from them, and results
EPOCHS = 27

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

NOISY_GRID = {
    "learning_rate": np.geomspace(1e-3, 3.0, 12),
    "weight_decay": np.geomspace(1e-5, 1e-1, 5),
    "dropout": np.array([0.0, 0.25, 0.5, 0.75]),
    "momentum": np.array([0.0, 0.5, 0.9, 0.98]),
    "optimizer": np.array([0]),
}

CONDITIONAL: dict[str, list[object]] = {
    "algorithm": ["svm", "forest", "neighbours", "linear", "network"],
    "svm_kernel": ["rbf", "sigmoid", "poly", "linear"],
    "svm_C": np.geomspace(0.01, 1000, 8).tolist(),
    "svm_gamma": np.geomspace(1e-4, 1, 8).tolist(),
    "svm_degree": [2, 3, 4],
    "forest_max_depth": [2, 3, 4, 6, 8, 12, 16, 24],
    "forest_max_features": [0.05, 0.1, 0.2, 0.4, 0.7, 1.0],
    "forest_min_samples_leaf": [1, 2, 4, 8, 16],
    "forest_criterion": ["gini", "entropy"],
    "neighbours_n_neighbors": [1, 2, 3, 4, 5, 7, 9, 13, 19, 27, 39, 55],
    "neighbours_p": [1, 1.5, 2],
    "neighbours_weights": ["uniform", "distance"],
    "linear_loss": ["hinge", "log_loss", "modified_huber"],
    "linear_penalty": ["l2", "l1", "elasticnet"],
    "linear_alpha": np.geomspace(1e-6, 1, 10).tolist(),
    "network_learning_rate_init": np.geomspace(1e-4, 0.3, 8).tolist(),
    "network_hidden_layer_sizes": [4, 8, 16, 32, 64],
    "network_alpha": np.geomspace(1e-6, 1, 4).tolist(),
    "network_solver": ["adam", "sgd"],
}
_ALGORITHMS = ("svm", "forest", "neighbours", "linear", "network")
CONDITIONS: Conditions = {
    name: {"algorithm": (_ALGORITHMS.index(name.partition("_")[0]),)}
    | {"svm_gamma": {"svm_kernel": (0, 1, 2)}, "svm_degree": {"svm_kernel": (2,)}}.get(name, {})
    for name in CONDITIONAL
    if name != "algorithm"
}
CONDITIONAL_CHOICES = frozenset(
    name for name, values in CONDITIONAL.items() if isinstance(values[0], str)
)

PUBLIC_SPACES: dict[str, dict[str, int]] = {
    "hpobench": {"alpha": 10, "batch_size": 10, "depth": 3, "learning_rate": 10, "width": 10},
    "hpolib": {
        **{"activation_1": 2, "activation_2": 2, "batch_size": 4, "dropout_1": 3},
        **{"dropout_2": 3, "learning_rate": 6, "schedule": 2, "units_1": 6, "units_2": 6},
    },
    "nasbench201": {f"operation_{k}": 5 for k in range(1, 7)},
}
PUBLIC_CHOICES = {
    "hpobench": frozenset[str](),
    "hpolib": frozenset({"activation_1", "activation_2", "schedule"}),
    "nasbench201": frozenset(PUBLIC_SPACES["nasbench201"]),
}
PUBLIC = {
    **dict.fromkeys(("phoneme", "vehicle", "kc1", "segment"), "hpobench"),
    **dict.fromkeys(("slice_localization", "protein_structure"), "hpolib"),
    **dict.fromkeys(("cifar10", "cifar100", "imagenet"), "nasbench201"),
}

TUNING = ("digits", "reviews")
CURVES = (*TUNING, "mnist", "diamonds", "synthetic")
NOISY = ("digits, three seeds", "mnist, noise added")
CONDITIONAL_TABLES = ("estimators on digits", "estimators on mnist", "estimators on synthetic")
ADVERSARIAL = (
    "noise only",
    "late bloomers",
    "dead parameters",
    "mostly diverging",
    "all diverging",
    "costs 50 times",
)
NOISE = 0.01  # standard deviation of what is added to every report


def names() -> list[str]:
    """All tables."""
    return [*CURVES, *NOISY, *CONDITIONAL_TABLES, *PUBLIC, *ADVERSARIAL]


@cache
def load(name: str) -> Table:
    """Load or make a table; ` inverted` after a name reverses which configurations are good."""
    if name.endswith(" inverted"):
        return _inverted(load(name.removesuffix(" inverted")), name)
    if name in CURVES:
        return _modelled(name, name)
    if name == "mnist, noise added":
        return _modelled(name, "mnist", noise=NOISE)
    if name == "digits, three seeds":
        sizes = {key: len(values) for key, values in NOISY_GRID.items() if len(values) > 1}
        return _stored(name, "noisy-digits", sizes, frozenset(), {})
    if name in CONDITIONAL_TABLES:
        file = f"conditional-{name.rpartition(' ')[2]}"
        sizes = {key: len(values) for key, values in CONDITIONAL.items()}
        return _stored(name, file, sizes, CONDITIONAL_CHOICES, CONDITIONS)
    if name in PUBLIC:
        kind = PUBLIC[name]
        return _stored(name, name, PUBLIC_SPACES[kind], PUBLIC_CHOICES[kind], {})
    return ADVERSARIES[name](name)


def _stored(
    name: str, file: str, sizes: dict[str, int], choices: frozenset[str], when: Conditions
) -> Table:
    arrays = unpack(FOLDER / f"{file}.npz")
    return Table(
        name,
        sizes,
        choices,
        arrays["losses"],
        arrays["seconds"],
        when=when,
        second=arrays.get("second"),
    )


def _modelled(name: str, file: str, noise: float = 0.0) -> Table:
    grid = rows(SIZES, {})
    losses, cost = _whole(file, grid)
    seconds = 100 * cost[grid[:, 5], grid[:, 6], grid[:, 7]].astype(np.float32)
    width, depth = GRID["width"][grid[:, 5]], GRID["depth"][grid[:, 7]]
    weights = 64 * width + (depth - 1) * width**2 + 10 * width  # of 64 inputs and 10 classes
    return Table(
        name,
        SIZES,
        frozenset({"optimizer"}),
        losses,
        seconds,
        second=weights.astype(np.float32),
        noise=noise,
    )


def _whole(file: str, grid: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """All curves of the grid, and seconds by structure; kept, because peers lack scikit-learn."""
    path = FOLDER / f"{file}.npz"
    with np.load(path) as stored:
        sample, accuracy, cost = stored["idx"].astype(np.int64), stored["acc"], stored["cost"]
    kept = CACHE / f"{file}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}.npy"
    if not kept.exists():
        from sklearn.ensemble import ExtraTreesRegressor

        model = ExtraTreesRegressor(60, max_features=0.7, random_state=0)
        model.fit(_features(sample), 1 - accuracy)
        parts = [model.predict(_features(part)) for part in np.array_split(grid, 16)]
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=CACHE, suffix=".npy", delete=False) as whole:
            np.save(whole, np.concatenate(parts).astype(np.float32))
        Path(whole.name).replace(kept)
    return np.load(kept), cost


def _features(grid: NDArray[np.int64]) -> NDArray[np.float64]:
    """What decides how a network trains: among others, its effective learning rate."""
    rate = np.log(GRID["learning_rate"][grid[:, 0]])
    decay = np.log(GRID["weight_decay"][grid[:, 1]])
    momentum, batch = GRID["momentum"][grid[:, 3]], np.log2(GRID["batch_size"][grid[:, 6]])
    is_sgd = grid[:, 4] == 0
    effective = np.where(is_sgd, rate - np.log(1 - momentum) - 0.7 * batch, rate - 0.35 * batch)
    columns = [
        *(rate, np.where(is_sgd, effective, -9.0), np.where(is_sgd, 9.0, effective), decay),
        *(rate + decay, grid[:, 2], momentum, grid[:, 4], grid[:, 5], batch, grid[:, 7]),
    ]
    return np.column_stack(columns)


def _inverted(table: Table, name: str) -> Table:
    """The same task, in which the worst configurations are the best."""
    losses = np.nanmax(table.losses) + np.nanmin(table.losses) - table.losses
    return Table(name, table.parameters, table.choices, losses, table.seconds, when=table.when)


def _bowl(
    extra: dict[str, int] | None = None,
) -> tuple[dict[str, int], NDArray[np.int64], NDArray[np.float64]]:
    """A grid of four parameters, and a loss with one minimum."""
    sizes = dict.fromkeys(("a", "b", "c", "d"), 10) | (extra or {})
    grid = rows(sizes, {})
    distance = ((grid[:, :4] - np.array([2, 7, 4, 6])) / 9) ** 2
    return sizes, grid, 0.1 + distance @ np.array([1.0, 0.6, 0.3, 0.1])


_PROGRESS = np.arange(1, EPOCHS + 1) / EPOCHS


def _table(
    name: str, sizes: dict[str, int], losses: NDArray[np.float64], seconds: NDArray[np.float64]
) -> Table:
    return Table(name, sizes, frozenset(), losses.astype(np.float32), seconds.astype(np.float32))


def _noise_only(name: str) -> Table:
    rng = np.random.default_rng(0)
    sizes, grid, _ = _bowl()
    losses = rng.random((len(grid), 1)) * np.ones(EPOCHS) + 0.3 * rng.random((len(grid), EPOCHS))
    return _table(name, sizes, losses, 1.0 + rng.random(len(grid)))


def _late_bloomers(name: str) -> Table:
    """The better at the end, the worse at the start."""
    sizes, grid, final = _bowl()
    start = final.max() + 0.5 - final
    losses = start[:, None] + (final - start)[:, None] * _PROGRESS**0.5
    return _table(name, sizes, losses, 1.0 + np.random.default_rng(0).random(len(grid)))


def _dead_parameters(name: str) -> Table:
    sizes, grid, final = _bowl({"u": 5, "v": 5})
    losses = final[:, None] + 0.5 * np.exp(-6 * _PROGRESS)
    return _table(name, sizes, losses, 1.0 + np.random.default_rng(0).random(len(grid)))


def _mostly_diverging(name: str) -> Table:
    """All but the small `a` diverge: the later, the better the configuration was until then."""
    sizes, grid, final = _bowl()
    losses = final[:, None] + 0.5 * np.exp(-6 * _PROGRESS)
    lasts = np.where(grid[:, 0] >= 3, np.maximum(1, (4 / final).astype(int)), EPOCHS + 1)
    losses[np.arange(1, EPOCHS + 1) >= lasts[:, None]] = np.nan
    return _table(name, sizes, losses, 1.0 + np.random.default_rng(0).random(len(grid)))


def _all_diverging(name: str) -> Table:
    sizes, grid, _ = _bowl()
    losses = np.full((len(grid), EPOCHS), np.nan)
    return _table(name, sizes, losses, np.ones(len(grid)))


def _costs(name: str) -> Table:
    """Epochs of the largest `size` take 50 times as long, for a small gain."""
    sizes, grid, final = _bowl({"size": 10})
    gain = 0.02 * (1 - grid[:, 4] / 9)
    losses = (final + gain)[:, None] + 0.5 * np.exp(-6 * _PROGRESS)
    return _table(name, sizes, losses, 50.0 ** (grid[:, 4] / 9))


ADVERSARIES: dict[str, Callable[[str], Table]] = {
    "noise only": _noise_only,
    "late bloomers": _late_bloomers,
    "dead parameters": _dead_parameters,
    "mostly diverging": _mostly_diverging,
    "all diverging": _all_diverging,
    "costs 50 times": _costs,
}
