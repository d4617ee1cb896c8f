"""Asynchronous Hyperband."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from tuner.database.readers.columns import Integers, Reports
from tuner.search.pruners.ladder import Ladder
from tuner.search.pruners.pruner import NoPruner, ReportPoint

GOLDEN = (math.sqrt(5) - 1) / 2  # multiples of it, modulo 1, are spread evenly at any number


class HyperbandPruner(NoPruner):
    """Several brackets of rungs, of which each prunes by itself (Li et al., JMLR 2018).

    The trials of the first bracket are compared at the lowest rung already, those of each further
    bracket one rung later, and those of the last one hardly at all. So the search does not depend
    on what the first epochs say. Which bracket a trial belongs to follows from its number alone.
    """

    def __init__(self, brackets: Sequence[NoPruner], sizes: Sequence[int]) -> None:
        """`sizes` are in proportion to how many trials each bracket gets."""
        self._brackets = brackets
        self.pauses = brackets[0].pauses
        self._ends = np.cumsum(sizes) / sum(sizes)

    def brackets(self, numbers: Integers) -> Integers:
        """Return the place of the bracket that each trial belongs to: an even spread."""
        return np.searchsorted(self._ends, numbers * GOLDEN % 1.0, "right")

    def bracket(self, number: int) -> int:
        """Return the place of the bracket that a trial belongs to."""
        return int(self.brackets(np.array([number]))[0])

    def observe(
        self,
        number: int,
        step: int,
        value: float,
        others: Sequence[float] = (),
        violation: float = 0.0,
    ) -> None:
        """Take note of a report."""
        self._brackets[self.bracket(number)].observe(number, step, value, others, violation)

    def complete(self, number: int, reports: Iterable[ReportPoint] = ()) -> None:
        """Take note that a trial ran to its end."""
        self._brackets[self.bracket(number)].complete(number, reports)

    def load(self, reports: Reports, *, complete: bool) -> None:
        """Take note of many finished trials."""
        numbers = np.unique(reports.numbers)
        brackets = self.brackets(numbers)
        for place, pruner in enumerate(self._brackets):
            pruner.load(reports.of(numbers[brackets == place]), complete=complete)

    def should_prune(self, number: int, step: int, value: float) -> bool:
        """Whether the trial ends or pauses here."""
        return self._brackets[self.bracket(number)].should_prune(number, step, value)

    def explain(self, number: int, step: int, value: float) -> str:
        """Return why the trial's bracket ends it."""
        place = self.bracket(number)
        reason = self._brackets[place].explain(number, step, value)
        return f"bracket {place + 1} of {len(self._brackets)}, {reason}"

    def pause(self, numbers: Sequence[int]) -> None:
        """Take note that trials are paused at the highest rung that each has reached."""
        brackets = self.brackets(np.array(numbers, np.int64))
        for place, pruner in enumerate(self._brackets):
            pruner.pause([numbers[row] for row in np.flatnonzero(brackets == place).tolist()])

    def promote(self, number: int) -> None:
        """Take note that a trial goes on from where it paused."""
        self._brackets[self.bracket(number)].promote(number)

    def promotable(self, *, is_last: bool = False) -> Iterator[int]:
        """Yield the paused trials that may go on, those of the first bracket first."""
        for pruner in self._brackets:
            yield from pruner.promotable(is_last=is_last)


def make_brackets(
    make: Callable[[Ladder], NoPruner], ladder: Ladder, *, last: int, reduction: int
) -> HyperbandPruner:
    """Make the brackets of a study whose trials have these rungs up to step `last`."""
    ladders = [Ladder(rung, ladder.ratio) for rung in ladder.up_to(last)]
    return HyperbandPruner([make(ladder) for ladder in ladders], sizes(len(ladders), reduction))


def sizes(brackets: int, reduction: int) -> list[int]:
    """Return how many trials each bracket gets, so that all of them cost about the same."""
    return [
        math.ceil(brackets / (rungs + 1) * reduction**rungs) for rungs in reversed(range(brackets))
    ]
