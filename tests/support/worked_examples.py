"""CONTRIBUTING.md's worked examples, followed to the letter in a copy of the tree.

A block of code whose first line names a file is that file. A block of `diff` changes the file; one
that only adds is added to its end.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("docs", "migrations", "studies", "tests", "tuner", "pyproject.toml", "README.md")
BLOCK = re.compile(r"^```(\w+)\n\W*((?:tuner|tests|docs)/[\w./]+)[^\n]*\n(.*?)^```", re.M | re.S)


def section(title: str) -> str:
    """The text below a heading of CONTRIBUTING.md, up to the next one."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    match = re.search(rf"^### {title}\n(.*?)(?=^##|\Z)", page, re.M | re.S)
    assert match, f"CONTRIBUTING.md has no section `{title}`"
    return match[1]


def hunks(diff: str) -> Iterator[tuple[str, str]]:
    """The changes of a diff without positions: what stands there → what replaces it."""
    old: list[str] = []
    new: list[str] = []
    added = False
    for line in diff.splitlines():
        if added and line[:1] != "+":  # lines after an addition begin the next change
            yield "\n".join(old), "\n".join(new)
            old, new = [], []
        added = line[:1] == "+"
        if not added:
            old.append(line[1:])
        if line[:1] != "-":
            new.append(line[1:])
    yield "\n".join(old), "\n".join(new)


def follow(title: str, tree: Path) -> list[str]:
    """Do what a section says; returns the files that it touches."""
    touched = []
    for language, path, content in BLOCK.findall(section(title)):
        file = tree / path
        if path not in touched:
            touched.append(path)
        if language == "diff":
            text = file.read_text(encoding="utf-8")
            for old, new in hunks(content):
                if not old:
                    text += f"{new}\n"
                    continue
                assert text.count(f"\n{old}\n") == 1, f"{path} has not once:\n{old}"
                text = text.replace(f"\n{old}\n", f"\n{new}\n")
            file.write_text(text, encoding="utf-8")
        else:
            assert not file.exists(), f"{path} is there already"
            file.write_text(content, encoding="utf-8")
    return touched


def python(tree: Path, *arguments: str, **variables: str) -> str:
    """Run Python in the copy, which then imports tuner from there; returns what it prints."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env={**environment, **variables, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def passed(tree: Path, *arguments: str) -> int:
    """Run tests in the copy; returns how many have passed."""
    printed = python(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)
    return int(re.findall(r"(\d+) passed", printed)[0])


def copy(target: Path) -> Path:
    """Copy what tests and programs need of the tree; returns the target."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "images")
            shutil.copytree(source, target / name, ignore=ignored)
        else:
            shutil.copy(source, target / name)
    return target
