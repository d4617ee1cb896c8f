"""Asynchronous successive halving that pauses trials and promotes the best of them later."""

import math
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from tuner.database.readers.columns import Reports
from tuner.search.pruners.rungs import RungPruner

_Place = tuple[float, float, int]  # violation, negated score, number: the best first


class PromotingPruner(RungPruner):
    """Asynchronous successive halving, promotion variant (ASHA; Li et al., MLSys 2020).

    Every trial pauses at its rung unless it is among the best ⌊n/reduction⌋ of the n trials that
    have reached it so far, of which no more may go on. When later arrivals raise that number, the
    best of the paused ones go on. So a rung neither lets through what was good only among the
    first, nor loses what was bad only among them, and `startup_trials` are not needed.

    When no other trial is to come, the very best of a rung goes on in any case: it may have come
    when as many as may had gone on already, or to a rung of fewer than `reduction` trials.
    """

    pauses = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take what `RungPruner` takes."""
        super().__init__(*arguments, **options)
        self._paused: defaultdict[int, list[_Place]] = defaultdict(list)  # by rung, in order
        self._paused_at: dict[int, tuple[int, _Place]] = {}  # number → rung, and place there

    def should_prune(self, number: int, step: int, value: float) -> bool:
        """Whether the trial, whose report was observed before, pauses here."""
        rung = self._ladder.below(step)
        if rung is None or self._reached.get(number) != step or number in self._passed[rung]:
            return False
        ranking = self._rungs[rung]
        most = self._most(rung)
        is_among_best = ranking.count_ahead(number) < most
        if len(self._passed[rung]) >= most or not is_among_best or self._is_hopeless(rung, number):
            return True
        self._passed[rung].add(number)
        return False

    def load(self, reports: Reports, *, complete: bool) -> None:
        """Take note of many trials that have ended or are paused."""
        super().load(reports, complete=complete)
        for number in {*reports.numbers.tolist()} & self._paused_at.keys():
            self._forget(number)

    def pause(self, numbers: Sequence[int]) -> None:
        """Take note that trials are paused at the highest rung that each has reached."""
        places: defaultdict[int, list[_Place]] = defaultdict(list)
        from_the_top = sorted(self._rungs, reverse=True)
        for number in numbers:
            rung = next((rung for rung in from_the_top if number in self._rungs[rung]), None)
            if rung is None:  # its report was lost
                continue
            self._forget(number)
            standing = self._rungs[rung][number]
            place = standing.violation, -standing.score, number
            self._passed[rung].discard(number)
            self._paused_at[number] = rung, place
            places[rung].append(place)
        for rung, new in places.items():
            if len(new) == 1:
                insort(self._paused[rung], new[0])
            else:
                self._paused[rung] = sorted([*self._paused[rung], *new])  # quick: most are in order

    def promote(self, number: int) -> None:
        """Take note that a trial goes on from where it paused."""
        paused_at = self._paused_at.get(number)
        if paused_at is not None:
            self._forget(number)
            self._passed[paused_at[0]].add(number)
        elif (rung := self._ladder.below(self._reached.get(number, 0))) is not None:
            self._passed[rung].add(number)  # its pause was not seen

    def promotable(self, *, is_last: bool = False) -> Iterator[int]:
        """Yield the paused trials that may go on, those at the highest rung first.

        `is_last`: no trial runs, and no other is to come.
        """
        for rung in sorted(self._paused, reverse=True):
            ranking = self._rungs[rung]
            most = self._most(rung)
            room = most - len(self._passed[rung])
            for place, (_, _, number) in enumerate(self._paused[rung][: max(room, int(is_last))]):
                limit = most if place < room else 1  # the very best
                if ranking.count_ahead(number) >= limit or self._is_hopeless(rung, number):
                    break
                yield number

    def _most(self, rung: int) -> int:
        """How many of a rung's trials go on by now."""
        return len(self._rungs[rung]) // self._reduction

    def _is_hopeless(self, rung: int, number: int) -> bool:
        return self._rungs[rung][number].score == -math.inf

    def _forget(self, number: int) -> None:
        """Take a trial from the paused ones, if it is one of them."""
        paused_at = self._paused_at.pop(number, None)
        if paused_at is not None:
            rung, place = paused_at
            del self._paused[rung][bisect_left(self._paused[rung], place)]
