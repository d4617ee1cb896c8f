"""Modules that lie in the working folder, or in a bundle, never replace installed ones."""

import json
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tuner import processes
from tuner.export import manifest
from tuner.settings import python_environment

STUDY = """
name: planted
family: bow
data: {path: reviews.csv}
budget: {trials: 1, epochs: 1}
resources: {device: cpu, threads: 1, workers: 1}
"""
NAMES = sorted(
    name
    for name in {*sys.stdlib_module_names, *packages_distributions(), "tuner", "sitecustomize"}
    if name.isidentifier()
)
# what begins a process that neither `tuner run` nor `verify --no-train` starts
MODULES = ["tuner.__main__", "tuner.families.transfer.profile", "tuner.families.bundle.retrain"]


def plant(folder: Path, ledger: Path) -> None:
    """Put a file and a package of every name that tuner could import there; each notes its run."""
    folder.mkdir(exist_ok=True)
    text = f"open({str(ledger)!r}, 'a').write(__name__ + '\\n')\nraise ImportError(__name__)\n"
    for name in NAMES:
        (folder / f"{name}.py").write_text(text)
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(text)


def console(*arguments: str, environment: dict[str, str], cwd: Path) -> str:
    """Run the installed program, which must succeed."""
    program = Path(sys.executable).with_name("tuner")
    done = subprocess.run(
        [program, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def reviews() -> Iterable[str]:
    yield "text,label"
    for number in range(40):
        yield f"{('good fine', 'bad poor')[number % 2]} item {number},{number % 2}"


def test_a_study_is_tuned_and_verified_among_planted_modules(
    environment: dict[str, str], tmp_path: Path
) -> None:
    ledger, folder = tmp_path / "ledger", tmp_path / "work"
    plant(folder, ledger)
    (folder / "planted.yaml").write_text(STUDY)
    (folder / "reviews.csv").write_text("\n".join(reviews()) + "\n")
    result = json.loads(
        console("run", "planted.yaml", "--json", environment=environment, cwd=folder)
    )
    assert result["counts"]["complete"] == 1
    assert not ledger.exists()

    bundle = folder / "exports" / "planted"
    plant(bundle, ledger)
    manifest.write(bundle)  # as a stranger's bundle would have it
    options = ("--predict", "--no-train", "--json")
    checks = json.loads(console("verify", ".", *options, environment=environment, cwd=bundle))
    assert checks["passed"] is True
    assert not ledger.exists()


def test_every_process_of_tuner_begins_with_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, folder = tmp_path / "ledger", tmp_path / "work"
    plant(folder, ledger)
    monkeypatch.setenv("PYTHONPATH", f":{tmp_path}/elsewhere:")  # its empty entries: that folder
    for module in MODULES:
        done = subprocess.run(
            processes.command(module, "--help"),
            input="",
            env=python_environment(),
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "ImportError" not in done.stderr
        # it has begun: there is help, or no request to read
        assert done.returncode == 0 or "JSONDecodeError" in done.stderr
    assert not ledger.exists()


def test_python_m_tuner_leaves_the_working_folder_alone(tmp_path: Path) -> None:
    for name in ("json", "numpy", "queue", "random", "typing"):
        (tmp_path / f"{name}.py").write_text("raise ImportError(__name__)\n")
    command = [sys.executable, "-m", "tuner", "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("tuner "), done.stderr


def test_pythonpath_counts_after_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("queue", "tuner", "some_module"):
        (tmp_path / f"{name}.py").write_text(f"def main(): print('{name} of the user')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = subprocess.run(
        processes.command("some_module"),
        env=python_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "some_module of the user\n"
    done = subprocess.run(
        processes.command("queue"),
        env=python_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "module 'queue' has no attribute 'main'" in done.stderr
