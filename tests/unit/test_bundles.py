"""Each family's bundle is used, without tuner, and checked."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx as onnx_model
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.support import bundles
from tests.support.bundles import STUDIES, Made
from tests.support.fresh import Fresh
from tests.support.measuring import measuring_here
from tuner.data import prepare
from tuner.errors import BadInputError, TunerError
from tuner.export import BundleOptions, export, folder, manifest, verify
from tuner.export.verify import Check
from tuner.families import registry
from tuner.families.bundle import onnx
from tuner.families.bundle.predict import images
from tuner.families.parts import bag
from tuner.study_file.resolved import ResolvedSpec

pytestmark = pytest.mark.slow

FAMILIES = [name for name in registry.BUILT_IN if not registry.card(name).is_user_code]


@pytest.fixture(scope="module")
def here() -> Iterator[pytest.MonkeyPatch]:
    """Training and measuring happen in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "run", measuring_here(subprocess.run))
        yield patch


@pytest.fixture(scope="module")
def made(here: object, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """A family's bundle, made once."""
    folder = tmp_path_factory.mktemp("bundles")
    bundles.write_data(folder)
    known: dict[str, Made] = {}

    def make(name: str) -> Made:
        if name not in known:
            known[name] = bundles.make(name, folder)
        return known[name]

    return make


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """An environment with torch, regex, transformers and gensim alone."""
    return Fresh(tmp_path_factory.mktemp("environment"))


def test_every_family_is_covered() -> None:
    assert set(FAMILIES) <= STUDIES.keys()


def test_the_fresh_environment_has_torch_and_regex_alone(fresh: Fresh) -> None:
    code = "import importlib.util as u; print([n for n in {!r} if u.find_spec(n)])"
    names = [
        "torch",
        "regex",
        "tuner",
        "numpy",
        "safetensors",
        "sklearn",
        "optuna",
        "transformers",
        "gensim",
    ]
    assert fresh.run("-c", code.format(names)) == "['torch', 'regex']\n"
    assert "'tuner'" not in fresh.run("-c", code.format(names), more=True)


def checks(bundle: Path, **chosen: bool) -> dict[str, Check]:
    return {check.name: check for check in verify.verify(bundle, **chosen)}


# runs programs in one process, so that torch is imported once
DRIVER = """
import contextlib, io, json, runpy, sys
found = {}
for name, program, inputs in json.load(sys.stdin):
    sys.argv, said = [program, inputs], io.StringIO()
    with contextlib.redirect_stdout(said):
        runpy.run_path(program, run_name="__main__")
    found[name] = said.getvalue()
print(json.dumps(found))
"""


def test_predictions_without_tuner_are_those_of_training(
    made: Callable[[str], Made], fresh: Fresh, tmp_path: Path
) -> None:
    jobs, expected = [], {}
    for name in FAMILIES:
        one = made(name)
        inputs = tmp_path / f"{name}.csv"
        expected[name] = bundles.predictions(one, inputs)
        jobs.append((name, str(one.folder / "predict.py"), str(inputs)))
    with_more = [job for job in jobs if job[0] in ("pretrained", "word2vec", "fasttext")]
    alone = [job for job in jobs if job not in with_more]
    said = json.loads(fresh.run("-c", DRIVER, given=json.dumps(alone)))
    said |= json.loads(fresh.run("-c", DRIVER, given=json.dumps(with_more), more=True))
    for name, answers in expected.items():
        found = [json.loads(line) for line in said[name].splitlines()]
        assert len(found) == len(answers) > 0
        assert all(map(verify.alike, found, answers)), name


@pytest.mark.parametrize("name", STUDIES)
def test_a_bundle_is_verified_to_the_last_bit(name: str, made: Callable[[str], Made]) -> None:
    found = checks(made(name).folder, predict=True)
    assert all(check.passed for check in found.values()), found
    training = found["training"]
    assert training.claimed == training.found
    assert training.detail == "equal, to the last digit"


def with_onnx(one: Made, bundle: Path) -> Path:
    options = BundleOptions(onnx=True, look=False)
    return export(one.study, one.trial, bundle, one.settings, options=options).folder


def from_onnx(bundle: Path, one: Made, rows: slice) -> NDArray[np.float32]:
    """What onnxruntime says of rows of the validation part, fed as docs/exports.md has it."""
    session = onnxruntime.InferenceSession(bundle / "model.onnx")
    data = prepare(ResolvedSpec.from_json(one.study.spec).data, one.settings.data_cache)
    inputs = data.part("validation").inputs[rows]
    known = json.loads((bundle / "preprocessing.json").read_text())
    name = "tokens"
    if known["kind"] == "images":
        mean, std = (np.array(known[key]).reshape(-1, 1, 1) for key in ("mean", "std"))
        name, inputs = "images", ((inputs - mean) / std).astype(np.float32)
    found: NDArray[np.float32] = session.run(None, {name: inputs})[0]
    return found


@pytest.mark.parametrize(
    "name",
    [
        *(
            "cnn",
            "text_cnn",
            "rnn",
            "static vectors",
            "transformer",
            "bow",
            "n-grams of characters",
        ),
        *("numbers", "numbers of terms", "numbers of images"),
    ],
)
def test_onnx_says_what_training_says(
    name: str, made: Callable[[str], Made], tmp_path: Path
) -> None:
    one = made(name)
    bundle = with_onnx(one, tmp_path / "bundle")
    said = json.loads((bundle / "result.json").read_text())["onnx"]
    assert 0 <= said["largest_difference"] < onnx.TOLERANCE
    assert "`model.onnx` (opset 18) takes " in (bundle / "card.md").read_text()
    assert "model.onnx" in manifest.read(bundle)
    found = checks(bundle, train=False)["onnx"]
    assert (found.passed, found.claimed) == (True, said["largest_difference"])
    if "tokens" in said["inputs"] or "images" in said["inputs"]:
        expected = [
            list(answer["probabilities"].values())
            if said["output"] == "probabilities"
            else answer["prediction"]
            for answer in bundles.predictions(one, tmp_path / "inputs.csv")
        ]
        for rows in (slice(0, 1), slice(0, 20)):
            assert from_onnx(bundle, one, rows) == pytest.approx(np.array(expected[rows]), abs=1e-4)


def test_another_network_as_onnx_is_found(made: Callable[[str], Made], tmp_path: Path) -> None:
    bundle = with_onnx(made("n-grams of characters"), tmp_path / "bundle")
    other = onnx_model.load(bundle / "model.onnx")
    for tensor in other.graph.initializer:
        values = onnx_model.numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(onnx_model.numpy_helper.from_array(2 * values, tensor.name))
    onnx_model.save(other, bundle / "model.onnx")
    manifest.write(bundle)
    assert not checks(bundle, train=False)["onnx"].passed
    (bundle / "model.onnx").write_bytes(b"nothing")
    manifest.write(bundle)
    with pytest.raises(TunerError, match=r"model\.onnx cannot be run"):
        checks(bundle, train=False)


def test_the_card_of_numbers_says_their_spread(made: Callable[[str], Made]) -> None:
    one = made("numbers")
    content = one.exported.content
    labels, metric = content["labels"], content["metric"]
    assert f"standard deviation {labels['standard_deviation']:.4g}" in (
        one.folder / "card.md"
    ).read_text(encoding="utf-8")
    for part in ("validation", "test"):
        low, high = metric[f"{part}_interval"]
        assert low < metric[part] < high
    assert content["test"].keys() == {"rmse", "mae", "r2"}


def test_onnx_that_says_something_else_is_refused(
    made: Callable[[str], Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = bag._WeightedSum.forward
    monkeypatch.setattr(
        bag._WeightedSum, "forward", lambda *given, **named: 1.1 * right(*given, **named)
    )
    with pytest.raises(TunerError, match="its probabilities differ by "):
        with_onnx(made("bow"), tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_onnx_that_cannot_be_is_refused(
    made: Callable[[str], Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInputError, match=r"seq2seq has no ONNX form: it writes token by token"):
        with_onnx(made("seq2seq"), tmp_path / "bundle")
    monkeypatch.setattr(folder, "find_spec", lambda _: None)
    with pytest.raises(BadInputError, match=r"are not installed.*pip install 'tuner\[onnx\]'"):
        with_onnx(made("cnn"), tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def copy(made: Callable[[str], Made], tmp_path: Path) -> Path:
    """A bundle to change."""
    return Path(shutil.copytree(made("cnn").folder, tmp_path / "copy"))


def test_what_was_changed_is_refused(copy: Path) -> None:
    for name, expected in (
        ("config.yaml", "config.yaml was changed"),
        ("more", "more does not belong to it"),
    ):
        path = copy / name
        before = path.read_bytes() if path.exists() else None
        path.write_text("learning_rate: 1")
        with pytest.raises(BadInputError, match=f"is not as exported: {expected}"):
            checks(copy)
        path.unlink() if before is None else path.write_bytes(before)
    (copy / "__pycache__").mkdir()  # as after `from config import PARAMS`
    (copy / "__pycache__" / "config.pyc").write_bytes(b"")
    assert checks(copy, train=False)["figures"].passed
    (copy / "predict.py").rename(copy.with_name("elsewhere.py"))
    with pytest.raises(BadInputError, match=r"predict\.py is missing"):
        checks(copy)
    (copy / "predict.py").symlink_to(copy.with_name("elsewhere.py"))
    with pytest.raises(BadInputError, match=r"predict\.py is a symbolic link"):
        checks(copy)


@pytest.mark.parametrize(
    ("name", "what", "sentence"),
    [
        ("pipe", "pipe", "pipe is a pipe, socket or device"),
        (manifest.NAME, "pipe", "cannot be read"),
        (manifest.NAME, "/dev/zero", "is a symbolic link"),
        (manifest.NAME, "large", "is damaged"),
    ],
)
def test_nothing_of_a_bundle_keeps_its_reader_waiting(
    copy: Path, name: str, what: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "_LARGEST", (copy / manifest.NAME).stat().st_size)
    manifest.read(copy)
    path = copy / name
    if what == "large":
        path.write_text(path.read_text() + " ")
    else:
        path.unlink(missing_ok=True)
        os.mkfifo(path) if what == "pipe" else path.symlink_to(what)
    with pytest.raises(BadInputError, match=sentence):
        next(verify.verify(copy))


def test_a_manifest_that_cannot_be_read(copy: Path) -> None:
    path = copy / manifest.NAME
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "format": manifest.FORMAT + 1, "tuner": "9.9"}))
    with pytest.raises(BadInputError, match=r"was written by a newer tuner \(9\.9, format 2; this"):
        checks(copy)
    for damaged in ("", "[]", "{}", '{"format": "1", "files": {}}', "[" * 100_000):
        path.write_text(damaged)
        with pytest.raises(BadInputError, match=r"its manifest\.json is damaged"):
            checks(copy)


def test_claims_that_are_not_true_are_found(copy: Path) -> None:
    path = copy / "result.json"
    content = json.loads(path.read_text())
    metric = content["metric"]
    metric["validation"] = metric["validation_from_weights"] = metric["validation"] + 0.01
    path.write_text(json.dumps(content))
    manifest.write(copy)  # as whoever forges a bundle would
    found = checks(copy)
    assert {name: check.passed for name, check in found.items()} == {
        "files": True,
        "figures": False,
        "training": False,
    }
    assert "nothing explains it" in found["training"].detail
    content["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(content))
    manifest.write(copy)
    told = checks(copy)["training"]
    assert told.passed
    assert told.detail.startswith("within ")
    assert "torch 1.0 → " in told.detail


def test_other_predictions_are_found(copy: Path) -> None:
    program = copy / "predict.py"
    program.write_text(program.read_text().replace("nn.MaxPool2d", "nn.AvgPool2d"))
    manifest.write(copy)
    found = checks(copy, train=False, predict=True)["predictions"]
    assert not found.passed
    assert "of 200 rows" in found.detail


def test_data_that_has_moved_or_changed(
    made: Callable[[str], Made], tmp_path: Path, here: pytest.MonkeyPatch
) -> None:
    bundle = made("bow").folder
    data = bundle.parent / "reviews.csv"
    moved = data.rename(tmp_path / "reviews.csv")
    try:
        with pytest.raises(BadInputError, match=r"reviews\.csv: there is no such file"):
            checks(bundle)
        assert all(c.passed for c in verify.verify(bundle, overrides=[f"data.path={moved}"]))
        data.write_text(moved.read_text() + '\n"a new book",positive,1.5\n')
        with pytest.raises(TunerError, match="the data has changed since the study was launched"):
            checks(bundle)
    finally:
        data.unlink(missing_ok=True)
        moved.rename(data)


def test_predictions_of_texts_from_a_pipe(made: Callable[[str], Made], fresh: Fresh) -> None:
    program = str(made("bow").folder / "predict.py")
    said = fresh.run(program, given="really good value\nI hate it\n")
    answers = [json.loads(line) for line in said.splitlines()]
    assert [answer["prediction"] for answer in answers] == ["positive", "negative"]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "I;16"])
def test_png_files_are_read_as_pillow_reads_them(mode: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    smooth = (np.add.outer(np.arange(13) * 9, np.arange(17) * 5)[..., None] + np.arange(4)) % 256
    noise = rng.integers(0, 256, (13, 17, 4))
    for pixels in (smooth, noise):
        image = Image.fromarray(pixels.astype(np.uint8), "RGBA")
        if mode == "I;16":
            image = Image.fromarray((pixels[..., 0] * 256 + 7).astype(np.uint16))
        elif mode != "RGBA":
            image = image.convert("RGB").convert(mode) if mode != "LA" else image.convert("LA")
        path = tmp_path / "image.png"
        image.save(path)
        for shape in ((1, 13, 17), (3, 13, 17)):
            with pytest.MonkeyPatch.context() as patch:
                theirs = images._read_image(path, shape)
                patch.setattr(images, "_read_with_pillow", lambda *_: None)
                mine = images._read_image(path, shape)
            assert torch.equal(mine, theirs), (mode, shape)


def test_what_is_no_image_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_read_with_pillow", lambda *_: None)
    path = tmp_path / "x.png"
    path.write_bytes(b"GIF89a")
    header = b"\x89PNG\r\n\x1a\n"
    without_pixels = header + b"\0\0\0\x0dIHDR\0\0\0\x08\0\0\0\x08\x08\0\0\0\0crc_"
    for content, expected in (
        (b"GIF89a", "is no PNG file"),
        (header, "is damaged"),
        (without_pixels, "is damaged"),
    ):
        path.write_bytes(content)
        with pytest.raises(SystemExit, match=expected):
            images._read_image(path, (1, 8, 8))
