"""Packages that bring families, installed by hand: their files, and what an installer notes."""

import os
import re
import site
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "families" / "your-package.md"
BLOCK = re.compile(r"^```\w+\n# ([\w./]+)\n(.*?)^```", re.M | re.S)


def documented() -> dict[str, str]:
    """The files that the documentation shows, by name."""
    return dict(BLOCK.findall(PAGE.read_text(encoding="utf-8")))


def install(
    folder: Path,
    package: str,
    families: dict[str, str],
    files: dict[str, str],
    version: str = "1.0",
) -> None:
    """Write a package's files to a folder of installed packages; `families` are entry points."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    notes = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    notes.mkdir(parents=True)
    (notes / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    points = "".join(f"{name} = {module}\n" for name, module in families.items())
    (notes / "entry_points.txt").write_text(f"[tuner.families]\n{points}")


class Environment:
    """A Python environment with all that this one has, and room for more packages."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / "bin" / "python"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.packages = folder / "lib" / version / "site-packages"
        # as an installer of editable packages does it: lines of folders
        here = [str(ROOT), *site.getsitepackages(), *filter(None, sys.path)]
        others = [entry for entry in dict.fromkeys(here) if os.path.isdir(entry)]
        (self.packages / "others.pth").write_text("\n".join(others) + "\n")
