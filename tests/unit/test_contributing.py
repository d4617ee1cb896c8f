"""CONTRIBUTING.md's worked examples, followed to the letter in a copy of the tree.

A block of code whose first line names a file is that file. A block of `diff` changes the file; one
that only adds is added to its end. Then the tests that every sampler, family or figure passes are
run on the new one.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COPIED = ("docs", "migrations", "studies", "tests", "tuner", "pyproject.toml", "README.md")
BLOCK = re.compile(r"^```(\w+)\n\W*((?:tuner|tests|docs)/[\w./]+)[^\n]*\n(.*?)^```", re.M | re.S)


def section(title: str) -> str:
    """The text below a heading of CONTRIBUTING.md, up to the next one."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.search(rf"^### {title}\n(.*?)(?=^##|\Z)", page, re.M | re.S)
    assert found, f"CONTRIBUTING.md has no section `{title}`"
    return found[1]


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


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "images")
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


def test_a_sampler_is_two_files(tree: Path) -> None:
    touched = follow("Add a sampler", tree)
    assert touched == [
        "tuner/search/samplers/univariate.py",
        "tuner/study_file/samplers.py",
    ]
    chosen = "univariate and (same_study_seed or conditions_hold)"
    assert passed(tree, "tests/unit/test_proposer.py", "-k", chosen) == 2


def test_a_figure_is_its_module_a_caption_and_a_line_beside_the_docs(tree: Path) -> None:
    touched = follow("Add a figure", tree)
    assert touched == [
        "tuner/figures/duration.py",
        "tuner/figures/captions.py",
        "tuner/figures/registry.py",
    ]
    chosen = "duration or every_figure"
    assert passed(tree, "tests/unit/test_figures_registry.py", "-k", chosen) == 3


SECONDS = """
import math
from tests.support import synthetic
from tuner.commands import reading
trials = synthetic.trials(40)
total = reading.sum_seconds(trials)
assert set(total) == {"complete", "pruned", "failed"}, total
assert math.isclose(sum(total.values()), sum(trial.seconds for trial in trials))
"""


def test_a_command_is_what_it_does_and_what_it_prints_beside_the_docs(tree: Path) -> None:
    touched = follow("Add a command", tree)
    assert touched == ["tuner/commands/reading.py", "tuner/cli/spent.py", "tuner/cli/app.py"]
    assert "by the state in which they ended" in python(tree, "-m", "tuner", "spent", "--help")
    python(tree, "-c", SECONDS)


ROWS = """
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from tests.support import synthetic
from tuner.loggers import sqlite
trials = synthetic.trials(5, epochs=3, running=1, fail=False)
times = {(t.number, r.step): datetime.now(UTC) for t in trials for r in t.reports}
for _ in range(2):  # what is written again is not there twice
    sqlite.write(synthetic.study(), trials, times, Path("study.sqlite"))
database = sqlite3.connect("study.sqlite")
assert database.execute("SELECT count(*) FROM trials").fetchone() == (5,)
steps = [(t.number, r.step, r.value) for t in trials for r in t.reports]
query = "SELECT number, step, value FROM reports WHERE metric = 'accuracy' ORDER BY 1, 2"
assert database.execute(query).fetchall() == steps
"""


def test_an_integration_is_a_module_beside_its_option_and_the_docs(tree: Path) -> None:
    assert follow("Add an integration", tree) == ["tuner/loggers/sqlite.py"]
    python(tree, "-c", ROWS)


def test_a_launcher_is_its_variable_beside_the_docs(tree: Path) -> None:
    assert follow("Support a launcher", tree) == ["tuner/user_code/client.py"]
    code = "from tuner.user_code import client; print(client.rank())"
    assert python(tree, "-c", code, FLUX_TASK_RANK="3") == "3\n"
