"""One study's trials as Optuna sees them, kept up to date by reading only what changed.

What follows from all trials (which configurations were tried, which are the best, when the study
ends) is kept by watchers, who are told of each change: nothing here or there looks at the whole
history again. Trials that have ended are kept in columns, as they are read. Optuna's records are
made when somebody asks for them: a random search never does.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial
from sqlalchemy import Connection

from tuner.database.readers.changes import Batch, Changes
from tuner.database.readers.columns import Columns, Reports
from tuner.database.readers.feed import TrialRow
from tuner.search import distributions as convert
from tuner.search.garbage import no_collection
from tuner.search.record import Record, Space, many, open_rows
from tuner.trials import TrialState


class Watcher(Protocol):
    """Whoever keeps something that follows from all trials."""

    def load(self, finished: Columns, space: Space, reports: Reports) -> None:
        """Take note of trials that have ended, with their reports; some may be known already."""

    def note(self, record: Record) -> None:
        """Take note of a trial that is new or has changed; it may be the same as before."""


class History:
    """All trials of a study by number; what is known of one is replaced, never changed in place."""

    def __init__(
        self, study_id: int, *, with_attributes: bool = False, with_reports: bool = True
    ) -> None:
        """What a reader does not need costs time: attributes and reports."""
        self.study_id = study_id
        self._changes = Changes(
            study_id, with_attributes=with_attributes, with_reports=with_reports
        )
        self._batches: list[tuple[Columns, Space, Reports]] = []  # of trials that have ended
        self._place: dict[int, int] = {}  # number → the last batch that it is in
        self._records: dict[int, Record] = {}  # of open trials, and what this process wrote itself
        self._made: dict[int, FrozenTrial] = {}  # of trials in batches
        self._spaces: dict[tuple[tuple[str, BaseDistribution], ...], Space] = {}
        self._by_id: dict[int | None, Space] = {None: {}}
        self._next = 0
        self._watchers: list[Watcher] = []
        self._all: dict[int, FrozenTrial] | None = None

    def watch(self, watcher: Watcher) -> None:
        """Tell `watcher` of all trials that are known and of each change to come."""
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
        """Write and read what changed in one round trip; whether the write hit a row."""
        written, batches = self._changes.poll_after(connection, write, arguments)
        self._absorb(batches)
        return written

    def _absorb(self, batches: Sequence[Batch]) -> None:
        changed: list[int] = []
        for batch in batches:
            space = self._space(batch.trials.space_id)
            if TrialState(batch.trials.state).is_finished:
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
        if self._records or self._made:
            for number in numbers:
                self._records.pop(number, None)
                self._made.pop(number, None)
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
        """Put the trials that have changed among all of them, if somebody has asked for all."""
        if self._all is None:
            return
        for number, trial in zip(numbers := sorted(changed), self.select(numbers), strict=True):
            if number not in self._all and number != len(self._all):  # out of order
                self._all = None
                return
            self._all[number] = trial

    # What is known

    @property
    def next_number(self) -> int:
        """The number that the next trial will get if nobody else claims before."""
        return self._next

    def record(self, number: int) -> Record | None:
        """The record of an open trial, or of one that was added and not read since."""
        return self._records.get(number)

    def get(self, number: int) -> FrozenTrial | None:
        """The trial of that number, if it is known."""
        found = self.select([number])
        return found[0] if found else None

    def ended(self) -> list[int]:
        """The numbers of the trials that are complete or pruned and were read."""
        return sorted(
            number
            for place, (finished, _, _) in enumerate(self._batches)
            if finished.state in (TrialState.COMPLETE, TrialState.PRUNED)
            for number in finished.numbers.tolist()
            if self._place[number] == place
        )

    def select(self, numbers: Sequence[int]) -> list[FrozenTrial]:
        """The trials of these numbers, without those that are not known."""
        missing: dict[int, list[int]] = {}
        for number in numbers:
            if number not in self._records and number not in self._made:
                place = self._place.get(number)
                if place is not None:
                    missing.setdefault(place, []).append(number)
        for place, wanted in missing.items():
            finished, space, reports = self._batches[place]
            rows = finished.numbers.searchsorted(wanted).tolist()
            # made once, however often a sampler reads it
            self._made.update(zip(wanted, many(finished, space, reports, rows), strict=True))
        found = []
        for number in numbers:
            if (record := self._records.get(number)) is not None:
                found.append(record.frozen)
            elif (trial := self._made.get(number)) is not None:
                found.append(trial)
        return found

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """All trials by number."""
        if self._all is None:
            made: dict[int, FrozenTrial] = {}
            with no_collection():
                for batch in self._batches:
                    made.update((trial.number, trial) for trial in many(*batch))
            made.update(self._made)
            made.update((number, record.frozen) for number, record in self._records.items())
            self._all = {number: made[number] for number in sorted(made)}
        return list(self._all.values())

    def _space(self, space_id: int | None) -> Space:
        if space_id not in self._by_id:
            assert space_id is not None
            self._by_id[space_id] = self._interned(
                convert.from_json(self._changes.spaces[space_id])
            )
        return self._by_id[space_id]

    def _interned(self, space: Mapping[str, BaseDistribution]) -> Space:
        """One object for equal spaces: watchers tell them apart by identity."""
        return self._spaces.setdefault(tuple(space.items()), dict(space))
