"""Experiments: studies of several families on the same data and metric, prepared and compared.

One study per family, all launched at once; workers serve them in turn, like any others. They are
compared on the validation part: only an export reads the test part, for the trial that was chosen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

from tuner import families
from tuner.commands import preparing, reading
from tuner.commands.preparing import PreparedStudy
from tuner.commands.reading import Overview
from tuner.database.engine import Database
from tuner.errors import Issue, SpecError
from tuner.families import registry
from tuner.settings import Settings
from tuner.study_file.load import Source, collect, load_all, loads_all
from tuner.study_file.messages import listed
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import PARAMETERS, Study, Trial, better
from tuner.winner import choice

TOP = 5  # trials whose spread shows how much the best one owes to luck


def prepare(
    database: Database,
    file: Path | str,
    settings: Settings,
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
) -> list[PreparedStudy]:
    """Read and check a study file or its text: one study, or one per family of an experiment.

    Writes as little as `preparing.prepare_study`.
    """
    if isinstance(file, Path):
        experiment, sources = load_all(
            file, overrides, rename=name, parameters=searchable_parameters
        )
    else:
        experiment, sources = loads_all(
            file, overrides, rename=name, parameters=searchable_parameters
        )
    specs = collect(partial(families.resolve, source) for source in sources)
    if experiment is not None:
        _check_objective(sources[0], specs)
    return [
        replace(preparing.prepare_resolved(database, source, spec, settings), experiment=experiment)
        for source, spec in zip(sources, specs, strict=True)
    ]


def searchable_parameters(family: str) -> frozenset[str]:
    """The parameters that a family can search; none if there is no such family."""
    if not registry.exists(family):
        return frozenset()
    card = registry.card(family)
    return frozenset(card.search) | frozenset(card.search_with_vectors)


def _check_objective(source: Source, specs: Sequence[ResolvedSpec]) -> None:
    """SpecError if the families' default metrics differ and the file names none."""
    metrics = {spec.family: listed(spec.objective.metrics) for spec in specs}
    if len(set(metrics.values())) > 1:
        by = ", ".join(f"{family} by {metric}" for family, metric in metrics.items())
        sentence = f"is missing; by itself each family is judged by another one: {by}"
        with source.locating():
            raise SpecError(issues=[Issue(("objective", "metric"), sentence)])


@dataclass(frozen=True, slots=True)
class StudyResult:
    """The result of one study of an experiment so far."""

    overview: Overview
    best: Trial | None
    top: tuple[float, ...]  # values of the best `TOP` complete trials, best first
    seconds: float  # that the latest attempts of all its trials took together

    @property
    def study(self) -> Study:
        """The study."""
        return self.overview.study

    @property
    def spread(self) -> tuple[float, float] | None:
        """Mean and standard deviation of `top`; None if it has fewer than two values."""
        return (fmean(self.top), stdev(self.top)) if len(self.top) > 1 else None

    @property
    def parameters(self) -> float | None:
        """Number of parameters of the best trial's model; None if unknown."""
        count = None if self.best is None else self.best.user_attrs.get(PARAMETERS)
        return float(count) if isinstance(count, int | float) else None


def compare(database: Database, experiment: str) -> list[StudyResult]:
    """Compare the studies of an experiment, best first; none if no experiment has that name."""
    return [result for result, _ in compare_with_trials(database, experiment)]


def compare_with_trials(
    database: Database, experiment: str
) -> list[tuple[StudyResult, list[Trial]]]:
    """Compare the studies of an experiment; returns each with all its trials, best first."""
    results = []
    for study in reading.find_experiment(database, experiment):
        trials = reading.load_trials(database, study)
        overview = reading.load_overview_by_id(database, study.id)
        results.append((summarize(overview, trials), trials))
    return sorted(results, key=lambda pair: _rank_key(pair[0]))


def summarize(overview: Overview, trials: Sequence[Trial]) -> StudyResult:
    """Summarize a study by its trials."""
    direction = overview.study.direction
    values = sorted(
        (trial.value for trial in trials if trial.can_be_best and trial.value is not None),
        reverse=better(direction, 1.0, 0.0),
    )
    seconds = sum(trial.seconds or 0.0 for trial in trials)
    best = choice.select_best(trials, overview.study)
    return StudyResult(overview, best, tuple(values[:TOP]), seconds)


def _rank_key(result: StudyResult) -> float:
    if not result.top:
        return math.inf
    best = result.top[0]
    return -best if better(result.study.direction, 1.0, 0.0) else best
