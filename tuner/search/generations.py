"""The trials that have ended, in the order of their ends: what evolves learns from them in turn."""

from bisect import bisect_left, insort
from collections.abc import Sequence

from optuna.trial import FrozenTrial

from tuner.database.readers.columns import NEVER, Columns, Reports
from tuner.search.history import History
from tuner.search.record import Record, Space
from tuner.search.tried import Tried
from tuner.trials import TrialState

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class Generations:
    """Keeps the order; a watcher of the study's history.

    Trials that end at the same time are in the order of their numbers, so that all processes that
    know the same trials see the same generations.
    """

    def __init__(self, history: History, tried: Tried) -> None:
        """`tried` knows which distributions are the study's; other trials are left out."""
        self._history = history
        self._fits = tried.fits
        self._order: list[tuple[int, int]] = []  # when it ended, number
        self._ended: dict[int, tuple[int, TrialState]] = {}
        self.unchanged = 0  # that many trials are where they were when this was last set

    def load(self, finished: Columns, space: Space, reports: Reports) -> None:
        """Take note of many finished trials."""
        counts = finished.state in _ENDED and self._fits(space)
        state = TrialState(finished.state)
        for number, end in zip(finished.numbers.tolist(), finished.finished.tolist(), strict=True):
            self._set(number, (end, state) if counts else None)

    def note(self, record: Record) -> None:
        """Take note of a trial: it may have ended, or run again."""
        row = record.row
        if row.state not in _ENDED or not self._fits(record.space):
            self._set(record.number, None)
            return
        end = NEVER if row.finished_at is None else int(row.finished_at.timestamp() * 1e6)
        self._set(record.number, (end, TrialState(row.state)))

    def _set(self, number: int, end: tuple[int, TrialState] | None) -> None:
        before = self._ended.get(number)
        if before == end:
            return
        if before is not None:
            place = bisect_left(self._order, (before[0], number))
            del self._order[place]
            del self._ended[number]
            self.unchanged = min(self.unchanged, place)
        if end is not None:
            entry = (end[0], number)
            self.unchanged = min(self.unchanged, bisect_left(self._order, entry))
            insort(self._order, entry)
            self._ended[number] = end

    def numbers(self, *, pruned: bool) -> list[int]:
        """Return the numbers of complete trials, and of `pruned` ones, in this order."""
        return [
            number
            for _, number in self._order
            if pruned or self._ended[number][1] is TrialState.COMPLETE
        ]

    def trials(self, numbers: Sequence[int]) -> list[FrozenTrial]:
        """Return the trials with these numbers."""
        return self._history.select(numbers)
