"""Find the image files of a folder with one sub-folder per class."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tuner.data.source_files import reading
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.messages import counted, listed, quoted

# pillow's formats that run other programs, that only some systems decode, and videos
REFUSED = ("EPS", "WMF", "HDF5", "GRIB", "BUFR", "IPTC", "MPEG")
# the endings of all other formats, listed here so that a folder's fingerprint does not depend on
# the version of pillow
IMAGE_SUFFIXES = (
    *(".apng", ".avif", ".avifs", ".blp", ".bmp", ".bw", ".cur", ".dcx", ".dds", ".dib", ".fit"),
    *(".fits", ".flc", ".fli", ".ftc", ".ftu", ".gbr", ".gif", ".icb", ".icns", ".ico", ".im"),
    *(".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo"),
    *(".msp", ".pbm", ".pcd", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".pxr"),
    *(".qoi", ".ras", ".rgb", ".rgba", ".sgi", ".tga", ".tif", ".tiff", ".vda", ".vst", ".webp"),
    *(".xbm", ".xpm"),
)
_PARTS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
_SHOWN = 5  # endings that a note names


class ImageFiles(NamedTuple):
    """The files of a folder."""

    classes: Mapping[str, Sequence[Path]]  # class → its images, sorted
    others: Mapping[str, int]  # ending → number of files that are no images by their names
    hidden: int  # files and folders
    unclassed: int  # images outside of the sub-folders

    def notes(self) -> Iterator[str]:
        """Yield notes on what was left out."""
        if self.others:
            endings = sorted(self.others, key=lambda ending: (-self.others[ending], ending))
            examples = [f"{quoted(e)[1:-1]} ({self.others[e]:,})" for e in endings[:_SHOWN]]
            more = ", …" if len(endings) > _SHOWN else ""
            number = sum(self.others.values())
            yield (
                f"{_left_out(number, 'file')}, whose ending names no image: "
                f"{', '.join(examples)}{more}"
            )
        if self.hidden:
            yield _left_out(self.hidden, "hidden file")
        if self.unclassed:
            verb = "is" if self.unclassed == 1 else "are"
            yield f"{_left_out(self.unclassed, 'image')}, which {verb} in no class's sub-folder"


def find(folder: Path) -> ImageFiles:
    """Find the images below a folder, by class; folders below a class belong to it.

    DataError if there is no class, a class without images, or if the sub-folders look like parts.
    """
    with reading(folder):
        try:
            entries = sorted(folder.iterdir(), key=lambda entry: os.fsencode(entry.name))
        except NotADirectoryError:
            raise DataError(
                f"{shown(folder)}: is a file; `source: images` needs a folder with one sub-folder "
                "per class"
            ) from None
        except ValueError:
            raise DataError(f"{shown(folder)}: is not the name of a folder") from None
        visible = [entry for entry in entries if not entry.name.startswith(".")]
        classes = [entry for entry in visible if entry.is_dir()]
    if not classes:
        raise DataError(
            f"{shown(folder)}: has no sub-folders; put the images of each class into a sub-folder "
            "named after the class"
        )
    if len(classes) > 1 and {entry.name.lower() for entry in classes} <= _PARTS:
        names = ", ".join(f"`{entry.name}`" for entry in classes)
        raise DataError(
            f"{shown(folder)}: its sub-folders {names} look like parts, not classes; name them in "
            "`path`, `validation_path` and `test_path`"
        )
    others: Counter[str] = Counter()
    hidden, unclassed = len(entries) - len(visible), 0
    for entry in visible:
        if entry not in classes and _is_image(entry.name):
            unclassed += 1
        elif entry not in classes:
            others[_ending(entry.name)] += 1
    images: dict[str, list[Path]] = {}
    for entry in classes:
        files, hidden_below = _walk(entry)
        hidden += hidden_below
        images[entry.name] = [path for path in files if _is_image(path.name)]
        unread = Counter(_ending(path.name) for path in files if not _is_image(path.name))
        if not images[entry.name]:
            has = f"only files that end in {listed(sorted(unread))}" if unread else "no files"
            raise DataError(
                f"{shown(entry)}: has no images, {has}; images end in .png, .jpg, .tif or another "
                "ending that pillow reads"
            )
        others += unread
    return ImageFiles(images, others, hidden, unclassed)


def _walk(folder: Path) -> tuple[list[Path], int]:
    """Return all files below a folder, sorted, and the number of hidden files and folders."""

    def refuse(error: OSError) -> None:
        raise error

    files, hidden = [], 0
    with reading(folder):
        for root, folders, names in os.walk(folder, onerror=refuse):
            hidden += sum(name.startswith(".") for name in (*folders, *names))
            folders[:] = [name for name in folders if not name.startswith(".")]
            files += [Path(root, name) for name in names if not name.startswith(".")]
    return sorted(files, key=os.fsencode), hidden


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _ending(name: str) -> str:
    return Path(name).suffix.lower() or "no ending"


def _left_out(number: int, what: str) -> str:
    return f"{counted(number, what)} {'was' if number == 1 else 'were'} left out"
