"""CONTRIBUTING.md's worked examples work: what each adds passes the tests of its kind."""

from pathlib import Path

import pytest

from tests.support.worked_examples import copy, follow, passed, python


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return copy(tmp_path)


def test_a_family_is_two_files_and_a_line(tree: Path) -> None:
    touched = follow("Add a family", tree)
    assert touched == [
        "tuner/families/mlp.yaml",
        "tuner/families/mlp.py",
        "tuner/families/registry.py",
    ]
    files = ("tests/unit/test_families.py", "tests/unit/test_families_code.py")
    assert passed(tree, *files, "-k", "mlp") >= 3


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
