"""A study's trials in the formats of other tools' logs, from which these tools draw them.

tensorboard.py   event files
mlflow.py        an experiment with a run a trial

Both need an extra, which is imported when it is asked for. Written again, a log is brought up to
date and holds nothing twice.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec

from tuner.errors import BadInputError
from tuner.trials import ParamValue, Trial, TrialState

Times = Mapping[tuple[int, int], datetime]  # number of a trial, step → when it was reported
FINAL = "final/"  # before the names of the values that trials have ended with


def need(option: str, package: str, extra: str) -> None:
    """BadInputError unless the package is installed."""
    if find_spec(package) is None:
        raise BadInputError(
            f"{option}: {package} is not installed; install it with: pip install 'tuner[{extra}]'"
        )


def begun(trials: Sequence[Trial]) -> list[Trial]:
    """Those of which there is something to log."""
    return [t for t in trials if t.reports or t.state is not TrialState.WAITING]


def measured(trial: Trial, metric: str) -> list[tuple[int, dict[str, float]]]:
    """Each report: its step and all that was measured, the objective's metric last."""
    return [
        (
            report.step,
            {n: v for n, v in report.metrics.items() if n != metric} | {metric: report.value},
        )
        for report in trial.reports
    ]


def as_text(value: ParamValue) -> str:
    """A parameter where a tool takes texts alone."""
    return "null" if value is None else str(value)
