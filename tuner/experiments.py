"""Experiments: studies of several families on the same data and metric, prepared and compared.

A study of each is launched at once; workers serve them in turn, as any others. What is compared is
the validation part: the test part is read by the export alone, of the one that is chosen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

from tuner import commands, families
from tuner.commands import Overview, Prepared
from tuner.database.engine import Database
from tuner.errors import Issue, SpecError
from tuner.families import registry
from tuner.settings import Settings
from tuner.study_file.load import Source, load_all, loads_all, together
from tuner.study_file.messages import listed
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import PARAMETERS, Study, Trial, better

TOP = 5  # trials whose spread tells how much the best one owes to luck


def prepare(
    database: Database,
    file: Path | str,
    settings: Settings,
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
) -> list[Prepared]:
    """Read and check a study file, given by its path or as text: of an experiment a study a family.

    Else the one that it is. Writes as little as `commands.prepare_study`.
    """
    if isinstance(file, Path):
        experiment, sources = load_all(file, overrides, rename=name, parameters=searched)
    else:
        experiment, sources = loads_all(file, overrides, rename=name, parameters=searched)
    specs = together(partial(families.confirm, source) for source in sources)
    if experiment is not None:
        _check_objective(sources[0], specs)
    return [
        replace(commands.prepare_source(database, source, settings), experiment=experiment)
        for source in sources
    ]


def searched(family: str) -> frozenset[str]:
    """What a family can search; nothing where there is none of that name."""
    if family not in registry.NAMES:
        return frozenset()
    card = registry.card(family)
    return frozenset(card.search) | frozenset(card.search_with_vectors)


def _check_objective(source: Source, specs: Sequence[ResolvedSpec]) -> None:
    """SpecError if what the families are judged by differs, where the file leaves it to them."""
    metrics = {spec.family: listed(spec.objective.metrics) for spec in specs}
    if len(set(metrics.values())) > 1:
        by = ", ".join(f"{family} by {metric}" for family, metric in metrics.items())
        sentence = f"is missing; by itself each family is judged by another one: {by}"
        with source.locating():
            raise SpecError(issues=[Issue(("objective", "metric"), sentence)])


@dataclass(frozen=True, slots=True)
class Compared:
    """How one study of an experiment stands."""

    overview: Overview
    best: Trial | None
    top: tuple[float, ...]  # values of the best `TOP` complete trials, the best first
    seconds: float  # that its trials have taken together, of each the latest attempt

    @property
    def study(self) -> Study:
        """The study."""
        return self.overview.study

    @property
    def spread(self) -> tuple[float, float] | None:
        """Mean and standard deviation of `top`; None where there are fewer than two."""
        return (fmean(self.top), stdev(self.top)) if len(self.top) > 1 else None

    @property
    def parameters(self) -> float | None:
        """Numbers that the best trial's model holds; None where that is not known."""
        found = None if self.best is None else self.best.user_attrs.get(PARAMETERS)
        return float(found) if isinstance(found, int | float) else None


def compare(database: Database, experiment: str) -> list[Compared]:
    """The studies of an experiment, the best first; none where there is none of that name."""
    return [one for one, _ in with_trials(database, experiment)]


def with_trials(database: Database, experiment: str) -> list[tuple[Compared, list[Trial]]]:
    """The same with all trials of each."""
    found = []
    for study in commands.of_experiment(database, experiment):
        trials = commands.load_trials(database, study)
        found.append((compared(commands.overview_of(database, study.id), trials), trials))
    return sorted(found, key=lambda pair: _order(pair[0]))


def compared(overview: Overview, trials: Sequence[Trial]) -> Compared:
    """A study by its trials."""
    direction = overview.study.direction
    values = sorted(
        (trial.value for trial in trials if trial.can_be_best and trial.value is not None),
        reverse=better(direction, 1.0, 0.0),
    )
    seconds = sum(trial.seconds or 0.0 for trial in trials)
    best = commands.best_of(trials, overview.study)
    return Compared(overview, best, tuple(values[:TOP]), seconds)


def _order(one: Compared) -> float:
    if not one.top:
        return math.inf
    return -one.top[0] if better(one.study.direction, 1.0, 0.0) else one.top[0]
