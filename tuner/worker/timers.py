"""When the worker's loop does what: named timers on the monotonic clock."""

import time
from collections.abc import Collection


class Timers:
    """Owned by the loop; whatever changes what there is to do makes a timer due at once."""

    def __init__(self) -> None:
        self._due_at: dict[str, float] = {}  # monotonic clock; one that never ran is due

    def is_due(self, name: str) -> bool:
        """Whether the timer's time has come."""
        return time.monotonic() >= self._due_at.get(name, 0.0)

    def run_now(self, *names: str) -> None:
        """Make these timers due at once."""
        for name in names:
            self._due_at[name] = 0.0

    def run_in(self, name: str, seconds: float) -> None:
        """Make the timer due so many seconds from now."""
        self._due_at[name] = time.monotonic() + seconds

    def next_at(self, *, ignored: Collection[str]) -> list[float]:
        """When the timers are due, without the ignored ones."""
        return [at for name, at in self._due_at.items() if name not in ignored]
