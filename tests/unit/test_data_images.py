"""Image folders as people have them: many formats, depths, transparency, damaged files."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from tuner.data import PreparedData, image_files, prepare
from tuner.data.fingerprint import fingerprint
from tuner.data.image_files import IMAGE_SUFFIXES
from tuner.data.prepared import PARTS
from tuner.errors import DataError
from tuner.study_file.data import DataSpec


def noise(*shape: int, seed: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, shape)


def folder(path: Path, save: Callable[[int, Path], None], number: int = 12) -> Path:
    """A folder with the classes a and b; `save` writes an image at a path without an ending."""
    for index in range(number):
        file = path / "ab"[index % 2] / str(index)
        file.parent.mkdir(parents=True, exist_ok=True)
        save(index, file)
    return path


def gray(index: int, path: Path) -> None:
    Image.fromarray(noise(5, 5, seed=index).astype("u1")).save(f"{path}.png")


def deep(index: int, path: Path, high: int = 65_536, suffix: str = "png") -> None:
    Image.fromarray(noise(5, 5, seed=index, high=high).astype("u2")).save(f"{path}.{suffix}")


def prepared(path: Path, **changes: object) -> PreparedData:
    spec = DataSpec(source="images", path=path, **changes)  # type: ignore[arg-type]
    return prepare(spec, path.parent / "cache")


def images(data: PreparedData) -> set[bytes]:
    return {image.tobytes() for part in PARTS for image in data.part(part).inputs}


def refused(path: Path, expected: str, **changes: object) -> None:
    with pytest.raises(DataError) as caught:
        prepared(path, **changes)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_pillow_decodes_is_an_image() -> None:
    endings = {
        suffix
        for suffix, name in Image.registered_extensions().items()
        if (name in Image.OPEN or name == "MPO") and name not in image_files.REFUSED
    }
    assert endings <= set(IMAGE_SUFFIXES)
    assert set(IMAGE_SUFFIXES) - endings <= {".avif", ".avifs"}  # not every pillow has these


@pytest.mark.parametrize(
    "suffix",
    ["tif", "tiff", "TIF", "jfif", "jpe", "ppm", "pgm", "webp", "avif", "bmp", "gif", "tga", "jp2"],
)
def test_images_of_every_ending_are_used(tmp_path: Path, suffix: str) -> None:
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this pillow has no AVIF")

    def save(index: int, path: Path) -> None:
        ending = suffix if index >= 6 else "png"
        Image.fromarray(noise(12, 12, seed=index).astype("u1")).save(f"{path}.{ending}")

    data = prepared(folder(tmp_path / "images", save))
    assert data.sizes == {"train": 8, "validation": 2, "test": 2}
    assert data.notes == ()


def test_a_folder_with_the_former_endings_keeps_its_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "images"
    for name in ("a/1.png", "a/2.jpg", "b/1.gif"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    assert fingerprint(DataSpec(source="images", path=path)) == "ec5c3854edc96d94"


def test_images_beside_the_classes_are_counted(tmp_path: Path) -> None:
    path = folder(tmp_path / "images", gray)
    gray(99, path / "99")
    assert prepared(path).notes == ("1 image was left out, which is in no class's sub-folder",)


def test_a_class_of_other_files_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "images", gray)
    (path / "c").mkdir()
    (path / "c" / "film.mp4").write_text("?")
    refused(path, "c: has no images, only files that end in .mp4; images end in .png, .jpg, .tif")


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("high", [65_536, 4_096, 200])
def test_16_bits_are_kept(tmp_path: Path, suffix: str, high: int) -> None:
    """Also of cameras that fill 12 of them, and of dark images."""
    path = folder(tmp_path / "images", lambda n, p: deep(n, p, high, suffix))
    data = prepared(path)
    assert data.input_shape == (1, 5, 5)
    assert data.notes == ()
    expected = {
        (noise(5, 5, seed=n, high=high).astype("f4") / np.float32(257)).tobytes() for n in range(12)
    }
    assert images(data) == expected


def test_16_bits_are_kept_when_resized(tmp_path: Path) -> None:
    def save(index: int, path: Path) -> None:
        Image.fromarray(np.full((6, 6), 1000 + index, dtype="u2")).save(f"{path}.png")

    data = prepared(folder(tmp_path / "images", save), image_size=(3, 3))
    pixels = np.concatenate([data.part(part).inputs for part in PARTS])
    assert np.unique(pixels * 257).round(2).tolist() == [1000 + n for n in range(12)]


def test_mixed_depths_are_on_one_scale(tmp_path: Path) -> None:
    """White is white, of 8 bits as of 16."""

    def save(index: int, path: Path) -> None:
        pixels = noise(5, 5, seed=index)
        pixels[0, 0] = 255
        kind, factor = ("u2", 257) if index % 3 == 0 else ("u1", 1)
        Image.fromarray((pixels * factor).astype(kind)).save(f"{path}.png")

    data = prepared(folder(tmp_path / "images", save))
    pixels = np.concatenate([data.part(part).inputs for part in PARTS])
    assert pixels.dtype == np.float32
    assert (pixels[:, 0, 0, 0] == 255).all()
    assert data.notes == (
        "4 of the 12 images have 16 bits per pixel, the others 8; all are read on the same scale "
        "from black to white",
    )


def test_16_bits_beside_colour(tmp_path: Path) -> None:
    def save(index: int, path: Path) -> None:
        if index:
            deep(index, path)
        else:
            Image.fromarray(noise(5, 5, 3).astype("u1")).save(f"{path}.png")

    data = prepared(folder(tmp_path / "images", save))
    assert data.input_shape == (3, 5, 5)
    plane = noise(5, 5, seed=7, high=65_536).astype("f4") / np.float32(257)
    assert np.broadcast_to(plane, (3, 5, 5)).tobytes() in images(data)


def test_images_of_16_bits_stay_in_their_parts(tmp_path: Path) -> None:
    """Parts follow from the high bytes, as when only these were read."""
    shallow = folder(
        tmp_path / "shallow",
        lambda n, p: Image.fromarray((noise(5, 5, seed=n, high=65_536) >> 8).astype("u1")).save(
            f"{p}.png"
        ),
        30,
    )
    deep_ = folder(tmp_path / "deep", deep, 30)
    for part in PARTS:
        high = [image.tobytes() for image in prepared(shallow).part(part).inputs]
        exact = prepared(deep_).part(part).inputs * np.float32(257)
        assert [image.tobytes() for image in (exact.round().astype("u4") >> 8).astype("u1")] == high


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.full((5, 5), 70_000, dtype="i4"), "its pixels range from 70,000 to 70,000, beyond 16"),
        (np.full((5, 5), -1, dtype="i4"), "its pixels range from -1 to -1, beyond 16 bits"),
        (np.zeros((5, 5), dtype="f4"), "its pixels are fractional numbers without a known"),
    ],
)
def test_pixels_without_a_scale_are_refused(
    tmp_path: Path, pixels: np.ndarray, expected: str
) -> None:
    path = folder(tmp_path / "images", gray)
    Image.fromarray(pixels).save(path / "a" / "x.tif")
    for skip in (False, True):
        refused(path, f"x.tif: {expected}", skip_damaged=skip)


def transparent(index: int, path: Path) -> None:
    pixels = np.zeros((5, 5, 4), dtype="u1")
    pixels[..., 3] = noise(5, 5, seed=index)
    Image.fromarray(pixels).save(f"{path}.png")


def test_images_that_are_transparency_alone_are_refused_or_named(tmp_path: Path) -> None:
    refused(
        folder(tmp_path / "all", transparent),
        "all: its images differ only in their transparency, which is dropped; draw them on a",
    )
    some = folder(tmp_path / "some", gray)
    transparent(50, some / "a" / "50")
    (note,) = prepared(some).notes
    assert note.startswith("1 image is a single color apart from the transparency, which is drop")


def test_other_transparency_is_no_matter(tmp_path: Path) -> None:
    def save(index: int, path: Path) -> None:
        Image.fromarray(noise(5, 5, 4, seed=index).astype("u1"), "RGBA").save(f"{path}.png")

    data = prepared(folder(tmp_path / "images", save))
    assert data.notes == ()
    assert noise(5, 5, 4).astype("u1")[..., :3].transpose(2, 0, 1).tobytes() in images(data)


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize("name", ["a/0.png", "b/7.png"])
def test_damaged_images_are_left_out_on_request(tmp_path: Path, name: str) -> None:
    path = folder(tmp_path / "images", gray, 30)
    whole = prepared(path)
    (path / "a" / "2.png").write_bytes(b"?")
    damage(path / name)
    refused(path, "is damaged or no image")
    data = prepared(path, skip_damaged=True)
    assert sum(data.sizes.values()) == 28
    assert images(data) < images(whole)
    (note,) = data.notes
    first = min(path / name, path / "a" / "2.png")
    assert note == f"2 images are damaged and were left out, the first is {first}"


def test_damaged_images_of_a_given_part_are_left_out_on_request(tmp_path: Path) -> None:
    path, test = folder(tmp_path / "images", gray), folder(tmp_path / "test", gray, 6)
    (test / "a" / "0.png").write_bytes(b"")
    data = prepared(path, test_path=test, skip_damaged=True)
    assert data.sizes["test"] == 5
    assert data.notes[0].startswith("test data: 1 image is damaged and was left out, the first is")


def test_no_class_gets_lost_with_damaged_images(tmp_path: Path) -> None:
    path = folder(tmp_path / "images", gray)
    (path / "c").mkdir()
    for name in "xyz":
        (path / "c" / f"{name}.png").write_bytes(b"?")
    refused(path, "c: all of its 3 images are damaged", skip_damaged=True)
    shutil.rmtree(path / "a")
    shutil.rmtree(path / "b")
    refused(path, "images: all of its images are damaged", skip_damaged=True)


def test_skipping_is_another_reading_of_the_folder(tmp_path: Path) -> None:
    path = folder(tmp_path / "images", gray)
    fingerprints = {
        fingerprint(DataSpec(source="images", path=path, skip_damaged=skip))
        for skip in (False, True)
    }
    assert len(fingerprints) == 2


def test_no_other_program_is_started_for_an_image(tmp_path: Path) -> None:
    """Pillow reads EPS with Ghostscript, whatever the file is called."""
    path = folder(tmp_path / "images", gray)
    Image.fromarray(noise(5, 5, 3).astype("u1")).save(tmp_path / "x.eps")
    (tmp_path / "x.eps").rename(path / "a" / "x.png")
    refused(path, "x.png: is damaged or no image; to leave such images out")
