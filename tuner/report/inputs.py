"""The inputs of a report, read from the database once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tuner.commands import experiments, reading
from tuner.commands.experiments import StudyResult
from tuner.database.engine import Database
from tuner.export import all_params, yaml_text
from tuner.search.importances import baselines, importances, shares
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Attempt, Study, Trial
from tuner.winner import choice, confirmations


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """A study and everything that its report uses."""

    study: Study
    trials: Sequence[Trial]
    best: Trial | None = None  # the winner: by its value, or by a confirmation
    best_yaml: str | None = None  # its configuration
    importances: Mapping[str, float] | None = None  # parameter → share of the variation
    baselines: Mapping[str, float] | None = None  # parameter → what luck alone would explain
    log_params: Collection[str] = frozenset()
    space: Mapping[str, str] = field(default_factory=dict)  # parameter → its range in words
    attempts: Sequence[Attempt] = ()
    confirmation: Mapping[str, Any] | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))


def load_study(
    database: Database, study: Study, trials: Sequence[Trial] | None = None
) -> ReportInputs:
    """Load the inputs for a study; pass `trials` if they are loaded already."""
    if trials is None:
        trials = reading.load_trials(database, study)
    spec = None if study.spec is None else ResolvedSpec.from_json(study.spec)
    best = choice.select_winner(trials, study)
    effects = importances(database, study)
    return ReportInputs(
        study,
        trials,
        best=best,
        best_yaml=None if best is None else yaml_text(all_params(study, best)),
        importances=shares(effects),
        baselines=baselines(effects),
        log_params=spec.space.log_parameters if spec else frozenset(),
        space=spec.space.describe() if spec else {},
        attempts=reading.load_attempts(database, study),
        confirmation=confirmations.read(study),
    )


def load_experiment(database: Database, name: str) -> list[tuple[StudyResult, ReportInputs]]:
    """Load the inputs for each study of an experiment, best first; empty if there is none."""
    return [
        (result, load_study(database, result.study, trials))
        for result, trials in experiments.compare_with_trials(database, name)
    ]
