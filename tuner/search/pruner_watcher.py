"""What a study's pruner is told: the trials that all workers have claimed, as they are read."""

from tuner.database.readers.columns import Columns, Reports
from tuner.search import pruners
from tuner.search.measures import Measures
from tuner.search.record import Record, Space
from tuner.trials import TrialState


class PrunerWatcher:
    """Tells a pruner about the trials that are read."""

    def __init__(self, pruner: pruners.NoPruner, measures: Measures) -> None:
        self.open: set[int] = set()  # trials that run or wait
        self.attempts: dict[int, int] = {}  # the latest known ones of such trials
        self._pruner = pruner
        self._measures = measures
        self._seen: dict[int, int] = {}  # running trials in their first attempt: reports observed

    def load(self, finished: Columns, space: Space, reports: Reports) -> None:
        """Take note of many finished trials."""
        numbers = finished.numbers.tolist()
        self.open.difference_update(numbers)
        self._pruner.load(
            self._measures.convert(reports), complete=finished.state == TrialState.COMPLETE
        )
        if finished.state == TrialState.PAUSED:
            self._pruner.pause(numbers)
        if self._seen or self.attempts:
            for number in numbers:
                self._seen.pop(number, None)
                self.attempts.pop(number, None)

    def note(self, record: Record) -> None:
        """Take note of a trial's new reports and of its end."""
        row = record.row
        if TrialState(row.state).is_open:
            self.open.add(row.number)
        else:
            self.open.discard(row.number)
        # a later attempt may report a step again
        observed = self._seen.pop(row.number, 0) if row.attempt == 1 else 0
        reports = self._measures.of_row(row)[observed:]
        if row.state == TrialState.COMPLETE:
            self._pruner.complete(row.number, reports)
            return
        for report in reports:
            self._pruner.observe(row.number, *report)
        if row.state != TrialState.RUNNING:
            return
        if row.attempt == 1:
            self._seen[row.number] = len(row.steps or [])
        elif row.attempt > self.attempts.get(row.number, 1):  # promoted, or interrupted: it goes on
            self.attempts[row.number] = row.attempt
            self._pruner.promote(row.number)
