"""The figures of one study, in the order in which lists name them.

An entry here is all that makes a figure appear: the Python API and the REST API serve it by its
name, the dashboard's Analyse tab shows it, and so does the report if it names a section.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tuner.figures import (
    burndown,
    captions,
    contour,
    curves,
    edf,
    heat,
    history,
    hypervolume,
    importance,
    pairs,
    parallel,
    pareto,
    rank,
    slices,
    timeline,
    values,
)
from tuner.figures.figure import Figure, Sample
from tuner.trials import TrialState

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.PAUSED)


def _importance(sample: Sample) -> importance.Info:
    return importance.info(
        sample.importances,
        sample.baselines,
        metric=sample.study.metric,
        ended=sum(trial.state in ENDED for trial in sample.trials),
    )


def _burndown(sample: Sample) -> burndown.Info:
    moments = [trial.finished_at for trial in sample.trials if trial.finished_at is not None]
    return burndown.info(moments, sample.study)


def _parallel(sample: Sample) -> parallel.Info:
    return parallel.info(
        sample.trials,
        sample.study,
        log_params=sample.log_params,
        importances=sample.importances,
    )


def _slices(sample: Sample) -> slices.Info:
    return slices.info(
        sample.trials,
        sample.study,
        log_params=sample.log_params,
        importances=sample.importances,
    )


def _pairs(sample: Sample) -> pairs.Info:
    return pairs.info(
        sample.trials,
        sample.study,
        log_params=sample.log_params,
        importances=sample.importances,
    )


def _edf(sample: Sample) -> edf.Info:
    reached = [value for _, value in values.complete(sample.trials)]
    return edf.info({sample.study.name: reached}, sample.study)


_ALL: tuple[Figure[Any], ...] = (
    Figure(
        "history",
        "History",
        history,
        lambda sample: history.info(sample.trials, sample.study),
        captions.of_history,
        section="progress",
    ),
    Figure(
        "curves",
        "Learning curves",
        curves,
        lambda sample: curves.info(sample.trials, sample.study),
        captions.of_curves,
        section="progress",
        by_reports=True,
    ),
    Figure(
        "importance",
        "Importance",
        importance,
        _importance,
        captions.of_importance,
        section="importance",
        by_importance=True,
    ),
    Figure("burndown", "Budget", burndown, _burndown, captions.of_burndown),
    Figure(
        "parallel",
        "Parallel coordinates",
        parallel,
        _parallel,
        captions.of_parallel,
        section="parameters",
        by_importance=True,
        min_width=parallel.min_width,
    ),
    Figure(
        "slices",
        "Slices",
        slices,
        _slices,
        captions.of_slices,
        section="parameters",
        by_importance=True,
    ),
    Figure("rank", "Rank", rank, _pairs, captions.of_rank, by_importance=True),
    Figure("contour", "Contour", contour, _pairs, captions.of_contour, by_importance=True),
    Figure("heat", "Heat map", heat, _pairs, captions.of_heat, by_importance=True),
    Figure("edf", "Distribution", edf, _edf, captions.of_edf),
    Figure(
        "pareto",
        "Pareto front",
        pareto,
        lambda sample: pareto.info(sample.trials, sample.study),
        captions.of_pareto,
    ),
    Figure(
        "hypervolume",
        "Hypervolume",
        hypervolume,
        lambda sample: hypervolume.info(sample.trials, sample.study),
        captions.of_hypervolume,
    ),
    Figure(
        "timeline",
        "Timeline",
        timeline,
        lambda sample: timeline.info(sample.trials, sample.now),
        captions.of_timeline,
    ),
)

FIGURES: Mapping[str, Figure[Any]] = MappingProxyType({figure.name: figure for figure in _ALL})
