"""One study's trials as Optuna sees them, kept up to date by reading only what changed.

What follows from all trials (which configurations were tried, which are the best, when the study
ends) is kept by watchers, who are told of each change: nothing here or there looks at the whole
history again. Optuna's records are made when somebody asks for them: a random search never does.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial
from sqlalchemy import Connection

from tuner.database import columns
from tuner.database.columns import Columns, Reports
from tuner.database.feed import Feed, TrialRow
from tuner.search import distributions as convert
from tuner.search.garbage import no_collection
from tuner.search.record import Record, Space, many

_NO_REPORTS = Reports(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


class Watcher(Protocol):
    """Whoever keeps something that follows from all trials."""

    def load(self, finished: Columns, space: Space) -> None:
        """Take note of many finished trials, before anything else is noted."""

    def note(self, record: Record) -> None:
        """Take note of a trial that is new or has changed; it may be the same as before."""


class History:
    """All trials of a study by number; records are replaced, never changed in place."""

    def __init__(
        self, study_id: int, *, with_attributes: bool = False, with_reports: bool = True
    ) -> None:
        """What a reader does not need costs a fresh one time: attributes and reports."""
        self.study_id = study_id
        self.reports = _NO_REPORTS  # of the trials in columns
        self._feed = Feed(study_id, metrics=False)
        self._with_attributes = with_attributes
        self._with_reports = with_reports
        self._begun = False
        self._columns: list[tuple[Columns, Space]] = []
        self._records: dict[int, Record] = {}  # what is not in columns, or was read since
        self._spaces: dict[tuple[tuple[str, BaseDistribution], ...], Space] = {}
        self._by_id: dict[int | None, Space] = {None: {}}
        self._next = 0
        self._watchers: list[Watcher] = []
        self._all: dict[int, FrozenTrial] | None = None

    def watch(self, watcher: Watcher) -> None:
        """Tell `watcher` of all trials that are known and of each change to come."""
        for finished, space in self._columns:
            watcher.load(finished, space)
        for record in self._records.values():
            watcher.note(record)
        self._watchers.append(watcher)

    # Reading

    def refresh(self, connection: Connection) -> None:
        """Read what changed."""
        if not self._begun:
            self._begin(connection)
        self._absorb(self._feed.poll(connection))

    def after(self, connection: Connection, write: str, arguments: Mapping[str, Any]) -> bool:
        """Write and read what changed in one round trip; whether the write hit a row."""
        if not self._begun:
            self._begin(connection)
        written, rows = self._feed.poll_after(connection, write, arguments)
        self._absorb(rows)
        return written

    def _begin(self, connection: Connection) -> None:
        snapshot, found = columns.finished(
            connection, self.study_id, with_attributes=self._with_attributes
        )
        self._feed.learn_spaces(connection, {finished.space_id for finished in found})
        if self._with_reports and found:
            self.reports = columns.reports(connection, self.study_id)
        self._feed.begin(snapshot)
        self._begun = True
        self._all = None
        for finished in found:
            space = self._space(finished.space_id)
            self._columns.append((finished, space))
            self._next = max(self._next, int(finished.numbers[-1]) + 1)
            for watcher in self._watchers:
                watcher.load(finished, space)

    def _absorb(self, rows: Iterable[TrialRow]) -> None:
        for row in rows:
            known = self._records.get(row.number)
            if known is None or known.row is not row:  # a running trial without news is the same
                self._note(Record(row, self._space(row.space_id)))

    def put(self, trial: FrozenTrial) -> None:
        """Take over a trial that is not stored."""
        self._note(Record.of(trial, self._interned(trial.distributions)))

    def add(self, row: TrialRow, space: Space) -> None:
        """Take over a trial that this process wrote itself, before it is read back."""
        self._note(Record(row, self._interned(space)))

    def _note(self, record: Record) -> None:
        number = record.number
        self._records[number] = record
        self._next = max(self._next, number + 1)
        if self._all is not None:
            if number in self._all or number == len(self._all):
                self._all[number] = record.frozen
            else:  # out of order
                self._all = None
        for watcher in self._watchers:
            watcher.note(record)

    # What is known

    @property
    def next_number(self) -> int:
        """The number that the next trial will get if nobody else claims before."""
        return self._next

    def record(self, number: int) -> Record | None:
        """The record of a trial that was added or read since the columns."""
        return self._records.get(number)

    def get(self, number: int) -> FrozenTrial | None:
        """The trial of that number, if it is known."""
        found = self.select([number])
        return found[0] if found else None

    def select(self, numbers: Sequence[int]) -> list[FrozenTrial]:
        """The trials of these numbers, without those that are not known."""
        missing = [number for number in numbers if number not in self._records]
        for finished, space in self._columns if missing else ():
            rows = np.flatnonzero(np.isin(finished.numbers, missing)).tolist()
            for trial in many(finished, space, self.reports, rows):
                # made once, however often a sampler reads it
                self._records[trial.number] = Record.of(trial, space)
        return [self._records[n].frozen for n in numbers if n in self._records]

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """All trials by number."""
        if self._all is None:
            made: dict[int, FrozenTrial] = {}
            with no_collection():
                for finished, space in self._columns:
                    made.update((t.number, t) for t in many(finished, space, self.reports))
            made.update((number, record.frozen) for number, record in self._records.items())
            self._all = {number: made[number] for number in sorted(made)}
        return list(self._all.values())

    def _space(self, space_id: int | None) -> Space:
        if space_id not in self._by_id:
            assert space_id is not None
            self._by_id[space_id] = self._interned(convert.from_json(self._feed.spaces[space_id]))
        return self._by_id[space_id]

    def _interned(self, space: Mapping[str, BaseDistribution]) -> Space:
        """One object for equal spaces: watchers tell them apart by identity."""
        return self._spaces.setdefault(tuple(space.items()), dict(space))
