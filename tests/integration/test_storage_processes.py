"""Eight processes optimize one study through tuner.storage(), as notebooks and scripts do."""

import collections
import subprocess
import sys

import optuna

from tests.support.waiting import STUCK
from tuner.database.engine import Database
from tuner.search.storage import Storage

PROCESSES, TRIALS = 8, 20
SCRIPT = f"""
import os, sys
import optuna, tuner

def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    c = trial.suggest_categorical("c", ["a", "b"])
    for step in range(3):
        trial.report(x * step, step)
    trial.set_user_attr("process", os.getpid())
    if trial.number % 7 == 6:
        raise optuna.TrialPruned
    return x * x + (c == "a")

optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(study_name="shared", storage=tuner.storage(), load_if_exists=True)
print("ready", flush=True)
sys.stdin.readline()
study.optimize(objective, n_trials={TRIALS})
"""


def test_eight_processes_on_one_study(database: Database, environment: dict[str, str]) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    for process in started:  # all have made or found the study before any of them begins
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        process.communicate(timeout=STUCK)
        assert process.returncode == 0
    trials = optuna.load_study(study_name="shared", storage=Storage(database)).trials
    assert [t.number for t in trials] == list(range(PROCESSES * TRIALS))
    assert len({t._trial_id for t in trials}) == PROCESSES * TRIALS
    by_process = collections.Counter(t.user_attrs["process"] for t in trials)
    assert by_process == {process.pid: TRIALS for process in started}
    for trial in trials:
        assert trial.state.is_finished()
        assert trial.intermediate_values == {step: trial.params["x"] * step for step in range(3)}
        pruned = trial.state is optuna.trial.TrialState.PRUNED
        assert pruned == (trial.number % 7 == 6)
