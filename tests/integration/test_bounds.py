"""What the database can hold is what a study file may say: the largest launches, one more is told.

A sentence names the field, whichever way the number comes; nothing is half-written.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.commands import tuner_here
from tuner.commands import reading
from tuner.dashboard.app import create_app
from tuner.dashboard.board import Board
from tuner.database.engine import Database
from tuner.errors import BadInputError
from tuner.settings import Settings
from tuner.study_file.load import loads
from tuner.study_file.plain import plain

STUDY = """
name: own
family: function
function: code_of_mine:train
objective: {metric: accuracy, direction: maximize}
search: {x: {low: 0.0, high: 1.0}}
pruner: none
"""
MOST = 2**63 - 1
# field → the largest value and the smallest beyond it
BOUNDS = {
    "budget.trials": (1_000_000, 1_000_001),
    "budget.epochs": (100_000, 100_001),
    "budget.hours": (10_000_000, 10_000_001),
    "budget.total_epochs": (10**12, 10**12 + 1),
    "budget.gpu_seconds": (10**12, 10**12 + 1),
    "budget.patience": (MOST, MOST + 1),
    "budget.max_failures": (MOST, MOST + 1),
    "sampler.startup_trials": (MOST, MOST + 1),
    "seed": (2**31 - 1, 2**31),
    "resources.workers": (1_024, 1_025),
    "resources.threads": (1_024, 1_025),
    "resources.max_attempts": (MOST, MOST + 1),
    "resources.max_concurrent": (2**31 - 1, 2**31),
    "resources.priority": (1_000, 1_001),
    "resources.labels.gpu": ("a" * 63, "a" * 64),
    "name": ("ж" * 100, "ж" * 101),
}
CHANGED = [
    *(f"budget.{name}" for name in ("trials", "hours", "total_epochs", "gpu_seconds")),
    *(f"resources.{name}" for name in ("priority", "max_concurrent")),
]
DIGITS = "9" * 4_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "code_of_mine.py").write_text("def train(trial):\n    return 0.5\n")
    (tmp_path / "own.yaml").write_text(STUDY)
    return tmp_path / "own.yaml"


def options(values: dict[str, object]) -> list[str]:
    return [word for field, value in values.items() for word in ("--set", f"{field}={value}")]


def test_the_largest_values_are_stored_and_shown(
    environment: dict[str, str], database: Database, file: Path
) -> None:
    largest = options({field: value for field, (value, _) in BOUNDS.items()})
    completed = tuner_here(("launch", str(file), *largest), environment)
    assert completed.returncode == 0, completed.stderr
    (overview,) = reading.load_overviews(database)
    study = overview.study
    assert (study.max_trials, study.name) == (1_000_000, "ж" * 100)
    for command in ("show", "list", "pause"):
        names = [study.name] * (command != "list")
        assert tuner_here((command, *names), environment).returncode == 0
    small = ("launch", str(file), "--name", "small", "--set", "budget.epochs=1")
    assert tuner_here(small, environment).returncode == 0
    for field in CHANGED:
        completed = tuner_here(("change", "small", f"{field}={BOUNDS[field][0]}"), environment)
        assert completed.returncode == 0, (field, completed.stderr)


def test_one_beyond_is_a_sentence_that_names_the_field(
    environment: dict[str, str], database: Database, file: Path
) -> None:
    assert tuner_here(("launch", str(file), "--name", "small"), environment).returncode == 0
    before = reading.find(database, "small")
    for field, (_, beyond) in BOUNDS.items():
        for value in (beyond, *([] if isinstance(beyond, str) else [1e300, DIGITS, f"-{DIGITS}"])):
            commandlines = [("launch", str(file), *options({field: value}))]
            if field in CHANGED:
                commandlines.append(("change", "small", f"{field}={value}"))
            for commandline in commandlines:
                completed = tuner_here(commandline, environment)
                assert completed.returncode == 2, (commandline, completed.stdout)
                assert len(completed.stderr.splitlines()) == 1, completed.stderr
                assert field in completed.stderr
                assert len(completed.stderr) < 400
    file.write_text(STUDY + f"seed: {DIGITS}\n")
    completed = tuner_here(("launch", str(file)), environment)
    assert completed.returncode == 2
    assert "own.yaml:8: the number `999" in completed.stderr
    assert [overview.study for overview in reading.load_overviews(database)] == [before]


def test_the_dashboard_and_python_take_no_more(
    environment: dict[str, str], database: Database, file: Path, tmp_path: Path
) -> None:
    assert tuner_here(("launch", str(file), "--name", "small"), environment).returncode == 0
    study = reading.find(database, "small")
    board = Board(database, Settings(home=tmp_path / "home"))
    app = create_app(board, hosts=("localhost",))
    client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    client.headers |= board.access.secret.header
    at = f"/api/v1/studies/{study.id}"
    for value in (DIGITS, "1e300", str(2**63)):
        for path, body in (
            (
                "/api/v1/studies",
                f'{{"yaml": "name: s\\nfamily: bow\\ndata: x.csv\\nseed: {value}"}}',
            ),
            (f"{at}/change", f'{{"assignments": ["budget.trials={value}"]}}'),
            (f"{at}/enqueue", f'{{"params": {{"x": {value}}}}}'),
        ):
            answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
            assert 400 <= answer.status_code < 500, (path, value[:20], answer.text[:500])
            assert len(answer.text) < 1_000
        form = client.post(f"/studies/{study.id}/change", data={"trials": value})
        assert form.status_code < 500, form.text[:500]
        form = client.post(
            "/launch/edit", data={"yaml": STUDY, "path": "budget.hours", "value": value}
        )
        assert form.status_code < 500, form.text[:500]
    assert reading.find(database, "small") == study
    assert len(reading.load_trials(database, study)) == 0


@pytest.mark.parametrize(
    "value", [10**4_000, -(10**5_000), 2**63], ids=["4,000 digits", "-5,000 digits", "64 bits"]
)
@pytest.mark.parametrize(
    "part",
    [
        lambda value: {"seed": value},
        lambda value: {"budget": {"hours": value, "trials": value}},
        lambda value: {"resources": {"labels": {"gpu": value}}},
        lambda value: {"search": {"x": {"low": 0, "high": value}}},
        lambda value: {"enqueue": [{"x": value}]},
    ],
    ids=["seed", "budget", "labels", "search", "enqueue"],
)
def test_numbers_that_come_from_python(part: Callable[[int], Any], value: int) -> None:
    with pytest.raises(BadInputError) as raised:
        loads(json.dumps(plain({"name": "s", "family": "bow", "data": "x.csv", **part(value)})))
    assert len(str(raised.value)) < 400
