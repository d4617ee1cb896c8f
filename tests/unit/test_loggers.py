"""Trials in TensorBoard's and MLflow's logs, read with these libraries."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from tests.support import synthetic
from tuner import loggers
from tuner.errors import BadInputError
from tuner.loggers import mlflow, tensorboard
from tuner.trials import Report, Trial, TrialState

STUDY = synthetic.study()
FIRST, *REST = synthetic.trials(5, epochs=3, running=1, fail=False)
TRIALS = [
    replace(
        FIRST,
        params={**FIRST.params, "nested/name": True, "none": None},
        reports=tuple(replace(r, metrics={"loss": 1.0 / r.step}) for r in FIRST.reports),
        user_attrs={"device": "cpu", "threads": 2},
    ),
    *REST,
    Trial(5, TrialState.WAITING, {}),
]
TIMES = {
    (trial.number, report.step): trial.started_at + timedelta(seconds=report.step)
    for trial in TRIALS
    for report in trial.reports
    if trial.started_at is not None
}


def read_files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def hparams(run: EventAccumulator, tag: str) -> bytes:
    content: bytes = run.PluginTagToContent(metadata.PLUGIN_NAME)[tag]
    return content


def test_tensorboard_reads_every_report(tmp_path: Path) -> None:
    root = tensorboard.write(STUDY, TRIALS, TIMES, tmp_path)
    first = read_files(tmp_path)
    assert len(first) == 1 + 5  # nothing of the one that has not begun
    for trial in TRIALS[:5]:
        run = EventAccumulator(str(root / f"trial-{trial.number:05d}")).Reload()
        scalars = [(e.step, e.value, e.wall_time) for e in run.Scalars("accuracy")]
        expected = [
            (r.step, pytest.approx(r.value), TIMES[trial.number, r.step].timestamp())
            for r in trial.reports
        ]
        assert scalars == expected
        started = metadata.parse_session_start_info_plugin_data(
            hparams(run, metadata.SESSION_START_INFO_TAG)
        ).hparams
        assert started["batch_size"].number_value == trial.params["batch_size"]
        assert started["optimizer"].string_value == trial.params["optimizer"]
        if trial.value is not None:
            (final,) = run.Scalars("final/accuracy")
            assert final.value == pytest.approx(trial.value)
    accumulator = EventAccumulator(str(root / "trial-00000")).Reload()
    assert [e.value for e in accumulator.Scalars("loss")] == pytest.approx(
        [1.0, 1 / 2, 1 / 3][: len(FIRST.reports)]
    )
    common = metadata.parse_experiment_plugin_data(
        hparams(EventAccumulator(str(root)).Reload(), metadata.EXPERIMENT_TAG)
    )
    assert {"learning_rate", "nested/name"} <= {info.name for info in common.hparam_infos}
    assert [info.name.tag for info in common.metric_infos] == ["final/accuracy"]
    tensorboard.write(STUDY, TRIALS, TIMES, tmp_path)
    assert read_files(tmp_path) == first


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.mark.slow
def test_mlflow_has_a_run_a_trial_and_nothing_twice(uri: str) -> None:
    last = TRIALS[4]
    assert last.state is TrialState.RUNNING
    assert mlflow.write(STUDY, TRIALS, TIMES, uri) == 5
    # it goes on, and all others are left as they are
    at = len(last.reports) + 1
    ended = replace(
        last,
        state=TrialState.COMPLETE,
        reports=(*last.reports, Report(at, 0.5)),
        values=(0.5,),
        finished_at=synthetic.START + timedelta(hours=1),
    )
    times = {**TIMES, (4, at): synthetic.START + timedelta(minutes=50)}
    trials = [*TRIALS[:4], ended]
    assert mlflow.write(STUDY, trials, times, uri) == 1
    assert mlflow.write(STUDY, trials, times, uri) == 0
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(STUDY.name)
    runs = {
        run.data.tags["tuner.trial"]: run for run in client.search_runs([experiment.experiment_id])
    }
    assert len(runs) == 5
    for trial in trials:
        run = runs[str(trial.number)]
        history: list[Any] = client.get_metric_history(run.info.run_id, "accuracy")
        assert [(m.step, m.value, m.timestamp) for m in history] == [
            (r.step, r.value, int(times[trial.number, r.step].timestamp() * 1000))
            for r in trial.reports
        ]
        assert run.data.tags["tuner.state"] == trial.state
        assert run.info.status == mlflow.STATUS[trial.state]
        assert run.data.params["optimizer"] == trial.params["optimizer"]
        assert run.data.metrics.get("final/accuracy") == trial.value
    first = runs["0"].data
    assert first.params["nested_name"] == "True"
    assert first.params["none"] == "null"
    assert (first.tags["attr.device"], first.tags["attr.threads"]) == ("cpu", "2")
    assert first.tags["tuner.attempt"] == "1"


@pytest.mark.slow
def test_mlflow_has_the_experiment_of_another_study(uri: str) -> None:
    mlflow.write(STUDY, TRIALS[:1], TIMES, uri)
    other = replace(STUDY, created_at=synthetic.START + timedelta(days=1))
    with pytest.raises(BadInputError, match=r"already, for another study"):
        mlflow.write(other, TRIALS, TIMES, uri)


def test_a_folder_where_no_database_can_be() -> None:
    with pytest.raises(BadInputError, match=r"^--mlflow: MLflow says: .*No such file"):
        mlflow.write(STUDY, TRIALS, TIMES, "sqlite:////proc/nowhere/mlflow.db")


def test_mlflow_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(
        BadInputError, match=r"^--mlflow: MLflow says: .*127\.0\.0\.1.*\Z"
    ) as raised:
        mlflow.write(STUDY, TRIALS, TIMES, "http://ada:s3@cr3t@127.0.0.1:9")
    assert "cr3t" not in str(raised.value)


def test_without_the_extra_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda _: None)
    with pytest.raises(BadInputError, match=r"pip install 'tuner\[mlflow\]'"):
        loggers.check_installed("--mlflow", "mlflow", "mlflow")
