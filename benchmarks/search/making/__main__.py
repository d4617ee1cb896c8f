"""Make the tables that are trained, about ten minutes of a processor, and the public excerpts.

python -m benchmarks.search.making                # all that are missing
python -m benchmarks.search.making mnist          # one of them, again
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")  # seconds are those of one processor

import numpy as np
from numpy.typing import NDArray

from benchmarks.search import tables
from benchmarks.search.making import estimators, networks, public
from benchmarks.search.packing import pack

CONDITIONAL = ("digits", "mnist", "synthetic")

Arrays = dict[str, NDArray[np.generic]]


def recipes() -> dict[str, Callable[[], Arrays]]:
    """How each file is made."""
    made: dict[str, Callable[[], Arrays]] = {
        name: partial(networks.sample, name)
        for name in tables.CURVES
        if name
        not in tables.TUNING  # these came first, with the reviews' texts, which are not ours
    }
    made |= {f"conditional-{name}": partial(estimators.conditional, name) for name in CONDITIONAL}
    made["noisy-digits"] = partial(networks.noisy, "digits")
    return made | {name: partial(public.excerpt, name) for name in tables.PUBLIC}


def main() -> None:
    """Make what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", choices=[*recipes(), []])
    names = parser.parse_args().names
    for name, recipe in recipes().items():
        path = tables.FOLDER / f"{name}.npz"
        if name in names or (not names and not path.exists()):
            start = time.process_time()
            pack(path, recipe())
            seconds = time.process_time() - start
            print(f"{name}: {path.stat().st_size / 1000:.0f} kB, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
