"""Signals at a chosen point of a program: as it comes to a function, as it leaves it, in an import.

Python runs `sitecustomize.py` of a folder on its path at the start of every process. The one that
is written here sends the process a signal at its first coming to STRIKE_AT, a module, a function or
method of it if any, and `before` or `after`, in a process whose first argument is `run`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from signal import Signals

STRIKING = """
import functools, importlib.abc, importlib.machinery, os, sys

MODULE, NAME, WHEN, *SIGNALS = os.environ["STRIKE_AT"].split(":")

def strike():
    if sys.argv[1:2] == ["run"] and SIGNALS:
        numbers = [int(number) for number in SIGNALS]
        SIGNALS.clear()
        for number in numbers:
            os.kill(os.getpid(), number)

def wrap(function):
    @functools.wraps(function)
    def wrapped(*args, **options):
        if WHEN == "before":
            strike()
        result = function(*args, **options)
        if WHEN == "after":
            strike()
        return result
    return wrapped

class Striking(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        if not NAME:
            strike()
        self.loader.exec_module(module)
        if NAME:
            *owners, name = NAME.split(".")
            owner = functools.reduce(getattr, owners, module)
            setattr(owner, name, wrap(getattr(owner, name)))

sys.meta_path.insert(0, Striking())
"""


def striking(
    environment: Mapping[str, str], folder: Path, point: str, *signals: Signals
) -> dict[str, str]:
    """The environment in which `tuner run` gets these signals at the point, one after the other."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(STRIKING, encoding="utf-8")
    module, name, when = (*point.split(":"), "", "")[:3]
    at = ":".join((module, name, when, *(str(int(signal)) for signal in signals)))
    path = os.pathsep.join(filter(None, (str(folder), environment.get("PYTHONPATH", ""))))
    return {**environment, "PYTHONPATH": path, "STRIKE_AT": at}
