"""Answers for processes of ranks other than 0, whose reports are not stored.

All ranks must leave their loop at the same step, because they wait for each other in every step. So
their answer for a step is the one to rank 0's report of that step, for which they wait. They do not
wait for ever: a program may be written so that rank 0 never reports it.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tuner.user_code.client import CONTINUED, STOPPED
from tuner.user_code.reported import checked_step

PATIENCE = 20.0  # seconds to wait for rank 0; then not again until it reports
MOST_WAITS = 3  # in vain per command: its ranks evidently do not report together


class _Question(NamedTuple):
    step: int
    answer: Callable[[bytes], None]
    until: float  # monotonic clock


class Followers:
    """The questions of all ranks other than 0."""

    def __init__(self) -> None:
        self._waiting: list[_Question] = []
        self._reported = -1  # the latest step that rank 0 reported
        self._stopped_at: int | None = None  # from this step on, the answer is to stop
        self._patient = True
        self._waits = 0  # in vain

    def take(self, message: Any, answer: Callable[[bytes], None]) -> bool:
        """Answer a message of a rank other than 0, now or later; False for any other message.

        TypeError or ValueError if its rank or step is not valid.
        """
        if not isinstance(message, dict) or "rank" not in message:
            return False
        if checked_step(message.pop("rank"), "the rank") == 0:
            return False
        step = message.get("step")
        if step is not None:
            step = checked_step(step)
        if (
            step is None
            or step <= self._reported
            or not self._patient
            or self._stopped_at is not None
        ):
            answer(self._answer(step))
        else:
            self._waiting.append(_Question(step, answer, time.monotonic() + PATIENCE))
        return True

    def follow(self, step: int, *, go_on: bool) -> None:
        """Answer those that wait for this step, which rank 0 reported, as rank 0 was answered."""
        self._reported = max(step, self._reported)
        self._patient = self._waits < MOST_WAITS
        if not go_on:
            self.stop(step)
        self._settle(lambda question: question.step <= self._reported)

    def stop(self, step: int) -> None:
        """Answer `stop` from this step on."""
        if self._stopped_at is None:
            self._stopped_at = step
        self._settle(lambda _: True)

    def release_late(self) -> str | None:
        """Let ranks that waited too long continue; returns a sentence for the user if any did."""
        late = [q.step for q in self._waiting if q.until <= time.monotonic()]
        if not late:
            return None
        self._patient = False
        self._waits += 1
        self._settle(lambda _: True)
        return (
            f"another rank waited {PATIENCE:g} s for rank 0's report of step {min(late)} and "
            "continues without it; call `report` for the same steps in all ranks"
        )

    def _settle(self, is_settled: Callable[[_Question], bool]) -> None:
        for question in filter(is_settled, self._waiting):
            question.answer(self._answer(question.step))
        self._waiting = [question for question in self._waiting if not is_settled(question)]

    def _answer(self, step: int | None) -> bytes:
        stopped_at = self._stopped_at
        return (
            STOPPED
            if stopped_at is not None and (step is None or step >= stopped_at)
            else CONTINUED
        )
