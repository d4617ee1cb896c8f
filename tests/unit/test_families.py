"""The families' networks against plain references, and their default spaces."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from torch.nn import functional

from tests.support.training import Recorder, cohort
from tuner.data import PreparedData, prepare, tokenizer
from tuner.data.prepared import PartName
from tuner.errors import DataError
from tuner.families import cnn, code, registry, rnn, text_cnn, transformer
from tuner.families.parts import bag, embedding
from tuner.study_file.data import DataSpec
from tuner.training import network
from tuner.trials import ParamValue

# these have files of their own: one needs a checkpoint, one pairs
ELSEWHERE = ("pretrained", "seq2seq")
TRAINED = [
    name
    for name in registry.BUILT_IN
    if not registry.card(name).is_user_code and name not in ELSEWHERE
]


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


def test_a_residual_block_adds_to_its_input() -> None:
    torch.manual_seed(0)
    images = torch.randn(3, 4, 6, 6)
    for out in (4, 8):
        block = cnn.Residual(4, out, 3, batch_norm=False)
        state = block.state_dict()
        x = functional.conv2d(images, state["first.0.weight"], state["first.0.bias"], padding=1)
        x = functional.conv2d(x.relu(), state["second.0.weight"], state["second.0.bias"], padding=1)
        around = images
        if out != 4:
            around = functional.conv2d(images, state["shortcut.0.weight"], state["shortcut.0.bias"])
        assert torch.allclose(block(images), (x + around).relu(), atol=1e-6)
    assert isinstance(cnn.Residual(4, 4, 3, batch_norm=True).shortcut, torch.nn.Identity)


def test_images_are_shifted_and_mirrored_while_training_alone() -> None:
    torch.manual_seed(0)
    images = torch.zeros(400, 2, 9, 20)
    images[:, 0, 4, 5] = 1.0
    images[:, 1, 4, 5] = 2.0
    augment = cnn.Augment(0.2, flip=True)
    augmented = augment(images)
    at = augmented[:, 0].flatten(1).argmax(dim=1)
    assert (augmented[:, 0].sum(dim=(1, 2)) == 1).all()  # the pixel never leaves so wide an image
    assert torch.equal(augmented[:, 1], 2 * augmented[:, 0])  # channels move together
    rows, columns = at // 20, at % 20
    assert set(rows.tolist()) == {3, 4, 5}  # 0.2 of 9 is 1 pixel, of 20 it is 4
    assert set(columns.tolist()) == {*range(1, 10), *range(10, 19)}
    assert 150 < int((columns >= 10).sum()) < 250
    assert torch.equal(augment.eval()(images), images)
    assert torch.equal(cnn.Augment(0.0, flip=False)(images), images)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 7, 50), (4, 1, 1), (1, 2, 9)])
@pytest.mark.parametrize("depth", [1, 3, 5])
def test_images_of_any_size(shape: tuple[int, int, int], depth: int, residual: bool) -> None:
    model = cnn.CNN(
        *shape, 5, depth=depth, filters=4, kernel=5, batch_norm=True,
        residual=residual, shift=0.1, flip=True,
    )  # fmt: skip
    assert model(torch.randn(2, *shape)).shape == (2, 5)


def _text_cnn(**changes: object) -> text_cnn.TextCNN:
    return text_cnn.TextCNN(_words(), 3, **{"widths": (2, 3), "filters": 4, **changes})  # type: ignore[arg-type]


def _words() -> torch.nn.Embedding:
    """Vectors of 20 words in 6 dimensions."""
    torch.manual_seed(1)
    return torch.nn.Embedding(20, 6, padding_idx=0)


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


TEXT_NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "text_cnn": _text_cnn,
    **{
        f"rnn {cell} {pooling}": partial(
            lambda **p: rnn.RNN(_words(), 3, hidden=5, **p), cell=cell, pooling=pooling, layers=2
        )
        for cell in rnn.CELLS
        for pooling in ("last", "mean", "attention")
    },
    "transformer": lambda: transformer.Transformer(_words(), 3, 10, heads=2, width=8),
}


@pytest.mark.parametrize("name", TEXT_NETWORKS)
def test_logits_do_not_depend_on_the_padding(name: str) -> None:
    model = TEXT_NETWORKS[name]().eval()
    unpadded = model(torch.tensor([[5, 7]]))
    padded = model(torch.tensor([[5, 7, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6]]))[:1]
    assert torch.allclose(unpadded, padded, atol=1e-6)


def test_multichannel_is_an_image_of_two_channels() -> None:
    torch.manual_seed(3)
    channels = embedding.Channels(_words().weight.detach())
    with torch.no_grad():
        channels.trained.weight += torch.randn(20, 6)
    model = text_cnn.TextCNN(channels, 3, widths=(2,), filters=4).eval()
    tokens = torch.tensor([[5, 7, 2, 9]])
    image = torch.stack(
        [channels.kept(tokens), channels.trained(tokens)], dim=1
    )  # [1, 2, length, 6]
    weight = model.convolutions[0].weight  # [filters, 2 * 6, width]
    kernel = weight.view(4, 2, 6, 2).transpose(2, 3)
    features = functional.conv2d(image, kernel, model.convolutions[0].bias, padding=(1, 0))
    expected = model.output(features.squeeze(3).relu().amax(dim=2))
    assert torch.allclose(model(tokens), expected, atol=1e-5)


def test_max_norm_scales_rows_back() -> None:
    model = _text_cnn(max_norm=1.0)
    with torch.no_grad():
        model.output.weight.mul_(100)
    model.constrain()
    assert torch.allclose(model.output.weight.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize(("cell", "reference"), [("tanh", "RNN"), ("lstm", "LSTM"), ("gru", "GRU")])
def test_rnn_is_torchs_own_stack(cell: str, reference: str) -> None:
    torch.manual_seed(2)
    mine = rnn.RNN(_words(), 3, cell=cell, hidden=5, layers=2, bidirectional=True).eval()
    theirs = getattr(torch.nn, reference)(6, 5, 2, batch_first=True, bidirectional=True)
    theirs.load_state_dict(
        {
            name.replace("_l0", f"_l{depth}"): value
            for depth, layer in enumerate(mine.recurrent)
            for name, value in layer.state_dict().items()
        }
    )
    tokens = torch.tensor([[5, 7, 2, 9]])
    _, last = theirs(mine.embedding(tokens))
    last = last[0] if isinstance(last, tuple) else last
    expected = mine.output(torch.cat([last[-2], last[-1]], dim=1))  # of the second layer
    assert torch.allclose(mine(tokens), expected, atol=1e-6)


def test_transformer_is_attention_and_feed_forward_after_norms() -> None:
    model = transformer.Transformer(_words(), 3, 10, layers=1, heads=2, width=8).eval()
    layer = model.layers[0]
    tokens = torch.tensor([[5, 7, 2]])
    x = model.projection(model.embedding(tokens)) + model.positions[:3]
    normed = layer.norm1(x)
    weight, bias = layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias
    query, key, value = (
        part.view(1, 3, 2, 4).transpose(1, 2)
        for part in functional.linear(normed, weight, bias).chunk(3, dim=2)
    )
    scores = (query @ key.transpose(2, 3) / 2.0).softmax(dim=3)  # √4 features a head
    mixed = (scores @ value).transpose(1, 2).reshape(1, 3, 8)
    x = x + layer.self_attn.out_proj(mixed)
    x = x + layer.linear2(functional.gelu(layer.linear1(layer.norm2(x))))
    expected = model.output(model.norm(x).mean(dim=1))
    assert torch.allclose(model(tokens), expected, atol=1e-5)


def test_positions_are_those_of_the_paper() -> None:
    positions = transformer.sinusoids(50, 16)
    for place, index in ((3, 4), (49, 14), (0, 0)):
        angle = place / 10_000 ** (index / 16)
        assert positions[place, index].item() == pytest.approx(math.sin(angle), abs=1e-5)
        assert positions[place, index + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_variational_dropout_drops_the_same_features_at_every_step() -> None:
    torch.manual_seed(0)
    dropped = embedding.VariationalDropout(0.5).train()(torch.ones(4, 9, 30))
    assert torch.equal(dropped, dropped[:, :1].expand(4, 9, 30))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(dropped[0], dropped[1])


def test_word_dropout_drops_whole_words() -> None:
    torch.manual_seed(0)
    dropped = embedding.WordDropout(0.5).train()(torch.ones(4, 30, 9))
    assert torch.equal(dropped, dropped[:, :, :1].expand(4, 30, 9))
    assert embedding.WordDropout(0.5).eval()(torch.ones(1, 2, 3)).eq(1).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_every_draw_of_the_default_space_trains(
    name: str, digits: PreparedData, reviews: PreparedData, tmp_path: Path
) -> None:
    card = registry.card(name)
    data = digits if "images" in card.data else reviews
    rng = random.Random(0)
    draws = [card.space.random(rng) for _ in range(5)]
    context = Recorder()
    metric = (card.metrics_with_labels or card.metrics)[0]
    code.load(card).train(cohort(data, tmp_path, *draws, epochs=1, metric=metric), data, context)
    assert len(context.finished) + len(context.problems) == 5
    assert len(context.finished) >= 4


NETWORKS = sorted({*TRAINED, *ELSEWHERE} - {"word2vec", "fasttext"})


@pytest.mark.parametrize("name", NETWORKS)
def test_cards_say_what_changes_shapes(name: str) -> None:
    space = registry.card(name).space
    for expected in ("learning_rate", "batch_size", "weight_decay", "dropout", "optimizer"):
        assert expected in space.parameters
    assert space.parameters["batch_size"].structural
    assert not space.parameters["learning_rate"].structural


@pytest.mark.slow
def test_text_cnn_learns(reviews: PreparedData, tmp_path: Path) -> None:
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
    text_cnn.CODE.train(cohort(reviews, tmp_path, params, epochs=5), reviews, context)
    assert context.finished[0][0] >= 0.9


@pytest.mark.parametrize("kind", ["static", "tuned", "multichannel"])
def test_words_take_their_vectors_from_the_file(
    kind: str, reviews: PreparedData, cache: Path
) -> None:
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
    layer = model.embedding
    if isinstance(layer, embedding.Channels):
        assert torch.equal(layer.kept.weight, layer.trained.weight)
        assert not layer.kept.weight.requires_grad
        layer = layer.trained
    rows = layer.weight
    assert rows[data.vocabulary.index("good")].tolist() == [1, 2, 3]
    assert rows[data.vocabulary.index("bad")].tolist() == [4, 5, 6]
    assert rows[0].tolist() == [0, 0, 0]
    other = rows[data.vocabulary.index("book")]
    assert (other.abs() <= embedding.RANDOM_RANGE).all()
    assert other.any()
    assert rows.requires_grad == (kind != "static")


BAG: dict[str, ParamValue] = {
    "analyzer": "word",
    "word_ngrams": "1-2",
    "min_df": 1,
    "max_df": 1.0,
    "max_terms": 10_000,
    "binary": False,
    "sublinear_tf": True,
    "idf": True,
    "hidden": 0,
    "dropout": 0.0,
}


SETTINGS: list[dict[str, ParamValue]] = [
    {},
    {"word_ngrams": "1-3", "sublinear_tf": False, "idf": False, "binary": True, "max_df": 0.4},
    {"min_df": 2, "max_terms": 9, "sublinear_tf": False},
    {"max_terms": 7, "binary": True, "max_df": 0.9},
    {"analyzer": "character", "character_ngrams": "2-5", "max_terms": 200, "min_df": 3},
]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", ["train", "validation"])
def test_terms_are_those_of_scikit_learn(
    name: PartName, setting: dict[str, ParamValue], reviews: PreparedData
) -> None:
    params: dict[str, Any] = {**BAG, **setting}
    by_word = params["analyzer"] == "word"
    low, high = params["word_ngrams" if by_word else "character_ngrams"].split("-")
    vectorizer = TfidfVectorizer(
        analyzer="word" if by_word else "char_wb",
        tokenizer=partial(tokenizer.tokenize, lowercase=False) if by_word else None,
        token_pattern=None,
        ngram_range=(int(low), int(high)),
        min_df=params["min_df"],
        max_df=params["max_df"],
        max_features=params["max_terms"],
        binary=params["binary"],
        use_idf=params["idf"],
        sublinear_tf=params["sublinear_tf"],
        dtype=np.float32,
    )
    train = vectorizer.fit_transform(reviews.texts("train"))
    expected = train if name == "train" else vectorizer.transform(reviews.texts(name))
    terms = bag.load(params, reviews, name, torch.device("cpu"))
    (ids, weights), labels = terms.batch(torch.arange(len(terms)))
    dense = torch.zeros(len(terms), terms.count + 1).scatter_add_(1, ids.long(), weights)
    assert torch.equal(dense[:, 1:], torch.tensor(expected.toarray()))
    assert labels.tolist() == reviews.part(name).labels.tolist()
    described = bag.export(params, reviews, Path(), Path())["terms"]
    assert described["names"] == vectorizer.get_feature_names_out().tolist()
    assert described["idf"] == (vectorizer.idf_.tolist() if params["idf"] else None)


def test_texts_are_counted_once_for_all_settings(
    reviews: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = torch.device("cpu")
    bag.load({**BAG, "word_ngrams": "2-2"}, reviews, "train", device)
    monkeypatch.setattr(PreparedData, "texts", None)  # nobody reads them again
    bag.load({**BAG, "word_ngrams": "2-2", "min_df": 2, "binary": True}, reviews, "test", device)


def test_a_linear_bag_is_a_matrix_product(reviews: PreparedData) -> None:
    torch.manual_seed(0)
    model = bag.build(BAG, reviews)
    assert isinstance(model, bag.Bag)
    torch.nn.init.normal_(model.terms.weight)
    torch.nn.init.normal_(model.bias)
    terms = bag.load(BAG, reviews, "train", torch.device("cpu"))
    inputs, _ = terms.batch(torch.tensor([3, 0]))
    dense = torch.zeros(2, terms.count + 1).scatter_add_(1, inputs[0].long(), inputs[1])
    expected = dense[:, 1:] @ model.terms.weight[1:] + model.bias
    assert torch.allclose(model(inputs), expected, atol=1e-5)


def test_settings_that_leave_no_term_are_told(reviews: PreparedData) -> None:
    with pytest.raises(DataError, match="no term is left with min_df 9999"):
        bag.load({**BAG, "min_df": 9999}, reviews, "train", torch.device("cpu"))


def test_vectorizing_is_done_once_for_a_setting(reviews: PreparedData) -> None:
    device = torch.device("cpu")
    assert bag.load(BAG, reviews, "train", device) is bag.load(BAG, reviews, "train", device)
    for number in range(2, bag.CACHED + 2):
        bag.load({**BAG, "max_terms": number}, reviews, "train", device)
    assert len(bag._cache) == bag.CACHED


def test_balanced_classes_weigh_the_same(reviews: PreparedData) -> None:
    data = replace(reviews, class_counts={"negative": 30, "positive": 10})
    weights = network._class_weights({"class_weights": "balanced"}, data, torch.device("cpu"))
    assert weights is not None
    assert weights.tolist() == pytest.approx([40 / 60, 2.0])
    assert network._class_weights({"class_weights": "none"}, data, torch.device("cpu")) is None
