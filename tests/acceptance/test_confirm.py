"""The best of a search may be luck: fresh seeds tell."""

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import answer, tuner
from tests.support.waiting import STUCK, eventually
from tuner.commands import reading
from tuner.database.engine import Database
from tuner.study_file.seeds import derived_seed
from tuner.trials import StudyState
from tuner.winner import confirmations

SEARCHED = [derived_seed(0, "trial", number) for number in range(3)]
LUCKY = SEARCHED[0]
MODULE = f"""
import random, time
from pathlib import Path

QUALITY = {{"lucky": 0.80, "better": 0.90, "poor": 0.50, "same": 0.90}}

def train(trial):
    kind = trial.params["kind"]
    with Path("seeds").open("a") as ledger:
        print(kind, trial.seed, file=ledger)
    noise = random.Random(f"{{trial.seed}}").gauss(0, 0.004)
    value = 0.99 if trial.seed == {LUCKY} else QUALITY[kind] + noise
    for step in range(1, 4):
        trial.report(value, step=step)
        if Path("hold").exists() and trial.seed not in {SEARCHED}:
            Path("held").touch()
            while Path("hold").exists() and not trial.should_stop():
                time.sleep(0.01)
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
def here(environment: dict[str, str], tmp_path: Path) -> dict[str, Any]:
    """Where the code and the study file lie."""
    (tmp_path / "code_of_mine.py").write_text(MODULE)
    (tmp_path / "luck.yaml").write_text(STUDY)
    return {"environment": environment, "cwd": tmp_path}


@pytest.fixture
def finished(here: dict[str, Any]) -> dict[str, Any]:
    """A study whose best is a lucky seed."""
    best = answer("run", "luck.yaml", **here)["best"]
    assert (best["params"]["kind"], best["metric"]["validation"]) == ("lucky", 0.99)
    assert "confirmed" not in best["metric"]
    return here


def seeds_of(folder: Path) -> dict[str, list[int]]:
    """Which seeds each kind was trained with, in their order, as its code saw them."""
    seeds: dict[str, list[int]] = {}
    for line in (folder / "seeds").read_text().splitlines():
        kind, seed = line.split()
        seeds.setdefault(kind, []).append(int(seed))
    return seeds


def test_the_truly_better_configuration_wins_and_is_exported(
    finished: dict[str, Any], database: Database, tmp_path: Path
) -> None:
    before = reading.load_trials(database, reading.find(database, "luck"))
    record = answer("confirm", "luck", "--seeds", "3", **finished)
    assert (record["winner"], record["best_mean"]) == (1, 1)
    by_number = {candidate["number"]: candidate for candidate in record["candidates"]}
    assert [by_number[n]["standing"] for n in range(3)] == ["worse", "wins", "worse"]
    assert by_number[0]["overstated_by"] == pytest.approx(0.19, abs=0.02)
    assert by_number[1]["interval"][0] < 0.9 < by_number[1]["interval"][1]
    assert len(by_number[1]["values"]) == 3
    # the seeds are fresh, and the same for every configuration
    fresh = {kind: seeds[1:] for kind, seeds in seeds_of(tmp_path).items()}
    assert sorted(fresh["lucky"]) == sorted(fresh["better"]) == sorted(fresh["poor"])
    assert len(set(fresh["better"])) == 3
    assert set(SEARCHED).isdisjoint(fresh["better"])
    # the search knows nothing of it
    assert reading.load_trials(database, reading.find(database, "luck")) == before

    assert answer("best", "luck", **finished)["params"] == {"kind": "better"}
    exported = answer("export", "luck", "--force", **finished)
    assert exported["params"]["kind"] == "better"
    confirmed = exported["metric"]["confirmed"]
    assert confirmed["won"]
    assert confirmed["seeds"] == 3
    assert confirmed["mean"] == by_number[1]["mean"]
    card = (tmp_path / "exports" / "luck" / "card.md").read_text()
    mean = f"{confirmed['mean']:.4g}"
    assert f"Trained again with 3 fresh seeds, it reaches {mean} (" in card
    assert "Trial 1 wins with the best mean of 3 fresh seeds." in card

    # a trial of the confirmation is exported with the seed that it was trained with
    repeat = answer("export", "luck-confirm", "--trial", "0", **finished)
    assert repeat["seed"] in fresh[repeat["params"]["kind"]]

    # asked for more seeds it goes on with those it has
    output = tuner("confirm", "luck", "--seeds", "4", **finished).stdout
    stored = confirmations.read(reading.find(database, "luck"))
    assert stored is not None
    values = {candidate["number"]: candidate["values"] for candidate in stored["candidates"]}
    assert values[1][:3] == by_number[1]["values"]
    assert len(values[1]) == 4
    assert "Trial 1 wins with the best mean of 4 fresh seeds." in output
    overstated = re.search(r"The search overstated its best accuracy by (0\.\d+)", output)
    assert overstated is not None
    assert float(overstated[1]) == pytest.approx(0.19, abs=0.02)


def test_a_study_file_that_asks_for_it_is_confirmed_before_the_export(
    here: dict[str, Any], database: Database, tmp_path: Path
) -> None:
    """Also where Ctrl-C comes in the middle of the confirmation: run again, it goes on."""
    file = tmp_path / "luck.yaml"
    file.write_text(STUDY + "confirm: {top: 2, seeds: 3, margin: 0.01}\n")
    (tmp_path / "hold").touch()
    with subprocess.Popen(
        [sys.executable, "-m", "tuner", "run", str(file)],
        env=here["environment"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        eventually((tmp_path / "held").exists)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=STUCK)[1]
    assert process.returncode == 130, error
    assert "confirmation paused. Continue with " in error
    assert not (tmp_path / "exports").exists()
    assert reading.find(database, "luck").state is StudyState.FINISHED
    assert reading.find(database, "luck-confirm").state is StudyState.PAUSED
    export = tuner("export", "luck", "--to", "kept", **here)  # what is there can be used
    assert "asks for a confirmation, which has not been made" in export.stderr

    (tmp_path / "hold").unlink()
    best = answer("run", str(file), **here)["best"]
    assert best["params"]["kind"] == "better"
    assert (best["metric"]["confirmed"]["won"], best["metric"]["confirmed"]["margin"]) == (
        True,
        0.01,
    )
    by_kind = seeds_of(tmp_path)
    assert set(by_kind) == {"lucky", "better", "poor"}
    assert len(by_kind["poor"]) == 1  # of the best two it is none
    assert len(set(by_kind["better"])) == 4
    # another request is no other study: the section may change, and goes on with what there is
    file.write_text(STUDY + "confirm: {top: 2, seeds: 4}\n")
    again = answer("run", str(file), **here)["best"]["metric"]["confirmed"]
    assert again["seeds"] == 4
    assert len(set(seeds_of(tmp_path)["better"])) == 5
    assert reading.find(database, "luck").state is StudyState.FINISHED


def test_what_cannot_be_confirmed(finished: dict[str, Any], tmp_path: Path) -> None:
    def refused(*words: str) -> str:
        process = tuner("confirm", *words, **finished)
        assert process.returncode == 2
        return process.stderr

    assert "`lukc`" in refused("lukc")
    assert "--seeds: must be at least 2" in refused("luck", "--seeds", "1")
    assert "--margin: must be a finite number, is `inf`" in refused("luck", "--margin", "inf")
    # a worker would not serve it, so it would wait for ever
    code = tmp_path / "code_of_mine.py"
    code.write_text(MODULE + "# changed\n")
    assert (
        "`luck` cannot be trained here" in (error := refused("luck")) or "`luck-confirm`" in error
    )
    assert "has changed since the study was launched" in error
    (tmp_path / "luck.yaml").write_text(STUDY + "confirm: {seeds: 2}\n")
    ended = tuner("run", "luck.yaml", **finished)
    assert ended.returncode == 2
    assert "code.fingerprint" in ended.stderr
    code.write_text(MODULE)
    other = tmp_path / "other.yaml"
    other.write_text(STUDY.replace("name: luck", "name: luck-confirm"))
    assert tuner("delete", "luck-confirm", "--yes", **finished).returncode == 0
    assert tuner("launch", str(other), **finished).returncode == 0
    assert "exists and does not confirm `luck`" in refused("luck")
    assert "is active: its best may still change" in refused("luck-confirm")
    # nor does a worker idle for ever that shall serve just that
    code.write_text(MODULE + "# changed\n")
    words = ("--study", "luck-confirm", "--until-done", "--allow-code")
    ended = tuner("worker", *words, **finished)
    assert ended.returncode == 2
    assert "`luck-confirm` cannot be trained here: the code in " in ended.stderr
