"""The families' networks against plain references, and their default spaces."""

import random
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from tests.unit.conftest import Recorder, cohort
from tuner.data import Prepared, prepare
from tuner.families import cnn, registry, text_cnn
from tuner.spec.data import DataSpec


def test_two_convolutions_are_the_textbook_network() -> None:
    torch.manual_seed(0)
    model = cnn.CNN(1, 28, 28, 10, depth=2, filters=32, dense=128).eval()
    images = torch.randn(3, 1, 28, 28)
    state = model.state_dict()
    x = functional.conv2d(images, state["features.0.weight"], state["features.0.bias"], padding=1)
    x = functional.max_pool2d(x.relu(), 2)
    x = functional.conv2d(x, state["features.3.weight"], state["features.3.bias"], padding=1)
    x = functional.max_pool2d(x.relu(), 2).flatten(1)
    x = (x @ state["classifier.2.weight"].T + state["classifier.2.bias"]).relu()
    x = x @ state["classifier.5.weight"].T + state["classifier.5.bias"]
    assert state["features.0.weight"].shape == (32, 1, 3, 3)
    assert state["features.3.weight"].shape == (64, 32, 3, 3)
    assert torch.allclose(model(images), x, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 7, 50), (4, 1, 1), (1, 2, 9)])
@pytest.mark.parametrize("depth", [1, 3, 5])
def test_images_of_any_size(shape: tuple[int, int, int], depth: int) -> None:
    model = cnn.CNN(*shape, 5, depth=depth, filters=4, kernel=5, batch_norm=True)
    assert model(torch.randn(2, *shape)).shape == (2, 5)


def _text_cnn(**changes: object) -> text_cnn.TextCNN:
    torch.manual_seed(1)
    embeddings = torch.randn(20, 6)
    embeddings[0] = 0
    return text_cnn.TextCNN(embeddings, 3, **{"widths": (2, 3), "filters": 4, **changes})  # type: ignore[arg-type]


def test_text_cnn_is_kims_network() -> None:
    model = _text_cnn().eval()
    tokens = torch.tensor([5, 7, 2, 9])
    words = model.embedding.weight[tokens]
    pooled = []
    for convolution in model.convolutions:
        width = convolution.weight.shape[2]
        padded = functional.pad(words, (0, 0, width - 1, width - 1))
        windows = torch.stack([padded[i : i + width] for i in range(len(padded) - width + 1)])
        # a filter is a [dimension, width] matrix laid over `width` words
        features = torch.einsum("pwd,fdw->pf", windows, convolution.weight) + convolution.bias
        pooled.append(features.relu().amax(dim=0))
    expected = model.output(torch.cat(pooled))
    assert torch.allclose(model(tokens[None])[0], expected, atol=1e-5)


def test_logits_do_not_depend_on_the_padding() -> None:
    model = _text_cnn().eval()
    alone = model(torch.tensor([[5, 7]]))
    padded = model(torch.tensor([[5, 7, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6]]))[:1]
    assert torch.allclose(alone, padded, atol=1e-6)


def test_max_norm_scales_rows_back() -> None:
    model = _text_cnn(max_norm=1.0)
    with torch.no_grad():
        model.output.weight.mul_(100)
    model.constrain()
    assert torch.allclose(model.output.weight.norm(dim=1), torch.ones(3))


def test_static_vectors_are_not_trained() -> None:
    assert not _text_cnn(trained=False).embedding.weight.requires_grad
    assert _text_cnn(trained=True).embedding.weight.requires_grad


@pytest.mark.parametrize("name", registry.NAMES)
def test_every_draw_of_the_default_space_trains(
    name: str, digits: Prepared, reviews: Prepared, tmp_path: Path
) -> None:
    card = registry.card(name)
    data = digits if card.data == "images" else reviews
    module = cnn if name == "cnn" else text_cnn
    rng = random.Random(0)
    draws = [card.space.random(rng) for _ in range(5)]
    context = Recorder()
    module.train(cohort(data, tmp_path, *draws, epochs=1), data, context)
    assert len(context.finished) + len(context.problems) == 5
    assert len(context.finished) >= 4


@pytest.mark.parametrize("name", registry.NAMES)
def test_cards_say_what_changes_shapes(name: str) -> None:
    space = registry.card(name).space
    for wanted in ("learning_rate", "batch_size", "weight_decay", "dropout", "optimizer"):
        assert wanted in space.parameters
    assert space.parameters["batch_size"].structural
    assert not space.parameters["learning_rate"].structural


def test_text_cnn_learns(reviews: Prepared, tmp_path: Path) -> None:
    params = {
        "learning_rate": 0.01,
        "batch_size": 16,
        "optimizer": "adam",
        "weight_decay": 1e-6,
        "dropout": 0.2,
        "embedding_dropout": 0.1,
        "label_smoothing": 0.0,
        "embeddings": "random",
        "embedding_size": 50,
        "filter_widths": "1+2+3",
        "filters": 32,
        "max_norm": 3,
    }
    context = Recorder()
    text_cnn.train(cohort(reviews, tmp_path, params, epochs=5), reviews, context)
    assert context.finished[0][0] >= 0.9


@pytest.mark.parametrize("kind", ["static", "tuned"])
def test_words_take_their_vectors_from_the_file(kind: str, reviews: Prepared, cache: Path) -> None:
    path = cache / "vectors.txt"
    path.write_text("2 3\ngood 1 2 3\nbad 4 5 6\n")
    table = cache / "reviews.csv"
    data = prepare(DataSpec(source="text", path=table, vectors=path), cache)
    params = {
        "embeddings": kind,
        "filter_widths": "2+3",
        "filters": 4,
        "dropout": 0.1,
        "embedding_dropout": 0.0,
        "max_norm": 3,
    }
    model = text_cnn.build(params, data)
    assert isinstance(model, text_cnn.TextCNN)
    rows = model.embedding.weight
    assert rows[data.vocabulary.index("good")].tolist() == [1, 2, 3]
    assert rows[data.vocabulary.index("bad")].tolist() == [4, 5, 6]
    assert rows[0].tolist() == [0, 0, 0]
    other = rows[data.vocabulary.index("book")]
    assert (other.abs() <= text_cnn.RANDOM_RANGE).all()
    assert other.any()
    assert rows.requires_grad == (kind == "tuned")
