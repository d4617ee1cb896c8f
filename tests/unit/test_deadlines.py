"""Deadlines: who is past one is killed, for the reason that is recorded, and nobody else is."""

import select
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.waiting import STUCK
from tuner.trials import Cause
from tuner.worker.deadlines import Deadline, Deadlines, TimeLimit


@pytest.fixture
def deadlines() -> Iterator[Deadlines]:
    with Deadlines() as running:
        yield running


Leash = tuple[socket.socket, socket.socket]  # the worker's end, the guard's end


def leash() -> Iterator[Leash]:
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


first = pytest.fixture(leash, name="first")
other = pytest.fixture(leash, name="other")


def deadline(seconds: float, cause: Cause = Cause.TIMEOUT) -> Deadline:
    return Deadline(time.monotonic() + seconds, cause, f"after {seconds} s")


def is_killed(leash: Leash, within: float = 0.0) -> bool:
    poll = select.poll()
    poll.register(leash[1], select.POLLIN)
    return bool(poll.poll(1000 * within))


def test_the_first_deadline_counts(deadlines: Deadlines, first: Leash) -> None:
    deadlines.set(first[0], TimeLimit.LEASE, deadline(3_600.0, Cause.PREEMPTED))
    deadlines.set(first[0], TimeLimit.SILENCE, deadline(0.05))
    assert is_killed(first, within=STUCK)
    killed = deadlines.forget(first[0])
    assert killed is not None
    assert (killed.cause, killed.message) == (Cause.TIMEOUT, "after 0.05 s")
    assert deadlines.forget(first[0]) is None


def test_what_moved_on_or_was_cleared_kills_nobody(
    deadlines: Deadlines, first: Leash, other: Leash
) -> None:
    with deadlines._changed:  # nothing happens between these, however busy the machine is
        deadlines.set(first[0], TimeLimit.ATTEMPT, deadline(0.1))
        deadlines.clear(first[0])
        deadlines.set(first[0], TimeLimit.LEASE, deadline(0.1))
        deadlines.set(first[0], TimeLimit.LEASE, deadline(3_600.0))
    deadlines.set(other[0], TimeLimit.LEASE, deadline(0.3))  # later than all that was moved
    assert is_killed(other, within=STUCK)
    assert not is_killed(first)
    assert deadlines.forget(first[0]) is None


def test_whoever_is_forgotten_is_left_alone(
    deadlines: Deadlines, first: Leash, other: Leash
) -> None:
    with deadlines._changed:
        deadlines.set(first[0], TimeLimit.LEASE, deadline(0.1))
        deadlines.forget(first[0])
    deadlines.set(other[0], TimeLimit.LEASE, deadline(0.2))
    assert is_killed(other, within=STUCK)
    assert not is_killed(first)


def test_an_executor_that_has_ended_meanwhile_harms_nobody(
    deadlines: Deadlines, first: Leash, other: Leash
) -> None:
    first[1].close()
    deadlines.set(first[0], TimeLimit.LEASE, deadline(0.0))
    deadlines.set(other[0], TimeLimit.LEASE, deadline(0.1))
    assert is_killed(other, within=STUCK)
