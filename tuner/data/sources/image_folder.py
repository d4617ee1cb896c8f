"""A folder with one sub-folder of images a class."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from tuner.data import raw
from tuner.data.examples import Images, key_of
from tuner.data.labels import LabelError, LabelName, class_name
from tuner.data.prepared import PartName
from tuner.errors import DataError
from tuner.files import shown

KEPT = 256 << 20  # bytes of decoded images kept in memory; the others are decoded twice

_GRAY = ("1", "L", "LA", "La", "I")  # modes of one colour channel; and I;16 in its variants
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # EXIF's tag, and its values that swap the sides


class _Form(NamedTuple):
    """What every image of a data set is made into."""

    channels: int  # 1 or 3
    height: int  # pixels
    width: int


def read(
    given: Mapping[PartName, Path], size: tuple[int, int] | None, name: LabelName = class_name
) -> dict[PartName, Images]:
    """The images of each folder, uint8; DataError names the first image that is damaged.

    All are resized to `size` (height, width), or to the first image of the training part. Where
    every image of it is gray they have one channel, else three: red, green, blue. Photographs are
    turned upright; of animations the first frame counts; transparency is dropped.
    """
    found = {part: raw.image_files(folder) for part, folder in given.items()}
    files = [file for images in found["train"].values() for file in images]
    with _threads() as pool:
        headers = list(pool.map(_header, files))
    gray = all(is_gray for is_gray, _ in headers)
    form = _Form(1 if gray else 3, *(size or headers[0][1]))
    return {part: _images(given[part], images, form, name) for part, images in found.items()}


def _images(
    folder: Path, found: Mapping[str, Sequence[Path]], form: _Form, name: LabelName
) -> Images:
    labels: list[str] = []
    files: list[Path] = []
    for folder_name, images in found.items():
        try:
            label = name(folder_name)
        except LabelError as error:
            raise DataError(f"{shown(folder)}: the name of a sub-folder {error}") from None
        labels += [label] * len(images)
        files += images
    kept: dict[int, npt.NDArray[np.uint8]] = {}
    room = KEPT // (form.channels * form.height * form.width)  # images

    def key(index: int) -> bytes:
        image = _decoded(files[index], form)
        if index < room:
            kept[index] = image
        return key_of(image.tobytes())

    with _threads() as pool:
        keys = list(pool.map(key, range(len(files))))

    def read_image(index: int) -> npt.NDArray[np.uint8]:
        return kept[index] if index in kept else _decoded(files[index], form)

    return Images(
        where=shown(folder),
        unit="image",
        labels=labels,
        keys=keys,
        shape=(form.channels, form.height, form.width),
        read=read_image,
    )


def _header(path: Path) -> tuple[bool, tuple[int, int]]:
    """Whether an image is gray, and its height and width when it stands upright."""
    with _image(path) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION) in _TURNED:
            width, height = height, width
        return image.mode in _GRAY or image.mode.startswith("I;16"), (height, width)


def _decoded(path: Path, form: _Form) -> npt.NDArray[np.uint8]:
    """uint8 [C, H, W]."""
    with _image(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode == "I" or upright.mode.startswith("I;16"):
            # 16 bits; pillow's own conversion cuts off what is above 255
            upright = Image.fromarray((np.asarray(upright) >> 8).clip(0, 255).astype(np.uint8))
        converted = upright.convert("L" if form.channels == 1 else "RGB")
        if converted.size != (form.width, form.height):
            converted = converted.resize((form.width, form.height), Image.Resampling.BILINEAR)
        pixels = np.asarray(converted)
    return np.ascontiguousarray(pixels.reshape(form.height, form.width, -1).transpose(2, 0, 1))


@contextmanager
def _image(path: Path) -> Iterator[Image.Image]:
    """An open image; whatever goes wrong with it inside the block is a DataError that names it."""
    with raw.opened(path) as file:
        try:
            if not file.peek(1):
                raise DataError(f"{shown(path)}: is empty")
            with Image.open(file) as image:
                yield image
        except DataError:
            raise
        except UnidentifiedImageError:
            raise DataError(f"{shown(path)}: is damaged or no image") from None
        except Exception as error:  # decoders of damaged files raise nearly anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"{shown(path)}: is damaged or no image ({reason})") from None


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
