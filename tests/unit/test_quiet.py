"""What Optuna warns of and logs stays out of tuner's own processes, and in those of its users."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

OWN = """
import sys
import tuner.cli.app

def work(*_):
    import warnings
    import optuna
    import tuner.search.claim, tuner.search.exchange, tuner.search.importances
    for category in (optuna.exceptions.ExperimentalWarning, FutureWarning, UserWarning):
        warnings.warn(f"a {category.__name__}", category)
    optuna.samplers.CmaEsSampler(use_separable_cma=True, with_margin=False)
    optuna.samplers.TPESampler(multivariate=True)
    optuna.logging.get_logger("optuna.study.study").error("an error")
    study = optuna.create_study()  # it logs
    study.optimize(lambda trial: 1 / 0, n_trials=1, catch=ZeroDivisionError)  # it warns

tuner.cli.app.execute = work
tuner.cli.app.main()
"""
USERS = """
import warnings

import optuna

optuna.logging.set_verbosity(optuna.logging.INFO)
import tuner
import tuner.api, tuner.search.claim, tuner.search.exchange, tuner.search.importances
from tuner.search.storage import Storage
assert optuna.logging.get_verbosity() == optuna.logging.INFO
for category in (optuna.exceptions.ExperimentalWarning, FutureWarning, UserWarning):
    warnings.warn(f"a {category.__name__}", category)
optuna.create_study(study_name="mine")
"""


def standard_error(code: str, *options: str) -> str:
    process = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stderr


def test_nothing_of_optuna_reaches_the_terminal() -> None:
    assert standard_error(OWN) == ""


def test_who_asks_for_warnings_gets_them() -> None:
    assert "a FutureWarning" in standard_error(OWN, "-W", "default::FutureWarning")


def test_a_users_program_keeps_its_own_settings() -> None:
    output = standard_error(USERS)
    assert "A new study created in memory with name: mine" in output
    assert "a ExperimentalWarning" in output
    assert "a FutureWarning" in output
    assert "a UserWarning" in output
