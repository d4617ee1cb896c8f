"""The one worker that proposes for all others, so that a sampler keeps its state.

Workers claim trials without parameters (`database/proposals.py`). The leader has the sampler's
process propose for them, in the order of their numbers, and stores the proposals. A sampler whose
worker dies is made anew by the next leader, from the history and from what it has noted in its
trials.
"""

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from tuner.database import attributes, proposals, studies
from tuner.database.engine import Connected, Database
from tuner.logs import log_context
from tuner.origin import EXPECTED, Origin, OriginKind
from tuner.search.plugins.client import Client, Feed
from tuner.search.plugins.messages import Propose, Proposed
from tuner.search.proposal import Proposal
from tuner.search.record import Record
from tuner.trials import ParamValue, StudyState

MAX_PROBLEMS = 5  # in a row, after which the study pauses
PATIENCE = 600.0  # seconds for a proposal, after which the process is killed and asked again
EAGER = 0.5  # seconds between attempts to lead while trials wait

_log = logging.getLogger(__name__)

Fallback = Callable[[int, Mapping[str, ParamValue]], Proposal]
Advise = Callable[[int], Proposal | None]
Expect = Callable[[int], Mapping[str, ParamValue]]
Store = Callable[[Connected, Record, Proposal, Mapping[str, Any]], bool]


class Leader:
    """One worker's part: it leads, or waits until it may."""

    def __init__(
        self,
        database: Database,
        study_id: int,
        name: str,
        client: Client,
        feed: Feed,
        advise: Advise,
        expect: Expect,
        fallback: Fallback,
        store: Store,
    ) -> None:
        """Make the leader's part of one worker.

        Args:
            database: Where the study is stored.
            study_id: The study.
            name: The sampler's name, for people.
            client: The sampler's process.
            feed: What the process has not been sent yet.
            advise: What a trial tries instead of the sampler's proposal.
            expect: Values that the sampler has to take for a trial; empty for most.
            fallback: Draws at random.
            store: Writes a proposal with its attributes.

        """
        self._database = database
        self._study_id = study_id
        self._name = name
        self._client = client
        self._feed = feed
        self._advise = advise
        self._expect = expect
        self._fallback = fallback
        self._store = store
        self._leads_until = 0.0  # monotonic clock
        self._next_attempt = 0.0
        self._asked: Record | None = None
        self._expected: Mapping[str, ParamValue] = {}
        self._asked_at = 0.0  # monotonic clock
        self._problems: deque[str] = deque(maxlen=MAX_PROBLEMS)
        self._is_over = False

    @property
    def reason_to_end(self) -> str | None:
        """Why the study is over: its sampler has asked to end it; None if it has not."""
        if self._is_over and not self._feed.undrawn:
            return f"{self._name} has nothing left to try"
        return None

    @property
    def is_busy(self) -> bool:
        """Whether trials wait for parameters."""
        return bool(self._feed.undrawn)

    @property
    def is_leading(self) -> bool:
        """Whether this worker proposes for all, as far as it knows."""
        return self._leads_until > time.monotonic()

    def advance(self, worker_id: UUID, lease: float) -> None:
        """Do what can be done now: take or keep the lead, ask, store answers."""
        if not self._leads(worker_id, lease):
            return
        self._client.start()
        answer = self._client.poll()
        if isinstance(answer, Proposed) and self._asked is not None:
            asked, self._asked = self._asked, None
            self._is_over |= answer.is_over
            self._answer(asked, answer)
        if self._client.is_asked and time.monotonic() - self._asked_at > PATIENCE:
            self._client.kill(f"no proposal in {PATIENCE:g} seconds")
        if self._client.unusable is not None:
            self._pause(self._client.unusable)
            return
        if self._asked is not None and not self._client.is_asked:  # the process has died
            self._asked = None
        if self._asked is None and self._client.is_idle and self._feed.undrawn:
            self._serve(self._feed.undrawn[min(self._feed.undrawn)])

    def close(self, worker_id: UUID | None) -> None:
        """End the process, and let another worker lead."""
        self._client.close()
        if worker_id is not None and self._leads_until > time.monotonic():
            self._leads_until = 0.0
            with self._database.statement() as connection:
                proposals.leave(connection, self._study_id, worker_id)

    def _leads(self, worker_id: UUID, lease: float) -> bool:
        now = time.monotonic()
        if now >= self._next_attempt:
            had = self._leads_until > now
            with self._database.statement() as connection:
                leads = proposals.take(connection, self._study_id, worker_id, lease)
            self._leads_until = now + lease if leads else 0.0
            self._next_attempt = now + (lease / 3 if leads or not self.is_busy else EAGER)
            if had and not leads:
                self._client.close()
                self._asked = None
        return self.is_leading

    def _serve(self, record: Record) -> None:
        """Store what an earlier study advises for a trial, or ask the sampler."""
        fixed = _fixed(record)
        if not fixed and (advice := self._advise(record.number)) is not None:
            with self._database.statement() as connection:
                self._store(connection, record, advice, {})
            return
        self._expected = {} if fixed else self._expect(record.number)
        self._asked, self._asked_at = record, time.monotonic()
        self._client.ask(Propose(record.number, {**self._expected, **fixed}))

    def _answer(self, asked: Record, answer: Proposed) -> None:
        fixed = _fixed(asked)
        if answer.params is None:
            problem = answer.problem or "no answer"
            self._problems.append(problem)
            with log_context(study=self._study_id, trial=asked.number):
                _log.warning("%s: %s; drawn at random", self._name, problem)
            drawn = self._fallback(asked.number, fixed)
            origin = Origin(kind=OriginKind.RANDOM, sampler=self._name, reason=problem)
            proposal = Proposal(drawn.params, origin)
            if len(self._problems) == MAX_PROBLEMS:
                self._pause(f"{self._name}: {problem}")
        else:
            self._problems.clear()
            is_fixed = bool(fixed) and fixed.keys() >= answer.params.keys()
            kind = OriginKind.ENQUEUED if fixed else OriginKind.MODEL
            origin = Origin(kind=kind, sampler=None if is_fixed else self._name)
            if self._expected:
                origin = Origin(kind=OriginKind.RANDOM, sampler=self._name, reason=EXPECTED)
            proposal = Proposal(answer.params, origin)
        with self._database.statement() as connection:
            self._store(connection, asked, proposal, answer.attrs)

    def _pause(self, reason: str) -> None:
        with self._database.statement() as connection:
            studies.set_state(
                connection,
                self._study_id,
                StudyState.PAUSED,
                allowed=[StudyState.ACTIVE],
                reason=reason,
            )


def _fixed(record: Record) -> dict[str, Any]:
    """Return the parameters with which a trial was queued."""
    stored = attributes.decode(json.loads(record.row.system_attrs))
    fixed = stored.get("fixed_params", {})
    return dict(fixed) if isinstance(fixed, Mapping) else {}
