"""CONTRIBUTING.md's worked examples work: what they add passes the tests of its kind.

All examples are followed in one copy of the tree, so that it costs one run of these tests.
"""

from pathlib import Path

import pytest

from tests.support.worked_examples import copy, follow, passed, python

pytestmark = pytest.mark.slow

TOUCHED = {
    "Add a family": [
        "tuner/families/mlp.yaml",
        "tuner/families/mlp.py",
        "tuner/families/registry.py",
    ],
    "Add a sampler": ["tuner/search/samplers/univariate.py", "tuner/study_file/samplers.py"],
    "Add a figure": [
        "tuner/figures/duration.py",
        "tuner/figures/captions.py",
        "tuner/figures/registry.py",
    ],
    "Add a command": ["tuner/commands/reading.py", "tuner/cli/spent.py", "tuner/cli/app.py"],
    "Add an integration": ["tuner/loggers/sqlite.py"],
    "Support a launcher": ["tuner/user_code/client.py"],
}
GENERAL_TESTS = {  # file → chosen tests
    "test_families.py": "mlp",
    "test_families_code.py": "mlp",
    "test_proposer.py": "univariate and (same_study_seed or conditions_hold)",
    "test_figures_registry.py": "duration or every_figure or entry_of_the_registry",
}
CHECKS = """
import math
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from tests.support import synthetic
from tuner.commands import reading
from tuner.loggers import sqlite
from tuner.user_code import client

trials = synthetic.trials(40)
total = reading.sum_seconds(trials)
assert set(total) == {"complete", "pruned", "failed"}, total
assert math.isclose(sum(total.values()), sum(trial.seconds for trial in trials))

trials = synthetic.trials(5, epochs=3, running=1, fail=False)
times = {(t.number, r.step): datetime.now(UTC) for t in trials for r in t.reports}
for _ in range(2):  # what is written again is not there twice
    sqlite.write(synthetic.study(), trials, times, Path("study.sqlite"))
database = sqlite3.connect("study.sqlite")
assert database.execute("SELECT count(*) FROM trials").fetchone() == (5,)
steps = [(t.number, r.step, r.value) for t in trials for r in t.reports]
query = "SELECT number, step, value FROM reports WHERE metric = 'accuracy' ORDER BY 1, 2"
assert database.execute(query).fetchall() == steps

assert client.rank() == 3
"""


def test_what_the_worked_examples_add_passes_the_tests_of_its_kind(tmp_path: Path) -> None:
    tree = copy(tmp_path)
    assert {title: follow(title, tree) for title in TOUCHED} == TOUCHED
    files = [f"tests/unit/{name}" for name in GENERAL_TESTS]
    chosen = " or ".join(f"({name} and ({words}))" for name, words in GENERAL_TESTS.items())
    assert passed(tree, *files, "-k", chosen) >= 8
    assert "by the state in which they ended" in python(tree, "-m", "tuner", "spent", "--help")
    python(tree, "-c", CHECKS, FLUX_TASK_RANK="3")
