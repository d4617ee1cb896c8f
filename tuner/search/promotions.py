"""Which paused trials may go on, and which of them on this machine."""

import math
import time
from collections.abc import Callable
from itertools import islice

from tuner.database.claims import Claim
from tuner.search.history import History
from tuner.search.pruner_watcher import PrunerWatcher
from tuner.search.pruners import NoPruner

MAX_DUE = 100  # paused trials that a worker looks at before it claims
LEASES = 5.0  # after so many, a trial whose checkpoint no worker has goes on without it


class Promotions:
    """The paused trials of a study that its pruner promotes."""

    def __init__(
        self,
        pruner: NoPruner,
        watcher: PrunerWatcher,
        history: History,
        reaches: Callable[[int, int], bool],
    ) -> None:
        """`reaches` tells whether this machine has the files of a trial's attempt."""
        self.is_closing = False  # no budget, or nothing new, is left for a new trial
        self._pruner = pruner
        self._watcher = watcher
        self._history = history
        self._reaches = reaches
        self._due_since: dict[int, float] = {}  # trials out of reach: when each was due first

    @property
    def due(self) -> list[int]:
        """The paused trials that may go on, the first choice first, as far as is known."""
        is_last = self.is_closing and not self._watcher.open
        return list(islice(self._pruner.promotable(is_last=is_last), MAX_DUE))

    def within_reach(self, lease: float) -> dict[int, int]:
        """Return the trials that may go on here, each with the attempt whose files are here.

        If no machine that has them takes one for several times `lease`, it starts over on any.
        """
        attempts, now = self._watcher.attempts, time.monotonic()
        # its own ones may not have been read back yet
        due = {n: attempts.get(n) or self._history.attempt(n) for n in self.due}
        out_of_reach = [n for n, attempt in due.items() if not self._reaches(n, attempt)]
        self._due_since = {n: self._due_since.get(n, now) for n in out_of_reach}
        return {
            number: attempt
            for number, attempt in due.items()
            if now - self._due_since.get(number, -math.inf) >= LEASES * lease
        }

    def note_claim(self, claimed: Claim) -> None:
        """Take note of a claim of this worker, before it is read back."""
        self._watcher.attempts[claimed.number] = claimed.attempt
        if claimed.promoted:
            self._pruner.promote(claimed.number)
