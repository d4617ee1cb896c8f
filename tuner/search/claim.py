"""One study's search in one worker: what it knows, what it claims next, what it prunes.

A claim draws parameters from what is known, then reserves the budget unit and inserts the trial
with them in one statement. If another worker claimed in between, the trial's number is not the
one that the draw was made for; it is drawn again with the right seed and the newly known trials.

The work of other workers is read along with this worker's own reports and finishes, in the same
round trip: a trial costs one statement for its claim, one per batch of reports and one for its
finish.
"""

import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from tuner.database import attributes, claims, results, spaces, warm_starts
from tuner.database.claims import Claim
from tuner.database.engine import Database
from tuner.database.readers.feed import Snapshot
from tuner.errors import DatabaseUnreachableError
from tuner.search import pruners
from tuner.search.distributions import as_json, internal
from tuner.search.ending import Ending
from tuner.search.history import History
from tuner.search.measures import Measures
from tuner.search.promotions import Promotions
from tuner.search.proposal import Proposal
from tuner.search.pruner_watcher import PrunerWatcher
from tuner.search.record import new_row
from tuner.search.sampler import Proposer
from tuner.search.warm_start.past_study import WarmStart
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import NO_LABELS, Cause, ParamValue, Report, Study, TrialState

FRESH = 0.1  # seconds: maximum age of what is known of other workers when something is written
SHARE = 0.02  # of a worker's time that reading may take: many workers share few processors
STALE = 2.0  # seconds after which it is read, however long that takes
CLAIM_RETRIES = 3
CLAIM_BACKOFF = 0.5  # seconds, doubled at each retry


T_co = TypeVar("T_co", covariant=True)


class _RepeatableClaim(Protocol[T_co]):
    """A claim that can be repeated."""

    def __call__(self, *, is_repeated: bool) -> T_co: ...


@dataclass(frozen=True, slots=True)
class ClaimedTrial:
    """A claimed trial with all its parameters, pinned ones included."""

    claim: Claim
    params: Mapping[str, ParamValue]
    sent_at: float = 0.0  # monotonic clock: before the claim, from which its lease counts
    is_drawn: bool = True  # False: another worker may still have to propose its parameters

    @property
    def number(self) -> int:
        """The trial's number in its study."""
        return self.claim.number


class Search:
    """The search of one study; not shared between threads."""

    def __init__(
        self,
        database: Database,
        study: Study,
        spec: ResolvedSpec,
        reaches: Callable[[int, int], bool] = lambda number, attempt: True,
    ) -> None:
        """`reaches` tells whether this machine has the files of a trial's attempt."""
        self.study = study
        self.spec = spec
        self._database = database
        self._measures = Measures(spec)
        self._history = History(
            study.id,
            # what a class has noted in its trials
            with_attributes=None in (spec.sampler.name, spec.pruner.name),
            with_reports=spec.pruner.name != "none"
            or spec.sampler.reads_curves
            or bool(spec.learn_from),
            metrics=self._measures.names,
        )
        self._proposer = Proposer(
            spec.space,
            spec.sampler,
            study.directions,
            spec.seed,
            self._history,
            self._load_warm_start(),
            by_level=bool(spec.fidelities),
        )
        first, *others = study.directions
        self._pruner = pruners.make(
            spec.pruner,
            first,
            others,
            last_step=spec.last_step,
            by_level=bool(spec.fidelities),
        )
        self._ending = Ending(spec.budget, study.direction)
        # each watcher is told of every trial of every worker
        watcher = PrunerWatcher(self._pruner, self._measures)
        self.promotions = Promotions(self._pruner, watcher, self._history, reaches)
        if spec.pruner.name != "none":
            self._history.watch(watcher)
        if self._pruner.watcher is not None:
            self._history.watch(self._pruner.watcher)
        if self._ending.is_possible:
            self._history.watch(self._ending)
        self._space_ids: dict[tuple[str, ...], int] = {}
        self._sent_at = 0.0  # monotonic clock: when the latest claim was sent
        self._known_at = -math.inf  # monotonic clock: when the history was last read
        self._patience = 0.0  # seconds until it is read again, if that is more than `FRESH`

    def _load_warm_start(self) -> WarmStart:
        if not self.spec.learn_from:
            return WarmStart()
        with self._database.statement() as connection:
            return WarmStart.from_text(warm_starts.load(connection, self.study.id))

    def refresh(self) -> None:
        """Read what other workers have done since the last time."""
        with self._database.statement() as connection, self._reading():
            self._history.refresh(connection)

    def refresh_if_old(self) -> None:
        """`refresh`, unless that just happened or came with a write."""
        if self._is_old():
            self.refresh()

    def _is_old(self) -> bool:
        return time.monotonic() - self._known_at > max(FRESH, self._patience)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._known_at = time.monotonic()
        self._patience = min((self._known_at - began) / SHARE, STALE)

    def last_step(self, number: int) -> int:
        """Return the last step that the trial has reported, as far as is known; 0 for none."""
        trials = self._history.select([number])
        return max((step for t in trials for step in t.intermediate_values), default=0)

    def params(self, numbers: Sequence[int]) -> dict[int, Mapping[str, ParamValue]]:
        """Return number → parameters, pinned ones included, of the known ones of these trials."""
        selected = self._history.select(numbers)
        return {trial.number: self._proposer.complete(trial.params) for trial in selected}

    # One trial's way

    def claim(
        self, worker_id: uuid.UUID, lease: float, labels: Mapping[str, str] = NO_LABELS
    ) -> ClaimedTrial | None:
        """Take the next trial; None when the study gives none. `lease` is in seconds."""
        claim = self._claim_in_turn if self._proposer.is_small else self._claim
        while True:
            trial = claim(worker_id, lease, labels)
            if trial is None or not self._pause_if_due(trial):
                return trial

    def _claim(
        self, worker_id: uuid.UUID, lease: float, labels: Mapping[str, str]
    ) -> ClaimedTrial | None:
        # otherwise a guess will do
        if self._proposer.reads_history or self.promotes or self._patience <= FRESH:
            self.refresh_if_old()
        expected = self._history.next_number
        proposal: Proposal | None = None
        claimed: Claim | None = None
        if promotable := self.promotions.within_reach(lease):  # these need no draw
            claimed = self._insert(worker_id, lease, labels, None, promotable)
        if claimed is None:
            proposal = self._proposer.propose(expected)
            claimed = self._insert(worker_id, lease, labels, proposal)
        if claimed is None:
            return None
        if claimed.resumed and claimed.params:
            assert claimed.space_id is not None
            stored = self._history.get(claimed.number)
            if stored is None or not stored.params:
                self.refresh()  # enqueued, drawn or interrupted just now
            stored = self._history.get(claimed.number)
            assert stored is not None
            params: Mapping[str, ParamValue] = dict(stored.params)
        elif proposal is None or claimed.resumed or claimed.number != expected:
            if self._proposer.reads_history:
                self.refresh()
            proposal = self._propose_for(claimed)
            self._set_params(claimed, proposal)
            params = proposal.params
        else:
            params = proposal.params
        self.promotions.note_claim(claimed)
        space = self._proposer.distributions(params)
        if not claimed.resumed:  # known before it is read back
            row = new_row(claimed.id, claimed.number, TrialState.RUNNING, internal(params, space))
            self._history.add(row, space)
        return ClaimedTrial(claimed, self._proposer.complete(params), self._sent_at)

    def _claim_in_turn(
        self, worker_id: uuid.UUID, lease: float, labels: Mapping[str, str]
    ) -> ClaimedTrial | None:
        """Claim of a small space, of which no two workers may draw the same configuration.

        The claimer knows all earlier claims, and no one else claims meanwhile. The draw, which may
        take a model's time, is made before that, and repeated only if another worker was faster.
        """
        self.refresh_if_old()
        expected = self._history.next_number
        proposal: Proposal | None = None
        if self.used_up is None:
            proposal = self._proposer.propose(expected)
            self._space_id(proposal.params)  # now: a failed transaction would undo it
        key, promotable = uuid.uuid4(), self.promotions.within_reach(lease)
        self._sent_at = time.monotonic()

        def claim(*, is_repeated: bool) -> tuple[Claim, Mapping[str, ParamValue]] | None:
            with self._database.transaction() as connection:
                claims.take_turn(connection, self.study.id)
                with self._reading():
                    self._history.refresh(connection)
                claimed = is_repeated and claims.find_claim(
                    connection, self.study.id, worker_id=worker_id, key=key
                )
                if not claimed:
                    untried = self._untried(proposal, expected)
                    params = None if untried is None else untried.params
                    claimed = claims.claim(
                        connection,
                        self.study.id,
                        worker_id=worker_id,
                        key=key,
                        lease=lease,
                        labels=labels,
                        space_id=None if params is None else self._ensure(connection, params),
                        params=None if params is None else self._internal(params),
                        origin=None if untried is None else untried.origin,
                        promotable=promotable,
                    )
                    if claimed is None:
                        return None
                    if params is not None and not claimed.resumed:
                        return claimed, params
                    if not claimed.params:  # it was enqueued
                        completed = self._propose_for(claimed)
                        claims.set_params(
                            connection,
                            claimed,
                            space_id=self._ensure(connection, completed.params),
                            params=self._internal(completed.params),
                            origin=completed.origin,
                        )
                        return claimed, completed.params
                stored_trial = self._history.get(claimed.number)
                assert stored_trial is not None
                return claimed, stored_trial.params

        result = self._retried(claim)
        if result is None:
            return None
        claimed, params = result
        self.promotions.note_claim(claimed)
        if not (claimed.resumed and claimed.params):  # known before it is read back
            state, space = TrialState.RUNNING, self._proposer.distributions(params)
            row = new_row(claimed.id, claimed.number, state, self._internal(params))
            self._history.add(row, space)
        return ClaimedTrial(claimed, self._proposer.complete(params), self._sent_at)

    # Pauses and promotions

    @property
    def promotes(self) -> bool:
        """Whether trials pause at their rungs and may go on later."""
        return self._pruner.pauses

    @property
    def known(self) -> Snapshot | None:
        """What the latest reading of other workers' work has seen."""
        return self._history.snapshot

    def _pause_if_due(self, trial: ClaimedTrial) -> bool:
        """Pause a claimed trial that was interrupted at a rung, before it could pause there.

        Its checkpoint may be one of that rung, after which nobody would ask the pruner.
        """
        stored = self._history.get(trial.number)
        is_interrupted = trial.claim.resumed and trial.claim.params and not trial.claim.promoted
        if not (self.promotes and is_interrupted and stored and stored.intermediate_values):
            return False
        step, value = max(stored.intermediate_values.items())
        is_last = step >= (self.spec.last_step or math.inf)
        if is_last or not self._pruner.should_prune(trial.number, step, value):
            return False
        values = [value] if math.isfinite(value) else None
        reason = self._pruner.explain(trial.number, step, value)
        with self._database.statement() as connection:
            self.finish(connection, trial, TrialState.PAUSED, values, message=reason)
        return True

    @property
    def used_up(self) -> str | None:
        """Why nothing is left to draw, as far as is known; None while something is left."""
        return None if self.spec.sampler.repeat else self._proposer.used_up

    def _propose_for(self, claimed: Claim) -> Proposal:
        """Draw what is open of a claimed trial."""
        proposal = self._proposer.propose(claimed.number, claimed.fixed_params)
        if claimed.resumed and claimed.origin is not None:
            return replace(proposal, origin=claimed.origin.completed_by(proposal.origin))
        return proposal

    def _untried(self, proposal: Proposal | None, expected: int) -> Proposal | None:
        """Return the `proposal` for trial `expected`, or a new one if it was tried meanwhile."""
        if self.used_up is not None:
            return None
        number = self._history.next_number
        is_repetition = self._proposer.used_up is not None  # as the study asks
        if (
            proposal is not None
            and number == expected
            and (is_repetition or not self._proposer.is_tried(proposal.params))
        ):
            return proposal
        return self._proposer.propose(number)

    def report(
        self,
        connection: Connection,
        trial: ClaimedTrial,
        reports: Sequence[Report],
        *,
        lease: float,
        flush: bool = False,
    ) -> None:
        """Store reports and renew the lease; LeaseLostError if this worker lost the trial.

        A single statement, as is `finish`.
        """
        results.report(
            connection, trial.claim, reports, lease=lease, flush=flush, execute=self._execution()
        )

    def finish(
        self,
        connection: Connection,
        trial: ClaimedTrial,
        state: TrialState,
        values: Sequence[float] | None = None,
        *,
        reports: Sequence[Report] = (),
        cause: Cause | None = None,
        message: str | None = None,
        log_tail: str | None = None,
        user_attrs: Mapping[str, Any] | None = None,
        constraints: Mapping[str, float] | None = None,
        pruned_after: int | None = None,
    ) -> None:
        """End a trial of this worker and store its last `reports`; finishing twice is no error.

        LeaseLostError if this worker no longer holds it.
        """
        results.finish(
            connection,
            trial.claim,
            state,
            values,
            reports=reports,
            cause=cause,
            message=message,
            log_tail=log_tail,
            user_attrs=user_attrs,
            constraints=constraints,
            pruned_after=pruned_after,
            execute=self._execution(),
        )
        record = self._history.record(trial.number)
        if state is TrialState.PAUSED:
            self._pruner.pause([trial.number])
        # others need their reports as well
        elif record is not None and state is not TrialState.PRUNED:
            row = record.row._replace(
                state=state,
                values=None if values is None else list(values),
                cause=cause,
                finished_at=datetime.now(UTC),  # approximate; the database's clock is read back
                system_attrs=attributes.encode_constraints(constraints or {}),
            )
            self._history.add(row, record.space)

    def should_prune(self, trial: ClaimedTrial, report: Report) -> bool:
        """Take note of a report of this worker's own trial; whether to prune or pause it now."""
        self._pruner.observe(trial.number, *self._measures.of_report(report))
        return self._pruner.should_prune(trial.number, report.step, report.value)

    def explain_pruning(self, trial: ClaimedTrial, report: Report) -> str | None:
        """Return why `should_prune`, called just before with the same arguments, was true."""
        return self._pruner.explain(trial.number, report.step, report.value)

    def drawn(self, trial: ClaimedTrial) -> ClaimedTrial | None:
        """Return a claimed trial once it has parameters, which it has at once here."""
        return trial

    def advance(self, worker_id: uuid.UUID, lease: float) -> None:
        """Go on with proposals that take longer; there are none here."""

    @property
    def is_busy(self) -> bool:
        """Whether trials wait for parameters."""
        return False

    def close(self) -> None:
        """Let go of what the search holds besides the database: nothing here."""

    def reason_to_end(self) -> str | None:
        """Return why the study is over before its budget is used; None if it is not."""
        if self._ending.is_possible:
            self.refresh_if_old()
        return self._ending.reason()

    def _execution(self) -> results.Execute:
        """How to write: polling for other workers' changes too, if the last poll is a while ago."""
        return self._write_and_poll if self._is_old() else results.without_poll

    def _write_and_poll(
        self, connection: Connection, write: str, arguments: Mapping[str, Any]
    ) -> bool:
        with self._reading():
            return self._history.after(connection, write, arguments)

    def _insert(
        self,
        worker_id: uuid.UUID,
        lease: float,
        labels: Mapping[str, str],
        proposal: Proposal | None,
        promotable: Mapping[int, int] = claims.NONE_PROMOTABLE,
        *,
        undrawn: bool = False,
    ) -> Claim | None:
        """Claim a trial: a new one with a proposal or `undrawn`, else only what waits."""
        key = uuid.uuid4()
        new = [] if undrawn else None if proposal is None else self._internal(proposal.params)
        space_id = None if proposal is None else self._space_id(proposal.params)
        self._sent_at = time.monotonic()  # not reset by a retry: the first claim counts

        def insert(*, is_repeated: bool) -> Claim | None:
            with self._database.statement() as connection:
                claimed = is_repeated and claims.find_claim(
                    connection, self.study.id, worker_id=worker_id, key=key
                )
                return claimed or claims.claim(
                    connection,
                    self.study.id,
                    worker_id=worker_id,
                    key=key,
                    lease=lease,
                    labels=labels,
                    space_id=space_id,
                    params=new,
                    origin=None if proposal is None else proposal.origin,
                    promotable=promotable,
                )

        return self._retried(insert)

    @staticmethod
    def _retried(claim: _RepeatableClaim[T_co]) -> T_co:
        """What a claim returns; one whose answer was lost is repeated, for it may have happened."""
        for attempt in range(CLAIM_RETRIES + 1):
            try:
                return claim(is_repeated=attempt > 0)
            except DatabaseUnreachableError:
                if attempt == CLAIM_RETRIES:
                    raise
                time.sleep(CLAIM_BACKOFF * 2**attempt)
        raise AssertionError("unreachable")

    def _internal(self, params: Mapping[str, ParamValue]) -> list[float]:
        return internal(params, self._proposer.distributions(params))

    def _ensure(self, connection: Connection, params: Mapping[str, ParamValue]) -> int:
        """Return the space's id within a transaction, which may be rolled back with it."""
        space_id = self._space_ids.get(tuple(params))
        if space_id is not None:
            return space_id
        distributions = as_json(self._proposer.distributions(params))
        return spaces.ensure(connection, self.study.id, distributions)

    def _set_params(self, claimed: Claim, proposal: Proposal) -> None:
        # asks the database: before the worker's connection is taken
        space_id = self._space_id(proposal.params)
        with self._database.statement() as connection:
            claims.set_params(
                connection,
                claimed,
                space_id=space_id,
                params=self._internal(proposal.params),
                origin=proposal.origin,
            )

    def _space_id(self, params: Mapping[str, ParamValue]) -> int:
        key = tuple(params)
        if key not in self._space_ids:
            with self._database.statement() as connection:
                self._space_ids[key] = spaces.ensure(
                    connection, self.study.id, as_json(self._proposer.distributions(params))
                )
        return self._space_ids[key]
