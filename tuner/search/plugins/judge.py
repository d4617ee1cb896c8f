"""A pruner of a study file's choice: every worker asks a process of its own about its trials."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from tuner.search.plugins.client import Client
from tuner.search.plugins.messages import Judge as Question
from tuner.search.plugins.messages import Judged
from tuner.trials import Report

PATIENCE = 5.0  # seconds for an answer, and for the process to start

_log = logging.getLogger(__name__)


class Judge:
    """Answers for one study in one worker; a trial of which it learns nothing in time goes on."""

    def __init__(
        self, name: str, client: Client, remember: Callable[[int, Mapping[str, Any]], None]
    ) -> None:
        """`remember` stores what the pruner has noted in a trial, for other workers."""
        self._name = name
        self._client = client
        self._remember = remember
        self._logged: set[str] = set()

    def start(self) -> None:
        """Start the process, so that it is there for the first report."""
        self._client.start()

    @property
    def unusable(self) -> str | None:
        """Why the pruner cannot be used; None if it can."""
        return self._client.unusable

    def should_prune(self, number: int, report: Report) -> bool:
        """Whether the trial ends with this report."""
        until = time.monotonic() + PATIENCE
        self._client.start()
        while not self._client.is_idle:
            self._client.poll(min(0.1, until - time.monotonic()))
            if self._client.unusable is not None or time.monotonic() >= until:
                return False
        self._client.ask(Question(number, report.step, report.value))
        answer = self._client.poll(until - time.monotonic())
        if not isinstance(answer, Judged):
            if self._client.is_asked:
                self._client.kill(f"no answer in {PATIENCE:g} seconds")
            return False
        if answer.problem is not None and answer.problem not in self._logged:
            self._logged.add(answer.problem)
            _log.warning("%s: %s; the trial goes on", self._name, answer.problem)
        if answer.attrs:
            self._remember(number, answer.attrs)
        return answer.prune

    def close(self) -> None:
        """End the process."""
        self._client.close()
