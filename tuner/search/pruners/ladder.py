"""Where rungs lie."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ladder:
    """The steps of the rungs: first · ratio^k, or each step from the first on.

    Args:
        first: The step of the lowest rung.
        ratio: How many times as long as the one below it a rung is; None: one step longer.

    """

    first: int
    ratio: int | None = None

    def next(self, rung: int) -> int:
        """Return the rung above this one."""
        return rung + 1 if self.ratio is None else rung * self.ratio

    def up_to(self, step: float, above: int = 0, *, at_most: float = math.inf) -> list[int]:
        """Return the rungs from `above`, exclusive, to `step`, inclusive; not more than so many."""
        rungs: list[int] = []
        rung = self.first
        while rung <= step and len(rungs) < at_most:
            if rung > above:
                rungs.append(rung)
            rung = self.next(rung)
        return rungs

    def below(self, step: int) -> int | None:
        """Return the highest rung that a step has reached, if any."""
        rung = None
        above = self.first
        while above <= step:
            rung, above = above, self.next(above)
        return rung
