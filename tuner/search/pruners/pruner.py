"""What a pruner is told and asked, and how reports become scores."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tuner.database.readers.columns import Floats, Reports
from tuner.search.history import Watcher


class ReportPoint(NamedTuple):
    """What `observe` takes of a report."""

    step: int
    value: float
    others: Sequence[float] = ()
    violation: float = 0.0


class NoPruner:
    """Every trial runs to its end.

    Attributes:
        watcher: What is to be told of the study's history beside; None for nothing.

    """

    watcher: Watcher | None = None

    pauses = False  # whether a trial that does not go on is paused, and may be promoted later

    def observe(
        self,
        number: int,
        step: int,
        value: float,
        others: Sequence[float] = (),
        violation: float = 0.0,
    ) -> None:
        """Take note of a report.

        Args:
            number: Of the trial.
            step: Epochs that it has trained.
            value: Of the first objective.
            others: Of further objectives; NaN where a value is not known yet.
            violation: By how much the trial violates its constraints, as far as is known.

        """

    def complete(self, number: int, reports: Iterable[ReportPoint] = ()) -> None:
        """Take note that a trial ran to its end; `reports`: those that were not observed."""
        for report in reports:
            self.observe(number, *report)

    def load(self, reports: Reports, *, complete: bool) -> None:
        """Take note of all reports of many finished trials; `complete`: they ran to their end."""

    def should_prune(self, number: int, step: int, value: float) -> bool:
        """Whether the trial ends or pauses here."""
        return False

    def explain(self, number: int, step: int, value: float) -> str | None:
        """Return why `should_prune`, called just before with the same arguments, was true."""
        return None

    def pause(self, numbers: Sequence[int]) -> None:
        """Take note that trials are paused at the highest rung that each has reached."""

    def promote(self, number: int) -> None:
        """Take note that a trial goes on from where it paused."""

    def promotable(self, *, is_last: bool = False) -> Iterator[int]:
        """Yield the paused trials that may go on, the first choice first.

        `is_last`: no trial runs, and no other is to come.
        """
        return iter(())


def as_score(value: float, sign: float) -> float:
    """Return a report as a score: larger is better, NaN is worst."""
    return -math.inf if math.isnan(value) else sign * value


def as_scores(values: Floats, sign: float) -> Floats:
    """Return many reports as scores."""
    return np.where(np.isnan(values), -math.inf, sign * values)
