"""A study as TensorBoard's event files: one run per trial, and one for what they share.

    FOLDER/STUDY/events…               the parameters and metrics, for the hparams plugin
    FOLDER/STUDY/trial-00017/events…   its parameters, every report by step and time, its values

Each file appears whole and has a name that does not change, so writing again replaces it; nothing
else in the folder is touched.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import (
    DATA_TYPE_BOOL,
    DATA_TYPE_FLOAT64,
    DATA_TYPE_STRING,
    STATUS_FAILURE,
    STATUS_RUNNING,
    STATUS_SUCCESS,
    STATUS_UNKNOWN,
    Experiment,
    HParamInfo,
    MetricInfo,
    MetricName,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboard.summary.writer.record_writer import RecordWriter

from tuner import files
from tuner.loggers import FINAL, Times, as_text, metrics_by_step, select_started
from tuner.trial_tables import metric_names
from tuner.trials import ParamValue, Study, Trial, TrialState

FORMAT = "brain.Event:2"  # of event files; stands in their first event
STATUS = {
    TrialState.WAITING: STATUS_UNKNOWN,
    TrialState.RUNNING: STATUS_RUNNING,
    TrialState.COMPLETE: STATUS_SUCCESS,
    TrialState.PRUNED: STATUS_SUCCESS,
    TrialState.FAILED: STATUS_FAILURE,
    TrialState.PAUSED: STATUS_UNKNOWN,
}
Kinds = Mapping[str, int]  # parameter → DATA_TYPE_…


def write(study: Study, trials: Sequence[Trial], times: Times, folder: Path) -> Path:
    """Write the files; returns the study's folder. BadInputError if they cannot be written."""
    root = folder / files.safe_name(study.name)
    logged = select_started(trials)
    kinds = _kinds(logged)
    created = _seconds(study.created_at)
    files.write(
        root / _name(created), _records(created, [(created, 0, _describe_experiment(study, kinds))])
    )
    for trial in logged:
        started = _seconds(trial.started_at or trial.created_at)
        content = _records(started, _events(study, trial, times, kinds, started))
        files.write(root / f"trial-{trial.number:05d}" / _name(_seconds(trial.created_at)), content)
    return root


_Timed = tuple[float, int, Summary]  # seconds since 1970, step


def _events(
    study: Study, trial: Trial, times: Times, kinds: Kinds, started: float
) -> Iterable[_Timed]:
    yield started, 0, _session_start(trial, kinds, started)
    step, at = 0, started
    for step, values in metrics_by_step(trial, study.metric):
        at = _seconds(times.get((trial.number, step), trial.started_at))
        yield at, step, _scalars(values)
    if trial.finished_at is not None:
        at = _seconds(trial.finished_at)
    if trial.values is not None:
        names = [f"{FINAL}{name}" for name in metric_names(study)]
        yield at, step, _scalars(dict(zip(names, trial.values, strict=False)))
    end = SessionEndInfo(status=STATUS[trial.state], end_time_secs=at)
    yield at, step, _plugin(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end))


def _describe_experiment(study: Study, kinds: Kinds) -> Summary:
    experiment = Experiment(
        name=study.name,
        time_created_secs=_seconds(study.created_at),
        hparam_infos=[HParamInfo(name=name, type=kind) for name, kind in kinds.items()],
        metric_infos=[
            MetricInfo(name=MetricName(tag=f"{FINAL}{name}"), display_name=name)
            for name in metric_names(study)
        ],
    )
    return _plugin(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment))


def _session_start(trial: Trial, kinds: Kinds, started: float) -> Summary:
    info = SessionStartInfo(group_name=f"trial {trial.number}", start_time_secs=started)
    for name, value in trial.params.items():
        if kinds[name] == DATA_TYPE_BOOL:
            info.hparams[name].bool_value = value
        elif kinds[name] == DATA_TYPE_FLOAT64:
            info.hparams[name].number_value = value
        else:
            info.hparams[name].string_value = as_text(value)
    return _plugin(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=info))


def _kinds(trials: Sequence[Trial]) -> Kinds:
    """The type of each parameter; text if its values have several types."""
    types_by_name: dict[str, set[type[ParamValue]]] = {}
    for trial in trials:
        for name, value in trial.params.items():
            types_by_name.setdefault(name, set()).add(type(value))
    return {
        name: DATA_TYPE_BOOL
        if types == {bool}
        else DATA_TYPE_FLOAT64
        if types <= {int, float}
        else DATA_TYPE_STRING
        for name, types in types_by_name.items()
    }


def _scalars(values: Mapping[str, float]) -> Summary:
    return Summary(value=[Summary.Value(tag=n, simple_value=v) for n, v in values.items()])


def _plugin(tag: str, data: HParamsPluginData) -> Summary:
    summary = metadata.create_summary_metadata(data)
    return Summary(value=[Summary.Value(tag=tag, metadata=summary, tensor=metadata.NULL_TENSOR)])


def _records(started: float, events: Iterable[_Timed]) -> bytes:
    """The content of an event file."""
    content = io.BytesIO()
    writer = RecordWriter(content)
    writer.write(Event(wall_time=started, file_version=FORMAT).SerializeToString())
    for at, step, summary in events:
        writer.write(Event(wall_time=at, step=step, summary=summary).SerializeToString())
    return content.getvalue()


def _name(created: float) -> str:
    """A name with `tfevents`, by which TensorBoard finds files; it reads them in order of names."""
    return f"events.out.tfevents.{int(created):010d}.tuner"


def _seconds(at: datetime | None) -> float:
    return 0.0 if at is None else at.timestamp()
