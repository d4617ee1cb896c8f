"""How long an executor may take: the deadlines that follow from its lease, budget and study.

`deadlines.py` kills what is past one; here they are set and moved.
"""

import time

from tuner.trials import Cause
from tuner.worker.deadlines import Deadline, Deadlines, TimeLimit
from tuner.worker.executors import Executor

SLACK = 0.001  # seconds by which rounding may shorten a lease
HOLD = 0.9  # of a lease: then the executor is killed, which takes a moment itself
STOP = 0.75  # of a study's last seconds: then the trial is told to write its checkpoint
LOST_GRACE = 2.0  # seconds that an executor may take to leave a trial that is another worker's now


class TimeLimits:
    """Sets the deadlines of executors that work on something."""

    def __init__(self, deadlines: Deadlines, lease: float) -> None:
        """`lease`: seconds for which a claim or renewal holds a trial."""
        self._deadlines = deadlines
        self._lease = lease

    def hold(self, executor: Executor, sent_at: float, paid: float | None) -> None:
        """Count the lease of its trial from the moment the claim or renewal was sent.

        `paid`: the seconds of the study's budget that are reserved; None: it does not count them.
        """
        assert executor.assignment is not None
        message = "the lease could not be renewed in time"
        until = sent_at + HOLD * self._lease
        self._set(executor, TimeLimit.LEASE, until, Cause.PREEMPTED, message)
        executor.assignment.stop_at = None
        if paid is not None:
            if paid < self._lease - SLACK:  # the study's seconds are given out
                executor.assignment.stop_at = sent_at + STOP * paid
            message = "the study's GPU seconds are used up"
            self._set(executor, TimeLimit.SECONDS, sent_at + HOLD * paid, Cause.PREEMPTED, message)

    def begin(self, executor: Executor) -> None:
        """Count its attempt from now on."""
        assert executor.assignment is not None
        seconds = executor.assignment.resources.timeout_seconds
        if seconds is not None:
            message = f"it took longer than {seconds:g} s (resources.timeout_seconds)"
            until = time.monotonic() + seconds
            self._set(executor, TimeLimit.ATTEMPT, until, Cause.TIMEOUT, message)
        self.note_message(executor)

    def note_message(self, executor: Executor) -> None:
        """Count its silence from now on: it starts, or has just sent something."""
        assignment = executor.assignment
        seconds = None if assignment is None else assignment.resources.silence_seconds
        if seconds is not None:
            message = f"there was no report for {seconds:g} s (resources.silence_seconds)"
            until = time.monotonic() + seconds
            self._set(executor, TimeLimit.SILENCE, until, Cause.TIMEOUT, message)

    def leave(self, executor: Executor) -> None:
        """Give it a moment to leave a trial that another worker has."""
        until = time.monotonic() + LOST_GRACE
        self._set(executor, TimeLimit.LOST, until, Cause.PREEMPTED, "another worker has the trial")

    def _set(
        self, executor: Executor, limit: TimeLimit, until: float, cause: Cause, message: str
    ) -> None:
        self._deadlines.set(executor.leash, limit, Deadline(until, cause, message))
