"""Images in a folder with one sub-folder per class."""

import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from tuner.data import image_files, source_files
from tuner.data.examples import Images, key_of
from tuner.data.image_files import ImageFiles
from tuner.data.labels import LabelError, ReadLabel, read_class
from tuner.data.prepared import PartName
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.data import DataSpec
from tuner.study_file.messages import counted

CACHE_SIZE = 256 << 20  # bytes of decoded images kept in memory; the others are decoded twice

_GRAY = ("1", "L", "LA", "La")  # modes with one color channel; so have those of 16 bits
_UNREADABLE = {
    "F": "its pixels are fractional numbers without a known scale; store such images as an array "
    "and read them with `source: npz`",
    "LAB": "its color space is LAB; convert it to RGB",
}
_ORIENTATION, _ROTATED = 0x0112, (5, 6, 7, 8)  # EXIF tag, and its values that swap the sides


class _Form(NamedTuple):
    """The format that every image of a data set is converted to."""

    channels: int  # 1 or 3
    height: int  # pixels
    width: int
    deep: bool = False  # float32 instead of uint8, on the same scale from 0 to 255

    @property
    def dtype(self) -> npt.DTypeLike:
        return np.float32 if self.deep else np.uint8


class _Header(NamedTuple):
    """An image file's header."""

    gray: bool
    deep: bool  # 16 bits per pixel
    size: tuple[int, int]  # height and width when upright


class _Decoded(NamedTuple):
    """A decoded image."""

    pixels: npt.NDArray[np.generic]  # [C, H, W]
    only_alpha: bool  # whether it is a single color apart from its transparency


class _Examined(NamedTuple):
    """What is kept of an image whose pixels may not stay in memory."""

    rough: bytes  # key of the pixels' high bytes
    exact: bytes  # key of the pixels
    only_alpha: bool


class _DamagedError(DataError):
    """No image can be read from the file."""


def read(
    paths: Mapping[PartName, Path], spec: DataSpec, read_label: ReadLabel = read_class
) -> dict[PartName, Images]:
    """Read the images of each folder; DataError names the first damaged one.

    All are resized to `image_size` (height, width), or to the size of the training part's first
    image. They have one channel if all images of the training part are gray, else three: red,
    green, blue. They are uint8, or float32 on the same scale if an image of the training part has
    16 bits per pixel. Photos are rotated upright; animations are reduced to their first frame;
    transparency is dropped.
    """
    folders = {part: image_files.find(folder) for part, folder in paths.items()}
    attempt = _attempt if spec.skip_damaged else _insist
    with _threads() as pool:
        headers = [
            header
            for files in folders["train"].classes.values()
            for header in pool.map(partial(attempt, _read_header), files)
            if header is not None
        ]
    if not headers:
        raise DataError(f"{shown(paths['train'])}: all of its images are damaged")
    form = _Form(
        channels=1 if all(header.gray for header in headers) else 3,
        height=(spec.image_size or headers[0].size)[0],
        width=(spec.image_size or headers[0].size)[1],
        deep=any(header.deep for header in headers),
    )
    parts = {
        part: _read_folder(paths[part], folders[part], form, spec, read_label) for part in folders
    }
    deep = sum(header.deep for header in headers)
    if 0 < deep < len(headers):
        note = (
            f"{deep:,} of the {len(headers):,} images have 16 bits per pixel, the others 8; all "
            "are read on the same scale from black to white"
        )
        parts["train"] = replace(parts["train"], notes=(*parts["train"].notes, note))
    return parts


def _read_folder(
    folder: Path, content: ImageFiles, form: _Form, spec: DataSpec, read_label: ReadLabel
) -> Images:
    labels: list[str] = []
    files: list[Path] = []
    for folder_name, paths in content.classes.items():
        try:
            label = read_label(folder_name)
        except LabelError as error:
            raise DataError(f"{shown(folder)}: the name of a sub-folder {error}") from None
        labels += [label] * len(paths)
        files += paths
    cache: dict[Path, npt.NDArray[np.generic]] = {}
    image_size = form.channels * form.height * form.width * np.dtype(form.dtype).itemsize
    room = CACHE_SIZE // image_size
    attempt = _attempt if spec.skip_damaged else _insist

    def examine(index: int) -> _Examined | None:
        decoded = attempt(partial(_decode, form=form), files[index])
        if decoded is None:
            return None
        if index < room:
            cache[files[index]] = decoded.pixels
        exact = key_of(decoded.pixels.tobytes())
        if not form.deep:
            return _Examined(exact, exact, decoded.only_alpha)
        rough = _decode(files[index], form._replace(deep=False)).pixels
        return _Examined(key_of(rough.tobytes()), exact, decoded.only_alpha)

    with _threads() as pool:
        examined = list(pool.map(examine, range(len(files))))
    usable = [index for index, image in enumerate(examined) if image is not None]
    images = [image for image in examined if image is not None]
    damaged = [file for file, image in zip(files, examined, strict=True) if image is None]
    used = [files[index] for index in usable]
    _check_classes(folder, content, set(damaged))
    only_alpha = sum(image.only_alpha for image in images)

    def load_image(index: int) -> npt.NDArray[np.generic]:
        file = used[index]
        return cache[file] if file in cache else _decode(file, form).pixels

    return Images(
        where=shown(folder),
        unit="image",
        labels=[labels[index] for index in usable],
        keys=_keys(images),
        notes=(
            *content.notes(),
            *_note_damaged(damaged),
            *_note_alpha(folder, only_alpha, len(used)),
        ),
        shape=(form.channels, form.height, form.width),
        dtype=form.dtype,
        read=load_image,
    )


def _keys(images: Sequence[_Examined]) -> list[bytes]:
    """Return exact keys only for images that share their high bytes.

    Keys decide the split. Former versions read only the high bytes of 16-bit images; with these
    keys such images stay in the parts that existing studies have them in.
    """
    contents: dict[bytes, set[bytes]] = {}
    for image in images:
        contents.setdefault(image.rough, set()).add(image.exact)
    return [i.rough if len(contents[i.rough]) == 1 else i.exact for i in images]


def _check_classes(folder: Path, content: ImageFiles, damaged: Collection[Path]) -> None:
    """Raise DataError if a class has no usable image left."""
    for class_, files in content.classes.items():
        if all(file in damaged for file in files):
            number = counted(len(files), "image")
            raise DataError(f"{shown(folder / class_)}: all of its {number} are damaged")


def _note_damaged(files: Sequence[Path]) -> Iterator[str]:
    if files:
        verb = "is damaged and was" if len(files) == 1 else "are damaged and were"
        yield f"{counted(len(files), 'image')} {verb} left out, the first is {shown(files[0])}"


def _note_alpha(folder: Path, number: int, images: int) -> Iterator[str]:
    """Yield a note on images that are a single color once their transparency is dropped."""
    if number == images:
        raise DataError(
            f"{shown(folder)}: its images differ only in their transparency, which is dropped; "
            "draw them on a background first"
        )
    if number:
        verb = "is" if number == 1 else "are"
        yield (
            f"{counted(number, 'image')} {verb} a single color apart from the transparency, which "
            "is dropped; draw them on a background first"
        )


_T = TypeVar("_T")


def _insist(action: Callable[[Path], _T], path: Path) -> _T | None:
    try:
        return action(path)
    except _DamagedError as error:
        hint = "to leave such images out, set `skip_damaged: true` in the data section"
        raise DataError(f"{error}; {hint}") from None


def _attempt(action: Callable[[Path], _T], path: Path) -> _T | None:
    """Return None if the file is damaged."""
    try:
        return action(path)
    except _DamagedError:
        return None


def _read_header(path: Path) -> _Header:
    with _open_image(path) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION) in _ROTATED:
            width, height = height, width
        deep = _is_deep(image)
        return _Header(deep or image.mode in _GRAY, deep, (height, width))


def _is_deep(image: Image.Image) -> bool:
    return image.mode == "I" or image.mode.startswith("I;16")


def _decode(path: Path, form: _Form) -> _Decoded:
    with _open_image(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode in _UNREADABLE:
            raise DataError(f"{shown(path)}: {_UNREADABLE[upright.mode]}")
        only_alpha = _has_only_alpha(upright)
        if _is_deep(upright):
            upright = _rescale(upright, path, form)
        if upright.mode != "F":
            upright = upright.convert("L" if form.channels == 1 else "RGB")
        if upright.size != (form.width, form.height):
            upright = upright.resize((form.width, form.height), Image.Resampling.BILINEAR)
        pixels = np.asarray(upright, dtype=form.dtype).reshape(form.height, form.width, -1)
    planes = np.broadcast_to(pixels.transpose(2, 0, 1), (form.channels, form.height, form.width))
    return _Decoded(np.ascontiguousarray(planes), only_alpha)


def _rescale(image: Image.Image, path: Path, form: _Form) -> Image.Image:
    """Scale a 16-bit image to the range from 0 to 255, as float32 if the form is deep.

    Pillow's own conversion clips everything above 255.
    """
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65_535:
        raise DataError(
            f"{shown(path)}: its pixels range from {low:,} to {high:,}, beyond 16 bits; store such "
            "images as an array and read them with `source: npz`"
        )
    if form.deep:
        return Image.fromarray(values.astype(np.float32) / np.float32(257))
    return Image.fromarray((values >> 8).astype(np.uint8))


def _has_only_alpha(image: Image.Image) -> bool:
    """Whether an image is a single color apart from its transparency."""
    if image.mode not in ("LA", "La", "PA", "RGBA", "RGBa") and (
        "transparency" not in image.info or _is_deep(image)
    ):
        return False
    *colors, alpha = cast(tuple[tuple[int, int], ...], image.convert("RGBA").getextrema())
    return alpha[0] < alpha[1] and all(low == high for low, high in colors)


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Return the formats that a file may have, whatever its name: none that runs other programs."""
    Image.init()
    return tuple(name for name in Image.ID if name not in image_files.REFUSED)


@contextmanager
def _open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image; whatever goes wrong with it inside the block is a DataError that names it."""
    with source_files.open_file(path) as file, source_files.reading(path):
        try:
            if not file.peek(1):
                raise _DamagedError(f"{shown(path)}: is empty")
            with Image.open(file, formats=_formats()) as image:
                yield image
        except DataError:
            raise
        except UnidentifiedImageError:
            raise _DamagedError(f"{shown(path)}: is damaged or no image") from None
        except (Image.DecompressionBombError, MemoryError) as error:
            reason = " ".join(str(error).split()) or "there is not enough memory for it"
            raise DataError(f"{shown(path)}: is too large ({reason})") from None
        except Exception as error:  # decoders of damaged files raise nearly anything
            if isinstance(error, OSError) and error.errno is not None:  # it cannot be read
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise _DamagedError(f"{shown(path)}: is damaged or no image ({reason})") from None


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Start threads for decoding, which releases Python's lock; an error ends them all."""
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, 8))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about images that are odd but readable
            yield pool
    finally:
        pool.shutdown(cancel_futures=True)
