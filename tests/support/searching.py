"""A worker's search on a study with two parameters, without executors."""

import uuid
from typing import Any

from tuner.database import studies
from tuner.database.engine import Database
from tuner.families import resolve
from tuner.search.claim import ClaimedTrial, Search
from tuner.search.class_search import make_search
from tuner.study_file.load import loads
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Report, TrialState

LEASE = 3_600.0  # seconds; longer than any test


def spec(name: str = "search", more: str = "", trials: int = 1_000) -> ResolvedSpec:
    """A study file's meaning; `more` are further lines of it."""
    return resolve(
        loads(f"name: {name}\nfamily: cnn\ndata: digits\nbudget: {{trials: {trials}}}\n{more}")
    )


def launch(database: Database, of: ResolvedSpec) -> int:
    """Make the study's row; returns its id."""
    with database.transaction() as connection:
        return studies.create(
            connection,
            of.name,
            of.objective.directions,
            metrics=of.objective.metrics,
            family=of.family,
            spec=of.as_json(),
            limits=of.limits,
        )


def search(database: Database, study_id: int, of: ResolvedSpec) -> Search:
    """What a worker makes of an active study."""
    with database.statement() as connection:
        return make_search(database, studies.by_id(connection, study_id), of)


class Trainer:
    """Claims, reports and finishes as the worker's loop does."""

    def __init__(self, database: Database, of: Search) -> None:
        self.id = uuid.uuid4()
        self.search = of
        self._database = database

    def claim(self) -> ClaimedTrial | None:
        return self.search.claim(self.id, LEASE)

    def report(self, trial: ClaimedTrial, step: int, value: float, **metrics: float) -> bool:
        """Whether the trial is to be pruned."""
        report = Report(step, value, metrics)
        pruned = self.search.should_prune(trial, report)
        with self._database.statement() as connection:
            self.search.report(connection, trial, [report], lease=LEASE)
        return pruned

    def finish(
        self, trial: ClaimedTrial, state: TrialState = TrialState.COMPLETE, **result: Any
    ) -> None:
        result.setdefault("values", [0.5] if state is TrialState.COMPLETE else None)
        with self._database.statement() as connection:
            self.search.finish(connection, trial, state, **result)
