"""One study's trials as Optuna sees them, kept up to date by reading only what changed.

What follows from all trials (which configurations were tried, which are best, when the study ends)
is kept by watchers, which are told of each change, so nothing scans the whole history again. Ended
trials are kept in columns, as they are read. Optuna's records are created on demand: a random
search never needs any.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial
from sqlalchemy import Connection

from tuner.database.readers.changes import Batch, Changes
from tuner.database.readers.columns import Columns, Reports
from tuner.database.readers.feed import Snapshot, TrialRow
from tuner.search import distributions as convert
from tuner.search.garbage import no_collection
from tuner.search.record import Record, Space, many, open_rows
from tuner.trials import TrialState


class Watcher(Protocol):
    """Keeps something that follows from all trials."""

    def load(self, finished: Columns, space: Space, reports: Reports) -> None:
        """Take note of trials that have ended or paused, with their reports; some may be known."""

    def note(self, record: Record) -> None:
        """Take note of a trial that is new or has changed; it may be the same as before."""


class History:
    """All trials of a study by number; what is known of one is replaced, never changed in place."""

    def __init__(
        self,
        study_id: int,
        *,
        with_attributes: bool = False,
        with_reports: bool = True,
        metrics: Sequence[str] = (),
    ) -> None:
        """What a reader does not need costs time: attributes, reports and their `metrics`."""
        self.study_id = study_id
        self._changes = Changes(
            study_id, with_attributes=with_attributes, with_reports=with_reports, metrics=metrics
        )
        # of trials that have ended or are paused
        self._batches: list[tuple[Columns, Space, Reports]] = []
        self._place: dict[int, int] = {}  # number → the last batch that it is in
        self._records: dict[int, Record] = {}  # of open trials, and what this process wrote itself
        self._frozen_trials: dict[int, FrozenTrial] = {}  # of trials in batches
        self._spaces: dict[tuple[tuple[str, BaseDistribution], ...], Space] = {}
        self._by_id: dict[int | None, Space] = {None: {}}
        self._next = 0
        self._watchers: list[Watcher] = []
        self._all: dict[int, FrozenTrial] | None = None

    def watch(self, watcher: Watcher) -> None:
        """Tell `watcher` about all known trials and each change to come."""
        for batch in self._batches:
            watcher.load(*batch)
        for record in self._records.values():
            watcher.note(record)
        self._watchers.append(watcher)

    # Reading

    def refresh(self, connection: Connection) -> None:
        """Read what changed."""
        self._absorb(self._changes.poll(connection))

    def after(self, connection: Connection, write: str, arguments: Mapping[str, Any]) -> bool:
        """Write, and read what changed, in one round trip; return whether the write hit a row."""
        hit, batches = self._changes.poll_after(connection, write, arguments)
        self._absorb(batches)
        return hit

    def _absorb(self, batches: Sequence[Batch]) -> None:
        changed: list[int] = []
        for batch in batches:
            space = self._space(batch.trials.space_id)
            if not TrialState(batch.trials.state).is_open:
                self._load(batch.trials, space, batch.reports)
            else:
                for row in open_rows(batch, self._row):
                    self._note(Record(row, space))
            changed += batch.trials.numbers.tolist()
        self._renew(changed)

    def _row(self, number: int) -> TrialRow:
        return self._records[number].row

    def _load(self, finished: Columns, space: Space, reports: Reports) -> None:
        numbers = finished.numbers.tolist()
        self._place.update(dict.fromkeys(numbers, len(self._batches)))
        self._batches.append((finished, space, reports))
        self._next = max(self._next, numbers[-1] + 1)
        if self._records or self._frozen_trials:
            for number in numbers:
                self._records.pop(number, None)
                self._frozen_trials.pop(number, None)
        for watcher in self._watchers:
            watcher.load(finished, space, reports)

    def put(self, trial: FrozenTrial) -> None:
        """Take over a trial that is not stored."""
        self._note(Record.of(trial, self._interned(trial.distributions)))
        self._renew([trial.number])

    def add(self, row: TrialRow, space: Space) -> None:
        """Take over a trial that this process wrote itself, before it is read back."""
        self._note(Record(row, self._interned(space)))
        self._renew([row.number])

    def _note(self, record: Record) -> None:
        self._records[record.number] = record
        self._next = max(self._next, record.number + 1)
        for watcher in self._watchers:
            watcher.note(record)

    def _renew(self, changed: Sequence[int]) -> None:
        """Update the list of all trials with those that changed, if it exists."""
        if self._all is None:
            return
        for number, trial in zip(numbers := sorted(changed), self.select(numbers), strict=True):
            if number not in self._all and number != len(self._all):  # out of order
                self._all = None
                return
            self._all[number] = trial

    # What is known

    @property
    def snapshot(self) -> Snapshot | None:
        """What the latest reading has seen; None before the first."""
        return self._changes.snapshot

    def attempt(self, number: int) -> int:
        """Return the latest known attempt at a known trial."""
        record = self._records.get(number)
        if record is not None:
            return record.row.attempt
        finished = self._batches[self._place[number]][0]
        return int(finished.attempts[np.searchsorted(finished.numbers, number)])

    @property
    def next_number(self) -> int:
        """The number of the next trial, unless another worker claims first."""
        return self._next

    @property
    def spaces(self) -> list[Space]:
        """The distributions of the stored trials, those that were stored first first."""
        return [self._by_id[id_] for id_ in sorted(id_ for id_ in self._by_id if id_ is not None)]

    def record(self, number: int) -> Record | None:
        """Return the record of an open trial, or of one that was added and not read since."""
        return self._records.get(number)

    def get(self, number: int) -> FrozenTrial | None:
        """Return the trial of that number, if it is known."""
        trials = self.select([number])
        return trials[0] if trials else None

    def ended(self) -> list[int]:
        """Return the numbers of complete, pruned and paused trials that were read."""
        return sorted(
            number
            for place, (finished, _, _) in enumerate(self._batches)
            if finished.state != TrialState.FAILED
            for number in finished.numbers.tolist()
            if self._place[number] == place
        )

    def select(self, numbers: Sequence[int]) -> list[FrozenTrial]:
        """Return the known ones of these trials."""
        missing: dict[int, list[int]] = {}
        for number in numbers:
            if number not in self._records and number not in self._frozen_trials:
                place = self._place.get(number)
                if place is not None:
                    missing.setdefault(place, []).append(number)
        for place, place_numbers in missing.items():
            finished, space, reports = self._batches[place]
            rows = finished.numbers.searchsorted(place_numbers).tolist()
            # created once, however often a sampler reads it
            self._frozen_trials.update(
                zip(place_numbers, many(finished, space, reports, rows), strict=True)
            )
        trials = []
        for number in numbers:
            if (record := self._records.get(number)) is not None:
                trials.append(record.frozen)
            elif (trial := self._frozen_trials.get(number)) is not None:
                trials.append(trial)
        return trials

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """All trials by number."""
        if self._all is None:
            by_number: dict[int, FrozenTrial] = {}
            with no_collection():
                for batch in self._batches:
                    by_number.update((trial.number, trial) for trial in many(*batch))
            by_number.update(self._frozen_trials)
            by_number.update((number, record.frozen) for number, record in self._records.items())
            self._all = {number: by_number[number] for number in sorted(by_number)}
        return list(self._all.values())

    def _space(self, space_id: int | None) -> Space:
        if space_id not in self._by_id:
            assert space_id is not None
            self._by_id[space_id] = self._interned(
                convert.from_json(self._changes.spaces[space_id])
            )
        return self._by_id[space_id]

    def _interned(self, space: Mapping[str, BaseDistribution]) -> Space:
        """Return one object for equal spaces: watchers compare them by identity."""
        return self._spaces.setdefault(tuple(space.items()), dict(space))
