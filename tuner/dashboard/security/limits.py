"""How often somebody may try to log in."""

import threading
import time
from collections import defaultdict, deque

TRIES = 5  # that failed, of one name or one address, within PERIOD
PERIOD = 60.0  # seconds
MOST = 10_000  # names and addresses that are remembered


class Attempts:
    """Failed logins of the last minute, by name and by address; for many threads at once."""

    def __init__(self) -> None:
        self._failed: dict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def wait(self, *keys: str) -> float:
        """Seconds until one of these may try again; 0 where each may now."""
        now = time.monotonic()
        with self._lock:
            return max(self._wait(key, now) for key in keys)

    def failed(self, *keys: str) -> None:
        """Take note of a try that failed."""
        now = time.monotonic()
        with self._lock:
            if len(self._failed) > MOST:
                recent = {k: t for k, t in self._failed.items() if t and t[-1] > now - PERIOD}
                self._failed = defaultdict(deque, recent)
            for key in keys:
                self._failed[key].append(now)

    def _wait(self, key: str, now: float) -> float:
        times = self._failed.get(key)
        if times is None:
            return 0.0
        while times and times[0] <= now - PERIOD:
            times.popleft()
        return times[-TRIES] + PERIOD - now if len(times) >= TRIES else 0.0
