"""Write a study's trials to the logs of other tools, which draw them.

tensorboard.py   event files
mlflow.py        an experiment with one run per trial

Both need an extra, which is imported on use. Writing a log again brings it up to date; it holds
nothing twice.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec

from tuner.errors import BadInputError
from tuner.trials import ParamValue, Trial, TrialState

Times = Mapping[tuple[int, int], datetime]  # number of a trial, step → when it was reported
FINAL = "final/"  # prefix of the names of trials' final values


def check_installed(option: str, package: str, extra: str) -> None:
    """BadInputError unless the package is installed."""
    if find_spec(package) is None:
        raise BadInputError(
            f"{option}: {package} is not installed; install it with: pip install 'tuner[{extra}]'"
        )


def select_started(trials: Sequence[Trial]) -> list[Trial]:
    """The trials that have something to log."""
    return [t for t in trials if t.reports or t.state is not TrialState.WAITING]


def metrics_by_step(trial: Trial, metric: str) -> list[tuple[int, dict[str, float]]]:
    """The step of each report and all its metrics, the objective's metric last."""
    return [
        (
            report.step,
            {n: v for n, v in report.metrics.items() if n != metric} | {metric: report.value},
        )
        for report in trial.reports
    ]


def as_text(value: ParamValue) -> str:
    """A parameter for tools that take only text."""
    return "null" if value is None else str(value)
