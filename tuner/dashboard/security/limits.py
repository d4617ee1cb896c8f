"""Limits on failed logins.

An attempt counts as failed before its password is checked, so a burst of a thousand tests no more
passwords than a sequence would; a success takes its count back. A name is limited per address (five
per minute), an address over all names, and a name over all addresses, more slowly. This last limit
must lock nobody out: it does not apply to browsers that have logged in under the name before, which
keep a cookie that proves it (OWASP calls it a device cookie).
"""

import ipaddress
import secrets
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tuner.dashboard.local_secret import Secret

MAX_KEYS = 10_000  # names and addresses that are remembered
ADDRESS_BITS = 64  # of an IPv6 address: one customer controls all the others


@dataclass(frozen=True, slots=True)
class Limit:
    """The number of attempts that may fail within a period."""

    tries: int
    period: float  # seconds


PAIR = Limit(5, 60.0)  # a name and an address, or a name and a known browser
ADDRESS = Limit(30, 60.0)  # several people in an office share one address
NAME = Limit(60, 3600.0)


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """A login in progress, counted as failed until it succeeds."""

    keys: Sequence[tuple[str, Limit]]
    at: float


class LoginAttempts:
    """Failed logins by name and address; thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def begin(self, name: str, address: str, device: str | None = None) -> LoginAttempt | float:
        """Count an attempt; if a limit is reached, return the seconds to wait instead.

        `device` identifies a browser that has logged in under this name before.
        """
        name = name.casefold()
        if device is None:
            prefix = network(address)
            keys = [
                (f"pair {name}\0{prefix}", PAIR),
                (f"address {prefix}", ADDRESS),
                (f"name {name}", NAME),
            ]
        else:
            keys = [(f"device {name}\0{device}", PAIR)]
        now = self._clock()
        with self._lock:
            if len(self._failed) > MAX_KEYS:
                self._forget(now)
            wait = max(self._wait(key, limit, now) for key, limit in keys)
            if wait > 0:
                return wait
            for key, _ in keys:
                self._failed[key].append(now)
        return LoginAttempt(keys, now)

    def succeeded(self, attempt: LoginAttempt) -> None:
        """Take back what `begin` counted."""
        with self._lock:
            for key, _ in attempt.keys:
                if attempt.at in self._failed.get(key, ()):
                    self._failed[key].remove(attempt.at)

    def _wait(self, key: str, limit: Limit, now: float) -> float:
        times = self._failed.get(key)
        if times is None:
            return 0.0
        while times and times[0] <= now - limit.period:
            times.popleft()
        full = len(times) >= limit.tries
        return times[-limit.tries] + limit.period - now if full else 0.0

    def _forget(self, now: float) -> None:
        """Drop what no longer counts, and the oldest of what is left if it is too much."""
        recent = {k: t for k, t in self._failed.items() if t and t[-1] > now - NAME.period}
        latest = sorted(recent.items(), key=lambda item: item[1][-1])[-MAX_KEYS // 2 :]
        self._failed = defaultdict(deque, latest)


def network(address: str) -> str:
    """What counts as one address: for IPv6, all that share the first half."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 6:
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed), ADDRESS_BITS), strict=False))
    return str(parsed)


def device_cookie(secret: Secret, name: str) -> str:
    """The cookie for a browser that has logged in under this name."""
    nonce = secrets.token_urlsafe(16)
    return f"{nonce}.{secret.sign(f'device {nonce} {name.casefold()}')}"


def known_device(secret: Secret, name: str, cookie: str) -> str | None:
    """The browser that a cookie identifies, if this name has logged in there; else None."""
    nonce, _, signature = cookie.partition(".")
    is_ours = secret.signed(f"device {nonce} {name.casefold()}", signature)
    return nonce if is_ours else None
