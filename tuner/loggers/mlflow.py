"""A study in MLflow: an experiment of its name, a run a trial.

A run has the trial's parameters, each report's metrics by step and time, the values that it ended
with (`final/…`), and tags: `tuner.trial`, `tuner.state`, `tuner.attempt`, `tuner.cause` and so on,
and the trial's attributes as `attr.NAME`. By `tuner.trial` a run is found again; what it has
already is not logged twice, and a run that nothing was added to is passed over.
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
from tuner.loggers import FINAL, Times, as_text, begun, measured
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
}
METRICS, PAIRS = 1000, 100  # of a request: metrics; parameters or tags
PAGE = 1000  # runs
NAME_LENGTH = 250


def write(study: Study, trials: Sequence[Trial], times: Times, uri: str) -> int:
    """Log what is not there yet; the number of trials that were brought up to date.

    BadInputError where the server cannot be reached or refuses, or has another study's experiment
    of this name.
    """
    try:
        client = MlflowClient(tracking_uri=uri)
        experiment = _experiment(client, study)
        runs = {run.data.tags[TRIAL]: run for run in _runs(client, experiment)}
        logs = (
            _log(client, experiment, runs.get(str(trial.number)), study, trial, times)
            for trial in begun(trials)
        )
        return sum(logs)
    # the latter ones of a database that MLflow was to open itself
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        reason = (str(error).strip().splitlines() or ["?"])[0]
        raise BadInputError(f"--mlflow: MLflow says: {visible(_without_secret(reason))}") from error


def _experiment(client: MlflowClient, study: Study) -> str:
    """The id of the study's experiment."""
    created = str(plain(study.created_at))
    found = client.get_experiment_by_name(study.name)
    if found is None:
        return str(client.create_experiment(study.name, tags={CREATED: created}))
    if found.tags.get(CREATED) != created:
        raise BadInputError(
            f"--mlflow: there is an experiment {quoted(study.name)} already, which is not of this "
            "study: rename or delete it there"
        )
    if found.lifecycle_stage != "active":
        raise BadInputError(
            f"--mlflow: the experiment {quoted(study.name)} was deleted there: restore it first"
        )
    return str(found.experiment_id)


def _runs(client: MlflowClient, experiment: str) -> Iterator[Run]:
    """The runs of trials, all of them."""
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
    """Bring a trial's run up to date; False if it was."""
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
    there = {
        (m.key, m.step) for key in run.data.metrics for m in client.get_metric_history(name, key)
    }
    metrics = [m for m in _metrics(study, trial, times) if (m.key, m.step) not in there]
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
    client.set_tag(name, LOGGED, mark)  # the last thing: until then the next call goes on
    return True


def _metrics(study: Study, trial: Trial, times: Times) -> Iterator[Metric]:
    step, at = 0, _milliseconds(trial.started_at)
    for step, values in measured(trial, study.metric):
        at = _milliseconds(times.get((trial.number, step), trial.started_at))
        for name, value in values.items():
            yield Metric(_name(name), value, at, step)
    for name, value in zip(metric_names(study), trial.values or (), strict=False):
        yield Metric(f"{FINAL}{_name(name)}", value, _milliseconds(trial.finished_at) or at, step)


def _tags(trial: Trial) -> list[RunTag]:
    known = {
        "state": trial.state,
        "attempt": trial.attempt,
        "worker": trial.worker,
        "cause": trial.cause,
        "message": trial.message,
    }
    tags = [RunTag(f"tuner.{n}", str(value)) for n, value in known.items() if value is not None]
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
    """The text, where URLs may stand in it with a user's password."""
    return re.sub(r"//[^/\s]*@", "//…@", text)


def _name(name: str) -> str:
    """MLflow takes letters, digits, spaces and a few signs."""
    return re.sub(r"[^\w\-. ]", "_", name)[:NAME_LENGTH]


def _milliseconds(at: datetime | None) -> int:
    return 0 if at is None else int(at.timestamp() * 1000)
