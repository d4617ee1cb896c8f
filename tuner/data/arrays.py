"""Write arrays so that a full disk is noticed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt


@contextmanager
def array_file(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Iterator[BinaryIO]:
    """Open a .npy file whose rows are written one after the other.

    numpy's own writers lose the error number of a full disk, and writing to a memory map crashes.
    """
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_2_0(file, header)
        yield file
