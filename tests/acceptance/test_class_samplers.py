"""A sampler that a study file names by its class, with real workers; the leader is killed."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
from sqlalchemy import text

from tests.support.commands import answer, tuner
from tests.support.waiting import STUCK, eventually
from tuner.commands import reading
from tuner.database.engine import Database
from tuner.trials import StudyState, TrialState

STUDY = """
name: own
family: function
function: user_code:train
objective: {metric: loss, direction: minimize}
search: {x: {low: 0.0, high: 1.0}, kind: [a, b]}
sampler: {class: "optuna.samplers:CmaEsSampler", options: {popsize: 4, with_margin: true}}
pruner: {class: "optuna.pruners:PercentilePruner", options: {percentile: 60.0}}
budget: {trials: 24, epochs: 3}
"""
MODULE = """
def train(trial):
    for step in range(1, 4):
        trial.report((trial.params["x"] - 0.3) ** 2 + 1 / step, step)
"""
LEADER = text("""
    SELECT w.pid FROM tuner.studies s JOIN tuner.workers w
    ON CAST(w.id AS text) = CAST(s.system_attrs ->> '{proposer}' AS jsonb) ->> 'worker'
    WHERE s.name = 'own'
""")


def test_another_worker_proposes_when_the_leader_is_killed(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    (tmp_path / "user_code.py").write_text(MODULE)
    (tmp_path / "own.yaml").write_text(STUDY)
    environment = {**environment, "TUNER_LEASE_SECONDS": "3"}
    answer("launch", "own.yaml", environment=environment, cwd=tmp_path)
    command = [sys.executable, "-m", "tuner", "worker", "--workers", "1", "--allow-code"]
    workers = [
        subprocess.Popen(
            [*command, "--until-done"], env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL
        )
        for _ in range(2)
    ]

    def states() -> list[TrialState]:
        return [t.state for t in reading.load_trials(database, reading.find(database, "own"))]

    def some_have_ended() -> bool:
        return sum(state.is_finished for state in states()) >= 6

    try:
        eventually(some_have_ended, progress=states)
        with database.statement() as connection:
            leader = connection.execute(LEADER).scalar_one()
        (other,) = (worker for worker in workers if worker.pid != leader)
        psutil.Process(leader).kill()
        assert other.wait(STUCK) == 0
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    study = reading.find(database, "own")
    trials = reading.load_trials(database, study)
    assert (study.state, study.issued) == (StudyState.FINISHED, 24)
    assert [trial.number for trial in trials] == list(range(24))
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert all(trial.params.keys() == {"x", "kind"} for trial in trials)
    assert {t.origin.sampler for t in trials if t.origin} == {"optuna.samplers:CmaEsSampler"}
    shown = tuner("trials", "own", "--json", environment=environment).stdout
    assert len(json.loads(shown)) == 24
