"""Images in a .npz file: the arrays `x` and `y`."""

import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tuner.data import source_files
from tuner.data.examples import Images, key_of
from tuner.data.labels import LabelColumn, LabelError, ReadLabel, read_column_class
from tuner.data.prepared import PartName
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.messages import listed, nearest, quoted

CHANNELS = 16  # at most; more are a sign that an axis is something else
_SHAPES = "[N, H, W], [N, H, W, C] or [N, C, H, W]"


def read(
    paths: Mapping[PartName, Path], read_label: ReadLabel = read_column_class
) -> dict[PartName, Images]:
    """Read the images of each file; DataError if one is unfit or differs from the training part.

    `x` is uint8 or float of shape [N, H, W], [N, H, W, C] or [N, C, H, W], where C is the shorter
    of the two axes that it can be. Other whole numbers and booleans become uint8 if they fit, else
    float32. `y` is [N] or [N, 1]: whole numbers, texts, or whatever else `read_label` accepts.
    """
    parts = {part: _read_images(path, read_label) for part, path in paths.items()}
    train = parts["train"]
    for images in parts.values():
        if images.shape != train.shape:
            raise DataError(
                f"{images.where}: its images have shape {list(images.shape)} (C, H, W), those in "
                f"{train.where} have {list(train.shape)}"
            )
        if images.dtype != train.dtype:
            raise DataError(
                f"{images.where}: its images are {np.dtype(images.dtype)}, those in {train.where} "
                f"are {np.dtype(train.dtype)}"
            )
    return parts


def _read_images(path: Path, read_label: ReadLabel) -> Images:
    where = shown(path)
    x, y = _load_arrays(path, where)
    if y.ndim > 1 and y.size == len(y):  # [N, 1], as in Keras
        y = y.reshape(-1)
    if y.ndim != 1:
        raise DataError(f"{where}: `y` must have shape [N], has {list(y.shape)}{_hint(y)}")
    images = _cast(_move_channels(x, where), where)
    if len(images) != len(y):
        raise DataError(f"{where}: `x` has {len(images):,} images, `y` has {len(y):,} labels")
    labels = LabelColumn(read_label)
    for row, value in enumerate(y.tolist()):
        try:
            labels.append(value)
        except LabelError as error:
            raise DataError(f"{where}: the label y[{row}] {error}") from None
    return Images(
        where=where,
        unit="image",
        labels=labels.names,
        notes=tuple(labels.note_spellings("image")),
        reordered=labels.reordered,
        keys=[key_of(np.ascontiguousarray(image).tobytes()) for image in images],
        shape=images.shape[1:],
        dtype=images.dtype,
        read=images.__getitem__,
    )


def _hint(y: npt.NDArray[np.generic]) -> str:
    """Suggest what to do about labels with two axes."""
    if y.ndim != 2 or y.dtype.kind not in "buif":
        return ""
    if y.shape[0] == 1:
        return "; y.ravel() has one axis"
    if ((y == 1).sum(axis=1) == 1).all() and ((y != 0).sum(axis=1) == 1).all():
        return "; one-hot classes become numbers with y.argmax(axis=1)"
    return "; several labels per image are not supported"


def _load_arrays(path: Path, where: str) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]:
    with source_files.open_file(path) as file, source_files.reading(path):
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
                return _load_array(archive, "x", where), _load_array(archive, "y", where)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError):
            raise DataError(f"{where}: is damaged or not a .npz file") from None
        except RuntimeError:  # zipfile's, of an encrypted file
            raise DataError(f"{where}: is encrypted") from None


def _load_array(archive: "np.lib.npyio.NpzFile", name: str, where: str) -> npt.NDArray[np.generic]:
    try:
        array = archive[name]
    except MemoryError:
        raise DataError(f"{where}: `{name}` is larger than this machine's memory") from None
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


def _move_channels(x: npt.NDArray[np.generic], where: str) -> npt.NDArray[np.generic]:
    """Return images as [N, C, H, W]."""
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


def _cast(x: npt.NDArray[np.generic], where: str) -> npt.NDArray[np.generic]:
    """Cast images to uint8 or float32."""
    if x.dtype.kind not in "buif":
        raise DataError(f"{where}: `x` must be uint8 or float, is {x.dtype}")
    if x.dtype.kind in "bui" and x.min() >= 0 and x.max() <= 255:
        return x.astype(np.uint8)
    with np.errstate(over="ignore"):
        images = x.astype(np.float32)
    finite = np.isfinite(images).reshape(len(images), math.prod(images.shape[1:])).all(axis=1)
    if not finite.all():
        row = int(finite.argmin())
        number = "NaN" if np.isnan(images[row]).any() else "an infinite or too large number"
        raise DataError(f"{where}: the image x[{row}] holds {number}")
    return images
