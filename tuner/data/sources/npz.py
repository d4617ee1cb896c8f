"""Images in a .npz file: the arrays `x` and `y`."""

import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tuner.data import raw
from tuner.data.examples import Images, key_of
from tuner.data.labels import LabelColumn, LabelError, LabelName, column_class_name
from tuner.data.prepared import PartName
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.messages import listed, nearest, quoted

CHANNELS = 16  # at most; more are a sign that an axis is something else
_SHAPES = "[N, H, W], [N, H, W, C] or [N, C, H, W]"


def read(
    given: Mapping[PartName, Path], name: LabelName = column_class_name
) -> dict[PartName, Images]:
    """The images of each file; DataError if one is unfit or not like those of the training part.

    `x` is uint8 or float of shape [N, H, W], [N, H, W, C] or [N, C, H, W], where C is the shorter
    of the two axes that it can be; other whole numbers and truth values become uint8 where they fit
    and float32 where they do not. `y` is [N] or [N, 1]: whole numbers or texts, or
    whatever else `name` can read.
    """
    found = {part: _images(path, name) for part, path in given.items()}
    first = found["train"]
    for images in found.values():
        if images.shape != first.shape:
            raise DataError(
                f"{images.where}: its images have shape {list(images.shape)} (C, H, W), those in "
                f"{first.where} have {list(first.shape)}"
            )
        if images.dtype != first.dtype:
            raise DataError(
                f"{images.where}: its images are {np.dtype(images.dtype)}, those in {first.where} "
                f"are {np.dtype(first.dtype)}"
            )
    return found


def _images(path: Path, name: LabelName) -> Images:
    where = shown(path)
    x, y = _arrays(path, where)
    if y.ndim > 1 and y.size == len(y):  # [N, 1], as Keras gives it
        y = y.reshape(-1)
    if y.ndim != 1:
        raise DataError(f"{where}: `y` must have shape [N], has {list(y.shape)}{_hint(y)}")
    images = _typed(_channels_first(x, where), where)
    if len(images) != len(y):
        raise DataError(f"{where}: `x` has {len(images):,} images, `y` has {len(y):,} labels")
    labels = LabelColumn(name)
    for row, value in enumerate(y.tolist()):
        try:
            labels.append(value)
        except LabelError as error:
            raise DataError(f"{where}: the label y[{row}] {error}") from None
    return Images(
        where=where,
        unit="image",
        labels=labels.names,
        notes=tuple(labels.merged("image")),
        reordered=labels.reordered,
        keys=[key_of(np.ascontiguousarray(image).tobytes()) for image in images],
        shape=images.shape[1:],
        dtype=images.dtype,
        read=images.__getitem__,
    )


def _hint(y: npt.NDArray[np.generic]) -> str:
    """What to do about labels of two axes."""
    if y.ndim != 2 or y.dtype.kind not in "buif":
        return ""
    if y.shape[0] == 1:
        return "; y.ravel() has one axis"
    if ((y == 1).sum(axis=1) == 1).all() and ((y != 0).sum(axis=1) == 1).all():
        return "; one-hot classes become numbers with y.argmax(axis=1)"
    return "; an image has one label, several labels per image are not supported"


def _arrays(path: Path, where: str) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]:
    with raw.opened(path) as file, raw.reading(path):
        if not file.peek(1):
            raise DataError(f"{where}: is empty")
        try:
            if not zipfile.is_zipfile(file):
                raise DataError(
                    f"{where}: is not a .npz file; write it with numpy.savez(path, x=..., y=...)"
                )
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                for name in ("x", "y"):
                    if name not in archive.files:
                        close = nearest(name, archive.files)
                        hint = f"; did you mean {quoted(close)}?" if close else ""
                        raise DataError(
                            f"{where}: has no array `{name}`; it needs `x` and `y`, its arrays "
                            f"are {listed(archive.files) or 'none'}{hint}"
                        )
                return _array(archive, "x", where), _array(archive, "y", where)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError):
            raise DataError(f"{where}: is damaged or not a .npz file") from None
        except RuntimeError:  # zipfile's, of an encrypted file
            raise DataError(f"{where}: is encrypted") from None


def _array(archive: "np.lib.npyio.NpzFile", name: str, where: str) -> npt.NDArray[np.generic]:
    try:
        array = archive[name]
    except MemoryError:
        raise DataError(f"{where}: `{name}` is larger than the memory of this machine") from None
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{where}: `{name}` is an array of Python objects, a pickle, which can run code "
                "when it is opened; convert it to numbers or texts first"
            ) from None
        raise DataError(f"{where}: the array `{name}` is damaged") from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"{where}: `{name}` is not an array")
    return array


def _channels_first(x: npt.NDArray[np.generic], where: str) -> npt.NDArray[np.generic]:
    """[N, C, H, W]."""
    if x.ndim not in (3, 4) or (x.ndim == 3 and min(x.shape[1:]) == 0):
        raise DataError(f"{where}: `x` must have shape {_SHAPES}, has {list(x.shape)}")
    if 0 in x.shape:
        raise DataError(f"{where}: `x` has no pixels, its shape is {list(x.shape)}")
    if x.ndim == 3:
        return x[:, None]
    images = x if x.shape[1] <= x.shape[3] else np.moveaxis(x, 3, 1)
    if images.shape[1] > CHANNELS:
        raise DataError(
            f"{where}: `x` must have shape {_SHAPES} with at most {CHANNELS} channels, has "
            f"{list(x.shape)}"
        )
    return images


def _typed(x: npt.NDArray[np.generic], where: str) -> npt.NDArray[np.generic]:
    """uint8 or float32."""
    if x.dtype.kind not in "buif":
        raise DataError(f"{where}: `x` must be uint8 or float, is {x.dtype}")
    if x.dtype.kind in "bui" and x.min() >= 0 and x.max() <= 255:
        return x.astype(np.uint8)
    with np.errstate(over="ignore"):
        images = x.astype(np.float32)
    finite = np.isfinite(images).reshape(len(images), math.prod(images.shape[1:])).all(axis=1)
    if not finite.all():
        row = int(finite.argmin())
        what = "NaN" if np.isnan(images[row]).any() else "an infinite or too large number"
        raise DataError(f"{where}: the image x[{row}] holds {what}")
    return images
