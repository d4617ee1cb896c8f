"""The best of a search may be luck: fresh seeds tell."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_own_code import ok
from tests.conftest import tuner
from tuner import commands
from tuner.database.engine import Database
from tuner.spec.seeds import derived_seed
from tuner.winner import choice

LUCKY = derived_seed(0, "trial", 0)  # of the first trial
MODULE = f"""
import random

QUALITY = {{"lucky": 0.80, "better": 0.90, "poor": 0.50, "same": 0.90}}

def train(trial):
    kind = trial.params["kind"]
    noise = random.Random(f"{{trial.seed}}").gauss(0, 0.004)
    value = 0.99 if trial.seed == {LUCKY} else QUALITY[kind] + noise
    for step in range(1, 4):
        trial.report(value, step=step)
"""
STUDY = """
name: luck
family: function
function: code_of_mine:train
objective: {metric: accuracy, direction: maximize}
search: {kind: [lucky, better, poor]}
budget: {trials: 3, epochs: 3}
enqueue: [{kind: lucky}, {kind: better}, {kind: poor}]
pruner: none
resources: {workers: 1}
"""


@pytest.fixture
def finished(environment: dict[str, str], tmp_path: Path) -> dict[str, Any]:
    """A study whose best is a lucky seed."""
    (tmp_path / "code_of_mine.py").write_text(MODULE)
    (tmp_path / "luck.yaml").write_text(STUDY)
    run: dict[str, Any] = {"environment": environment, "cwd": tmp_path}
    best = ok("run", str(tmp_path / "luck.yaml"), **run)["best"]
    assert (best["params"]["kind"], best["metric"]["validation"]) == ("lucky", 0.99)
    return run


def test_the_truly_better_configuration_wins_and_is_exported(
    finished: dict[str, Any], database: Database, tmp_path: Path
) -> None:
    before = commands.load_trials(database, commands.find(database, "luck"))
    found = ok("confirm", "luck", "--seeds", "3", **finished)
    assert found["winner"] == 1
    assert found["tied"] == [1]
    by_number = {candidate["number"]: candidate for candidate in found["candidates"]}
    assert by_number[0]["overstated_by"] == pytest.approx(0.19, abs=0.02)
    assert by_number[1]["interval"][0] < 0.9 < by_number[1]["interval"][1]
    assert len(by_number[1]["values"]) == 3
    assert LUCKY not in {derived_seed(derived_seed(0, "confirm"), "trial", n) for n in range(12)}
    # the search knows nothing of it
    assert commands.load_trials(database, commands.find(database, "luck")) == before

    assert ok("best", "luck", **finished)["params"] == {"kind": "better"}
    exported = ok("export", "luck", "--force", **finished)
    assert exported["params"]["kind"] == "better"
    confirmed = exported["metric"]["confirmed"]
    assert confirmed["won"]
    assert confirmed["seeds"] == 3
    assert confirmed["mean"] == by_number[1]["mean"]
    card = (tmp_path / "exports" / "luck" / "card.md").read_text()
    mean = f"{confirmed['mean']:.4g}"
    assert f"Trained again with 3 fresh seeds, it reaches {mean} (" in card

    # asked for more seeds it goes on with those it has
    said = tuner("confirm", "luck", "--seeds", "4", **finished).stdout
    kept = choice.confirmation(commands.find(database, "luck"))
    assert kept is not None
    values = {candidate["number"]: candidate["values"] for candidate in kept["candidates"]}
    assert values[1][:3] == by_number[1]["values"]
    assert len(values[1]) == 4
    assert "trial 1 wins" in said
    overstated = re.search(r"the search overstated its best accuracy by (0\.\d+)", said)
    assert overstated is not None
    assert float(overstated[1]) == pytest.approx(0.19, abs=0.02)


def test_what_cannot_be_confirmed(finished: dict[str, Any], tmp_path: Path) -> None:
    def refused(*words: str) -> str:
        done = tuner("confirm", *words, **finished)
        assert done.returncode == 2
        return done.stderr

    assert "`lukc`" in refused("lukc")
    assert "--seeds: must be at least 2" in refused("luck", "--seeds", "1")
    other = tmp_path / "other.yaml"
    other.write_text(STUDY.replace("name: luck", "name: luck-confirm"))
    assert tuner("launch", str(other), **finished).returncode == 0
    assert "exists and does not confirm `luck`" in refused("luck")
    assert "is active: its best may still change" in refused("luck-confirm")
