"""Processes of other ranks than 0: their reports are not stored, and they are told what rank 0 is.

All ranks must leave their loop at the same step, for they wait for each other in every other one.
So the answer for a step is that to rank 0's report of it, for which the others wait; not for ever,
for a program may be written so that rank 0 never reports it.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tuner.user_code.client import CONTINUED, STOPPED
from tuner.user_code.reported import checked_step

PATIENCE = 20.0  # seconds to wait for rank 0, once until it reports again
MOST_WAITS = 3  # in vain of one command: it is written so that ranks do not report together


class _Waiting(NamedTuple):
    step: int
    answer: Callable[[bytes], None]
    until: float  # monotonic clock


class Followers:
    """The questions of all ranks but 0."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._reported = -1  # the last step of rank 0
        self._stopped_at: int | None = None  # from this step on the answer is to stop
        self._patient = True
        self._waits = 0  # in vain

    def take(self, message: Any, answer: Callable[[bytes], None]) -> bool:
        """Answer the message now or later if it is of another rank than 0; whether it is.

        TypeError or ValueError for a rank or a step that is none.
        """
        if not isinstance(message, dict) or "rank" not in message:
            return False
        if checked_step(message.pop("rank"), "the rank") == 0:
            return False
        given = message.get("step")
        step = None if given is None else checked_step(given)
        if (
            step is None
            or step <= self._reported
            or not self._patient
            or self._stopped_at is not None
        ):
            answer(self._answer(step))
        else:
            self._waiting.append(_Waiting(step, answer, time.monotonic() + PATIENCE))
        return True

    def follow(self, step: int, *, go_on: bool) -> None:
        """Rank 0 has reported this step and was answered so."""
        self._reported = max(step, self._reported)
        self._patient = self._waits < MOST_WAITS
        if not go_on:
            self.stop(step)
        self._settle(lambda one: one.step <= self._reported)

    def stop(self, step: int) -> None:
        """From this step on, the answer is to stop."""
        if self._stopped_at is None:
            self._stopped_at = step
        self._settle(lambda _: True)

    def look_after(self) -> str | None:
        """Let those go on who have waited for too long; returns what the user should know."""
        late = [one.step for one in self._waiting if one.until <= time.monotonic()]
        if not late:
            return None
        self._patient = False
        self._waits += 1
        self._settle(lambda _: True)
        return (
            f"another rank has waited {PATIENCE:g} s for rank 0's report of step {min(late)}, and "
            "goes on without; call `report` for the same steps in all ranks"
        )

    def _settle(self, is_settled: Callable[[_Waiting], bool]) -> None:
        for one in filter(is_settled, self._waiting):
            one.answer(self._answer(one.step))
        self._waiting = [one for one in self._waiting if not is_settled(one)]

    def _answer(self, step: int | None) -> bytes:
        stopped_at = self._stopped_at
        return (
            STOPPED
            if stopped_at is not None and (step is None or step >= stopped_at)
            else CONTINUED
        )
