"""Labels that are numbers: how they are read, said, learned and judged."""

from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
import torch

from tests.support.training import Recorder, cohort
from tuner import families
from tuner.data import PreparedData, prepare
from tuner.data.prepared import PARTS
from tuner.errors import DataError, SpecError
from tuner.families import bow, registry
from tuner.study_file.data import DataSpec
from tuner.study_file.load import loads
from tuner.study_file.resolved import ResolvedSpec
from tuner.training import metrics, network, resident
from tuner.trials import ParamValue

ABLE = ("cnn", "text_cnn", "rnn", "transformer", "bow", "tfidf", "pretrained")
BAG: dict[str, ParamValue] = {
    "learning_rate": 0.05,
    "batch_size": 16,
    "optimizer": "adam",
    "schedule": "cosine",
    "dropout": 0.0,
    "analyzer": "word",
    "word_ngrams": "1-1",
    "min_df": 1,
    "max_df": 1.0,
    "max_terms": 10000,
    "binary": False,
    "sublinear_tf": False,
    "idf": False,
    "hidden": 0,
}


def resolved(more: str, *, family: str = "text_cnn", data: str = "{path: a.csv}") -> ResolvedSpec:
    return families.resolve(loads(f"name: x\nfamily: {family}\ndata: {data}\n{more}"))


@pytest.fixture(scope="module")
def priced(cache: Path) -> PreparedData:
    """Texts of three words, each of which has a price; 1,000 are always paid."""
    path = cache / "prices.csv"
    rng = np.random.default_rng(0)
    rows = [
        f"w{a} w{b} w{c},{1000 + a + b + c / 2}"
        for a, b, c in rng.integers(0, 9, (400, 3)).tolist()
    ]
    path.write_text("text,label\n" + "\n".join(rows), encoding="utf-8")
    return prepare(DataSpec(source="text", path=path, task="regression"), cache)


# The study file


def test_the_metric_means_the_task() -> None:
    study = resolved("objective: {metric: [rmse, latency]}")
    assert study.data is not None
    assert study.data.task == "regression"
    assert study.objective.directions == ("minimize", "minimize")
    assert study == resolved(
        "objective: {metric: [rmse, latency]}", data="{path: a.csv, task: regression}"
    )
    by_task = resolved("", data="{path: a.csv, task: regression}")
    assert (by_task.objective.metric, by_task.objective.direction) == ("rmse", "minimize")
    assert resolved("objective: {metric: r2}").objective.direction == "maximize"
    classes = resolved("", data="{path: a.csv, task: classification}")
    assert classes == resolved("")


@pytest.mark.parametrize("name", ABLE)
def test_what_is_searched_has_a_meaning(name: str) -> None:
    pinned = "search: {checkpoint: ./x}\n" if name == "pretrained" else ""
    data = "digits" if name == "cnn" else "{path: a.csv}"
    space = resolved(f"{pinned}objective: {{metric: mae}}", family=name, data=data).space
    lacking = registry.card(name).search.keys() - space.parameters.keys()
    assert lacking <= {"label_smoothing", "class_weights"}
    assert "label_smoothing" in lacking


@pytest.mark.parametrize(
    ("more", "data", "sentence"),
    [
        (
            "objective: {metric: rmse}",
            "{path: a.csv, task: classification}",
            ":4: objective.metric: `rmse` is of numbers, and `data.task: classification` means "
            "classes",
        ),
        (
            "objective: {metric: accuracy}",
            "{path: a.csv, task: regression}",
            ":4: objective.metric: `accuracy` is of classes, and `data.task: regression` means "
            "numbers",
        ),
        (
            "objective: {metric: [rmse, accuracy]}",
            "{path: a.csv}",
            ":4: objective.metric[1]: `accuracy` is of classes, and `metric: rmse` means numbers",
        ),
        (
            "objective: {metric: rsme}",
            "{path: a.csv}",
            "is the text `rsme`; did you mean `rmse`?",
        ),
        ("", "{source: lee, task: regression}", "has no meaning with `source: lee`; remove it"),
        ("", "{path: a.csv, task: regresion}", "did you mean `regression`?"),
    ],
)
def test_what_does_not_go_together_is_said(more: str, data: str, sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolved(more, data=data)
    assert sentence in str(caught.value)


def test_families_that_learn_no_numbers_say_who_does() -> None:
    with pytest.raises(SpecError) as caught:
        resolved("", family="word2vec", data="{path: a.csv, task: regression}")
    assert f"`word2vec` does not learn numbers; {', '.join(ABLE)} do" in str(caught.value)


# The data


def test_labels_are_standardized_by_the_training_part(priced: PreparedData) -> None:
    assert priced.classes == ()
    assert priced.outputs == 1
    assert priced.scale is not None
    mean, spread = priced.scale
    prices = {}
    for name in PARTS:
        part = priced.part(name)
        assert part.labels.dtype == np.float32
        prices[name] = [
            1000 + a + b + c / 2
            for a, b, c in ([int(w[1:]) for w in text.split()] for text in priced.texts(name))
        ]
        assert mean + spread * part.labels == pytest.approx(np.array(prices[name]), abs=1e-5)
    assert mean == pytest.approx(np.mean(prices["train"]))
    assert spread == pytest.approx(np.std(prices["train"]))


def test_numbers_beside_images(cache: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (30, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=x.mean(axis=(1, 2)))
    data = prepare(DataSpec(source="npz", path=tmp_path / "a.npz", task="regression"), cache)
    part = data.part("validation")
    assert data.scale is not None
    mean, spread = data.scale
    expected = part.inputs.astype(float).mean(axis=(1, 2, 3))
    assert mean + spread * part.labels == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (
            ["1", "two"],
            "line 3: the label must be a number (`task: regression`), is the text `two`",
        ),
        (["1", "nan"], "line 3: the label must be a finite number (`task: regression`), is the "),
        (["1", "-inf"], "line 3: the label must be a finite number (`task: regression`), is the "),
        ([" ", ""], "has no rows that can be used, only 2 rows with no label"),
        (["1", "2"], "has 2 rows; a split into three parts needs at least 3"),
        (["3"] * 9, "all 7 rows to learn from have the label 3; there is nothing to learn"),
        (["1e308", "-1e308"] * 9, "its labels are too large or too close"),
    ],
)
def test_labels_that_are_no_numbers_are_refused(
    labels: list[str], sentence: str, cache: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    rows = [f"w{row},{label}" for row, label in enumerate(labels)]
    path.write_text("text,label\n" + "\n".join(rows), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        prepare(DataSpec(source="text", path=path, task="regression"), cache)
    assert sentence in str(caught.value)


# Training


@pytest.mark.parametrize("seed", range(3))
def test_metrics_of_numbers_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    right = rng.normal(size=50)
    predictions = right + rng.normal(size=50)
    measured = metrics.regression(torch.tensor(predictions), torch.tensor(right), 4.0)
    for name, score in (
        ("rmse", sklearn.metrics.root_mean_squared_error),
        ("mae", sklearn.metrics.mean_absolute_error),
        ("r2", sklearn.metrics.r2_score),
    ):
        assert measured[name] == pytest.approx(score(4 * right + 7, 4 * predictions + 7))
    same = torch.zeros(3)
    assert metrics.regression(same + 1, same, 1.0) == {"rmse": 1.0, "mae": 1.0, "r2": 0.0}


def test_the_interval_of_an_rmse_is_that_of_a_deviation() -> None:
    errors = torch.tensor(np.random.default_rng(0).normal(size=400))
    rmse = metrics.regression(errors, torch.zeros(400), 3.0)["rmse"]
    low, high = metrics.regression_interval(errors, torch.zeros(400), "rmse", 3.0)
    half = 1.96 * rmse / (2 * 400) ** 0.5  # where errors are normal
    assert (low, high) == pytest.approx((rmse - half, rmse + half), abs=half / 5)


@pytest.mark.slow
def test_a_linear_bag_finds_the_prices(priced: PreparedData, tmp_path: Path) -> None:
    context = Recorder()
    changes = {"metric": "rmse", "direction": "minimize", "epochs": 20}
    bow.CODE.train(cohort(priced, tmp_path, BAG, **changes), priced, context)
    value, path = context.finished[0]
    assert priced.scale is not None
    assert value < 0.35 * priced.scale[1]
    last = context.reports[0][-1].metrics
    assert last["r2"] > 0.9  # words that stand twice in a text do not add up
    assert last["validation_loss"] == pytest.approx((last["rmse"] / priced.scale[1]) ** 2)
    assert path is not None


class _FirstToken(torch.nn.Module):
    """Its output is the number of a text's first token."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, :1]


def test_numbers_are_said_in_their_own_unit(priced: PreparedData) -> None:
    objective = network.supervision({}, priced, torch.device("cpu"))
    part = resident.load(priced, "validation", torch.device("cpu"))
    predictions = objective.predictions(_FirstToken(), part, 2)
    assert priced.scale is not None
    mean, spread = priced.scale
    numbers = part.inputs[:2, 0].tolist()
    assert [prediction["prediction"] for prediction in predictions] == pytest.approx(
        [mean + spread * n for n in numbers]
    )
