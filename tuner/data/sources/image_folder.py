"""A folder with one sub-folder of images a class."""

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

from tuner.data import image_files, raw
from tuner.data.examples import Images, key_of
from tuner.data.image_files import ImageFiles
from tuner.data.labels import LabelError, LabelName, class_name
from tuner.data.prepared import PartName
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.data import DataSpec
from tuner.study_file.messages import counted

KEPT = 256 << 20  # bytes of decoded images kept in memory; the others are decoded twice

_GRAY = ("1", "L", "LA", "La")  # modes of one colour channel; and those of 16 bits
_UNREADABLE = {
    "F": "its pixels are numbers with a fraction, which have no scale; give such images as an "
    "array, with `source: npz`",
    "LAB": "its colours are of the space LAB; convert it to RGB",
}
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # EXIF's tag, and its values that swap the sides


class _Form(NamedTuple):
    """What every image of a data set is made into."""

    channels: int  # 1 or 3
    height: int  # pixels
    width: int
    deep: bool = False  # float32 instead of uint8, on the same scale from 0 to 255

    @property
    def dtype(self) -> npt.DTypeLike:
        return np.float32 if self.deep else np.uint8


class _Header(NamedTuple):
    """What an image file says of itself."""

    gray: bool
    deep: bool  # 16 bits a pixel
    size: tuple[int, int]  # height and width when it stands upright


class _Decoded(NamedTuple):
    """An image, and what is known only of its file."""

    pixels: npt.NDArray[np.generic]  # [C, H, W]
    in_alpha: bool  # whether everything but its transparency is a single colour


class _Examined(NamedTuple):
    """What is remembered of an image that may not stay in memory."""

    rough: bytes  # key of its high bytes
    exact: bytes  # key of all that is kept of it
    in_alpha: bool


class _DamagedError(DataError):
    """A file that no image can be read from."""


def read(
    given: Mapping[PartName, Path], spec: DataSpec, name: LabelName = class_name
) -> dict[PartName, Images]:
    """The images of each folder; DataError names the first image that is damaged.

    All are resized to `image_size` (height, width), or to the first image of the training part.
    Where every image of it is gray they have one channel, else three: red, green, blue. They are
    uint8, or float32 on the same scale where an image of the training part has 16 bits a pixel.
    Photographs are turned upright; of animations the first frame counts; transparency is dropped.
    """
    folders = {part: image_files.find(folder) for part, folder in given.items()}
    attempt = _attempt if spec.skip_damaged else _insist
    with _threads() as pool:
        train = {
            class_: list(zip(files, pool.map(partial(attempt, _header), files), strict=True))
            for class_, files in folders["train"].classes.items()
        }
    headers = [header for class_ in train.values() for _, header in class_ if header is not None]
    if not headers:
        raise DataError(f"{shown(given['train'])}: all of its images are damaged")
    form = _Form(
        channels=1 if all(header.gray for header in headers) else 3,
        height=(spec.image_size or headers[0].size)[0],
        width=(spec.image_size or headers[0].size)[1],
        deep=any(header.deep for header in headers),
    )
    parts = {part: _images(given[part], folders[part], form, spec, name) for part in folders}
    deep = sum(header.deep for header in headers)
    if 0 < deep < len(headers):
        note = (
            f"{deep:,} of the {len(headers):,} images have 16 bits a pixel, the others 8; all are "
            "read on the same scale from black to white"
        )
        parts["train"] = replace(parts["train"], notes=(*parts["train"].notes, note))
    return parts


def _images(
    folder: Path, content: ImageFiles, form: _Form, spec: DataSpec, name: LabelName
) -> Images:
    labels: list[str] = []
    files: list[Path] = []
    for folder_name, paths in content.classes.items():
        try:
            label = name(folder_name)
        except LabelError as error:
            raise DataError(f"{shown(folder)}: the name of a sub-folder {error}") from None
        labels += [label] * len(paths)
        files += paths
    kept: dict[Path, npt.NDArray[np.generic]] = {}
    room = KEPT // (form.channels * form.height * form.width * np.dtype(form.dtype).itemsize)
    attempt = _attempt if spec.skip_damaged else _insist

    def examine(index: int) -> _Examined | None:
        decoded = attempt(partial(_decode, form=form), files[index])
        if decoded is None:
            return None
        if index < room:
            kept[files[index]] = decoded.pixels
        exact = key_of(decoded.pixels.tobytes())
        if not form.deep:
            return _Examined(exact, exact, decoded.in_alpha)
        rough = _decoded(files[index], form._replace(deep=False))
        return _Examined(key_of(rough.tobytes()), exact, decoded.in_alpha)

    with _threads() as pool:
        examined = list(pool.map(examine, range(len(files))))
    usable = [index for index, image in enumerate(examined) if image is not None]
    images = [image for image in examined if image is not None]
    damaged = [file for file, image in zip(files, examined, strict=True) if image is None]
    used = [files[index] for index in usable]
    _check_classes(folder, content, set(damaged))
    in_alpha = sum(image.in_alpha for image in images)

    def read_image(index: int) -> npt.NDArray[np.generic]:
        file = used[index]
        return kept[file] if file in kept else _decoded(file, form)

    return Images(
        where=shown(folder),
        unit="image",
        labels=[labels[index] for index in usable],
        keys=_keys(images),
        notes=(*content.notes(), *_damaged(damaged), *_in_alpha(folder, in_alpha, len(used))),
        shape=(form.channels, form.height, form.width),
        dtype=form.dtype,
        read=read_image,
    )


def _keys(images: Sequence[_Examined]) -> list[bytes]:
    """Exact keys only where images share their high bytes.

    Splits follow from keys, and when only high bytes were read, they were of these: images of 16
    bits stay in the parts that studies have had so far.
    """
    contents: dict[bytes, set[bytes]] = {}
    for image in images:
        contents.setdefault(image.rough, set()).add(image.exact)
    return [i.rough if len(contents[i.rough]) == 1 else i.exact for i in images]


def _check_classes(folder: Path, content: ImageFiles, damaged: Collection[Path]) -> None:
    """DataError if a class would silently be missing."""
    for class_, files in content.classes.items():
        if all(file in damaged for file in files):
            number = counted(len(files), "image")
            raise DataError(f"{shown(folder / class_)}: all of its {number} are damaged")


def _damaged(files: Sequence[Path]) -> Iterator[str]:
    if files:
        verb = "is damaged and was" if len(files) == 1 else "are damaged and were"
        yield f"{counted(len(files), 'image')} {verb} left out, the first is {shown(files[0])}"


def _in_alpha(folder: Path, number: int, images: int) -> Iterator[str]:
    """A note on images that are a single colour once their transparency is dropped."""
    if number == images:
        raise DataError(
            f"{shown(folder)}: its images differ in their transparency only, which is dropped; "
            "draw them on a background first"
        )
    if number:
        verb = "is" if number == 1 else "are"
        yield (
            f"{counted(number, 'image')} {verb} of a single colour but for the transparency, which "
            "is dropped; draw them on a background first"
        )


_T = TypeVar("_T")


def _insist(action: Callable[[Path], _T], path: Path) -> _T | None:
    try:
        return action(path)
    except _DamagedError as error:
        hint = "`skip_damaged: true` in the data section leaves such images out"
        raise DataError(f"{error}; {hint}") from None


def _attempt(action: Callable[[Path], _T], path: Path) -> _T | None:
    """None where the file is damaged."""
    try:
        return action(path)
    except _DamagedError:
        return None


def _header(path: Path) -> _Header:
    with _image(path) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION) in _TURNED:
            width, height = height, width
        deep = _is_deep(image)
        return _Header(deep or image.mode in _GRAY, deep, (height, width))


def _is_deep(image: Image.Image) -> bool:
    return image.mode == "I" or image.mode.startswith("I;16")


def _decoded(path: Path, form: _Form) -> npt.NDArray[np.generic]:
    """[C, H, W] of the form's type."""
    return _decode(path, form).pixels


def _decode(path: Path, form: _Form) -> _Decoded:
    with _image(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode in _UNREADABLE:
            raise DataError(f"{shown(path)}: {_UNREADABLE[upright.mode]}")
        in_alpha = _is_in_alpha(upright)
        if _is_deep(upright):
            upright = _on_a_scale(upright, path, form)
        if upright.mode != "F":
            upright = upright.convert("L" if form.channels == 1 else "RGB")
        if upright.size != (form.width, form.height):
            upright = upright.resize((form.width, form.height), Image.Resampling.BILINEAR)
        pixels = np.asarray(upright, dtype=form.dtype).reshape(form.height, form.width, -1)
    planes = np.broadcast_to(pixels.transpose(2, 0, 1), (form.channels, form.height, form.width))
    return _Decoded(np.ascontiguousarray(planes), in_alpha)


def _on_a_scale(image: Image.Image, path: Path, form: _Form) -> Image.Image:
    """An image of 16 bits as numbers from 0 to 255, with a fraction where the form has one.

    Pillow's own conversion cuts off what is above 255.
    """
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65_535:
        raise DataError(
            f"{shown(path)}: its pixels go from {low:,} to {high:,}, beyond 16 bits; give such "
            "images as an array, with `source: npz`"
        )
    if form.deep:
        return Image.fromarray(values.astype(np.float32) / np.float32(257))
    return Image.fromarray((values >> 8).astype(np.uint8))


def _is_in_alpha(image: Image.Image) -> bool:
    """Whether an image is a single colour but for its transparency."""
    if image.mode not in ("LA", "La", "PA", "RGBA", "RGBa") and (
        "transparency" not in image.info or _is_deep(image)
    ):
        return False
    *colours, alpha = cast(tuple[tuple[int, int], ...], image.convert("RGBA").getextrema())
    return alpha[0] < alpha[1] and all(low == high for low, high in colours)


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """What a file may hold, whatever its name: nothing for which pillow runs another program."""
    Image.init()
    return tuple(name for name in Image.ID if name not in image_files.REFUSED)


@contextmanager
def _image(path: Path) -> Iterator[Image.Image]:
    """An open image; whatever goes wrong with it inside the block is a DataError that names it."""
    with raw.opened(path) as file, raw.reading(path):
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
    """Threads for decoding, which holds no lock of Python's; an error ends them all."""
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, 8))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of images that are odd but readable
            yield pool
    finally:
        pool.shutdown(cancel_futures=True)
