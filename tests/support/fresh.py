"""A fresh Python environment: torch and regex with their needs; apart, transformers and gensim.

Nothing is installed: what is there is linked, by what packages say of their files and needs.
"""

import os
import sysconfig
import venv
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from subprocess import run

from packaging.requirements import Requirement


class Fresh:
    """The environment; it lacks tuner, numpy and all else that bundles do without."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self._folder = folder
        self._python = folder / "bin" / "python"
        variables = {"base": str(folder), "platbase": str(folder)}
        self._site = Path(sysconfig.get_path("purelib", "venv", vars=variables))
        self._more = folder / "more"
        self._more.mkdir()
        torch = needed_by(["torch", "regex"])
        link(torch, self._site)
        link(needed_by(["transformers", "gensim"]) - torch, self._more)

    def run(self, *arguments: str, given: str = "", more: bool = False) -> str:
        """Run Python; what it prints. `more`: with transformers and gensim."""
        environment = {"PATH": os.environ["PATH"]} | (
            {"PYTHONPATH": str(self._more)} if more else {}
        )
        done = run(
            [str(self._python), *arguments],
            input=given,
            env=environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def needed_by(names: Iterable[str]) -> set[str]:
    """These packages and all that they require here, optional features aside."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        found.add(name)
        for line in metadata.requires(name) or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def link(names: Iterable[str], site: Path) -> None:
    """Link what the packages have installed."""
    for name in names:
        distribution = metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
        for top in tops:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
