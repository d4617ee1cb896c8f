"""A study in MLflow: an experiment of its name, with one run per trial.

A run has the trial's parameters, each report's metrics by step and time, its final values
(`final/…`), and tags: `tuner.trial`, `tuner.state`, `tuner.attempt`, `tuner.cause` and so on, and
the trial's attributes as `attr.NAME`. The tag `tuner.trial` identifies a run; nothing is logged
twice, and runs without news are skipped.
"""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from tuner.errors import BadInputError, visible
from tuner.loggers import FINAL, Times, as_text, metrics_by_step, select_started
from tuner.study_file.messages import quoted
from tuner.study_json import plain
from tuner.trial_tables import metric_names
from tuner.trials import Study, Trial, TrialState

TRIAL, LOGGED, CREATED = "tuner.trial", "tuner.logged", "tuner.created_at"
STATUS = {
    TrialState.WAITING: "SCHEDULED",
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "KILLED",
    TrialState.FAILED: "FAILED",
    TrialState.PAUSED: "SCHEDULED",
}
METRICS, PAIRS = 1000, 100  # per request: metrics; parameters or tags
PAGE = 1000  # runs per request
NAME_LENGTH = 250


def write(study: Study, trials: Sequence[Trial], times: Times, uri: str) -> int:
    """Log what is missing; returns the number of trials that were brought up to date.

    BadInputError if the server cannot be reached, refuses, or has an experiment of this name for
    another study.
    """
    try:
        client = MlflowClient(tracking_uri=uri)
        experiment = _find_or_create_experiment(client, study)
        runs = {run.data.tags[TRIAL]: run for run in _runs(client, experiment)}
        logs = (
            _log(client, experiment, runs.get(str(trial.number)), study, trial, times)
            for trial in select_started(trials)
        )
        return sum(logs)
    # all but the first come from a database that MLflow opens itself
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        reason = (str(error).strip().splitlines() or ["?"])[0]
        raise BadInputError(f"--mlflow: MLflow says: {visible(_without_secret(reason))}") from error


def _find_or_create_experiment(client: MlflowClient, study: Study) -> str:
    """Find or create the study's experiment; returns its id."""
    created = str(plain(study.created_at))
    experiment = client.get_experiment_by_name(study.name)
    if experiment is None:
        return str(client.create_experiment(study.name, tags={CREATED: created}))
    if experiment.tags.get(CREATED) != created:
        raise BadInputError(
            f"--mlflow: there is an experiment {quoted(study.name)} already, for another study: "
            "rename or delete it there"
        )
    if experiment.lifecycle_stage != "active":
        raise BadInputError(
            f"--mlflow: the experiment {quoted(study.name)} was deleted there: restore it first"
        )
    return str(experiment.experiment_id)


def _runs(client: MlflowClient, experiment: str) -> Iterator[Run]:
    """List all runs of trials."""
    token = None
    while True:
        page = client.search_runs([experiment], max_results=PAGE, page_token=token)
        yield from (run for run in page if TRIAL in run.data.tags)
        token = page.token
        if not token:
            return


def _log(
    client: MlflowClient, experiment: str, run: Run | None, study: Study, trial: Trial, times: Times
) -> bool:
    """Bring a trial's run up to date; returns False if it was."""
    mark = f"attempt {trial.attempt}, {trial.state}, {len(trial.reports)} reports"
    if run is not None and run.data.tags.get(LOGGED) == mark:
        return False
    if run is None:
        run = client.create_run(
            experiment,
            start_time=_milliseconds(trial.started_at or trial.created_at),
            tags={TRIAL: str(trial.number)},
            run_name=f"trial {trial.number}",
        )
    name = run.info.run_id
    logged = {
        (m.key, m.step) for key in run.data.metrics for m in client.get_metric_history(name, key)
    }
    metrics = [m for m in _metrics(study, trial, times) if (m.key, m.step) not in logged]
    params = [Param(_name(key), as_text(value)) for key, value in trial.params.items()]
    tags = _tags(trial)
    for start in range(0, len(metrics), METRICS):
        client.log_batch(name, metrics=metrics[start : start + METRICS])
    for start in range(0, max(len(params), len(tags)), PAIRS):
        end = start + PAIRS
        client.log_batch(name, params=params[start:end], tags=tags[start:end])
    if trial.state.is_finished:
        client.set_terminated(name, STATUS[trial.state], _milliseconds(trial.finished_at))
    else:
        client.update_run(name, status=STATUS[trial.state])
    client.set_tag(name, LOGGED, mark)  # last: if interrupted before, the next call continues
    return True


def _metrics(study: Study, trial: Trial, times: Times) -> Iterator[Metric]:
    step, at = 0, _milliseconds(trial.started_at)
    for step, values in metrics_by_step(trial, study.metric):
        at = _milliseconds(times.get((trial.number, step), trial.started_at))
        for name, value in values.items():
            yield Metric(_name(name), value, at, step)
    for name, value in zip(metric_names(study), trial.values or (), strict=False):
        yield Metric(f"{FINAL}{_name(name)}", value, _milliseconds(trial.finished_at) or at, step)


def _tags(trial: Trial) -> list[RunTag]:
    facts = {
        "state": trial.state,
        "attempt": trial.attempt,
        "worker": trial.worker,
        "cause": trial.cause,
        "message": trial.message,
    }
    tags = [RunTag(f"tuner.{n}", str(value)) for n, value in facts.items() if value is not None]
    return [
        *tags,
        *(
            RunTag(
                _name(f"attr.{name}"), value if isinstance(value, str) else json.dumps(plain(value))
            )
            for name, value in trial.user_attrs.items()
        ),
    ]


def _without_secret(text: str) -> str:
    """Remove users and passwords from the URLs in a text."""
    return re.sub(r"//[^/\s]*@", "//…@", text)


def _name(name: str) -> str:
    """Replace what MLflow refuses: all but letters, digits, spaces and a few signs."""
    return re.sub(r"[^\w\-. ]", "_", name)[:NAME_LENGTH]


def _milliseconds(at: datetime | None) -> int:
    return 0 if at is None else int(at.timestamp() * 1000)
