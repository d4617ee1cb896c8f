"""When the worker's loop does what."""

import time

from tuner.worker.timers import Timers


def test_a_timer_is_due_at_first_then_after_its_time_or_when_something_happens() -> None:
    timers = Timers()
    assert timers.is_due("claim")
    timers.run_in("claim", 3_600.0)
    timers.run_in("studies", 1_800.0)
    assert not timers.is_due("claim")
    first, last = sorted(timers.next_at(ignored=()))
    assert time.monotonic() < first <= time.monotonic() + 1_800.0
    assert first < last <= time.monotonic() + 3_600.0
    assert timers.next_at(ignored={"claim"}) == [first]
    timers.run_now("claim", "renew")
    assert timers.is_due("claim")
    assert timers.is_due("renew")
    assert not timers.is_due("studies")
