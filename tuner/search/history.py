"""One study's trials as Optuna sees them, kept up to date by reading only what changed."""

from collections.abc import Mapping

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial
from sqlalchemy import Connection

from tuner.database.feed import Feed, TrialRow
from tuner.search.distributions import from_json, frozen


class History:
    """All trials of a study by number; objects are replaced, never changed in place."""

    def __init__(self, study_id: int) -> None:
        self.study_id = study_id
        self._feed = Feed(study_id, metrics=False)
        self._distributions: dict[int, dict[str, BaseDistribution]] = {}
        self._trials: dict[int, FrozenTrial] = {}
        self._ordered: list[FrozenTrial] | None = []

    def refresh(self, connection: Connection) -> list[FrozenTrial]:
        """Read what changed; returns the trials that changed and those that run."""
        rows = self._feed.poll(connection)
        changed = [frozen(row, self._space(row)) for row in rows]
        for trial in changed:
            self._trials[trial.number] = trial
        if changed:
            self._ordered = None
        return changed

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials by number; the list is not to be changed."""
        if self._ordered is None:
            self._ordered = [self._trials[number] for number in sorted(self._trials)]
        return self._ordered

    @property
    def next_number(self) -> int:
        """The number that the next trial will get if nobody else claims before."""
        return max(self._trials, default=-1) + 1

    def get(self, number: int) -> FrozenTrial | None:
        """The trial of that number, if it is known."""
        return self._trials.get(number)

    def put(self, trial: FrozenTrial) -> None:
        """Take over a trial that this process wrote itself, before it is read back."""
        self._trials[trial.number] = trial
        self._ordered = None

    def distributions(self, space_id: int) -> Mapping[str, BaseDistribution]:
        """The distributions of a space that some trial of this history has."""
        return self._parsed(space_id)

    def _space(self, row: TrialRow) -> Mapping[str, BaseDistribution]:
        return {} if row.space_id is None else self._parsed(row.space_id)

    def _parsed(self, space_id: int) -> dict[str, BaseDistribution]:
        if space_id not in self._distributions:
            self._distributions[space_id] = from_json(self._feed.spaces[space_id])
        return self._distributions[space_id]
