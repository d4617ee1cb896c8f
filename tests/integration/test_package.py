"""The package as users install it: built from a source distribution, away from the source tree."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSIDE = {"tuner": "tuner", "migrations": "tuner/migrations", "studies": "tuner/studies"}


def python(*arguments: str, cwd: Path, **environment: str) -> str:
    completed = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    python("-m", "hatchling", "build", "-t", "sdist", "-d", str(folder), cwd=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    # no isolation: an isolated build would fetch hatchling, which the developers have
    offline = ("--no-deps", "--no-index", "--no-build-isolation")
    python("-m", "pip", "wheel", str(archive), *offline, "-w", str(folder), cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def sources() -> list[str]:
    """What a wheel must hold, by its name there."""
    return [
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, package in INSIDE.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]


def test_the_wheel_holds_every_source_file(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert sorted(set(sources()) - set(names)) == []
    for needed in ("tuner/py.typed", "tuner/families/cnn.yaml", "tuner/studies/digits-cnn.yaml"):
        assert needed in names
    assert any(name.startswith("tuner/migrations/versions/0001_") for name in names)


def test_an_installed_copy_finds_its_own_migrations(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    into = ("--no-deps", "--no-index", "--target", str(target))
    python("-m", "pip", "install", str(wheel), *into, cwd=tmp_path)
    code = "from tuner.database import schema; print(schema.migrations_folder(), schema.newest())"
    completed = python("-c", code, cwd=tmp_path, PYTHONPATH=str(target))
    assert completed.startswith(f"{target / 'tuner' / 'migrations'} 0")
    version = python("-m", "tuner", "--version", cwd=tmp_path, PYTHONPATH=str(target))
    assert version.startswith("tuner ")
