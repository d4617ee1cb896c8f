"""Random histories of a study against a model: who holds what, what is recorded, what is spent.

The model knows the rules in twenty lines and no SQL. Handles of attempts that are over are kept and
tried again and again: whatever they write must be refused.
"""

import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from tests.support.bench import LEASE, Bench
from tuner.database import claims, leases, results, studies, study_limits, trials
from tuner.database.claims import Claim
from tuner.database.engine import Database
from tuner.errors import LeaseLostError, StudyNotFoundError
from tuner.trials import TRANSITIONS, Cause, Limits, Report, StudyState, TrialState

EPOCHS = 4  # of a trial
ATTEMPTS = {Cause.LOST: 2, Cause.OUT_OF_MEMORY: 2}  # as the study of a Bench has it
WORKERS = [uuid.uuid4() for _ in range(3)]
WAITING, RUNNING, FAILED = TrialState.WAITING, TrialState.RUNNING, TrialState.FAILED


@dataclass
class Modelled:
    """A trial as it should be."""

    state: TrialState = WAITING
    attempt: int = 0
    worker: uuid.UUID | None = None
    reported: int = 0  # epochs
    charged: int | None = None  # of the study's epochs
    value: float | None = None
    ends: list[Cause] = field(default_factory=list)  # of attempts that were followed by another

    def is_held(self, claim: Claim) -> bool:
        return self.state is RUNNING and (self.attempt, self.worker) == (
            claim.attempt,
            claim.worker_id,
        )


class Machine(RuleBasedStateMachine):
    """One study after the other."""

    handles = Bundle("handles")

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        self.values = 0
        self.begin()

    def begin(self) -> None:
        self.limits = Limits(
            max_trials=6, max_epochs=18, max_seconds=1e6, trial_epochs=EPOCHS, max_concurrent=3
        )
        self.bench = Bench(
            self.database, uuid.uuid4().hex, **{f: getattr(self.limits, f) for f in LIMITS}
        )
        self.state = StudyState.ACTIVE
        self.issued = 0
        self.model: dict[int, Modelled] = {}

    def teardown(self) -> None:
        with self.database.transaction() as connection:
            connection.execute(text("DELETE FROM tuner.studies"))

    # What should happen

    def next_trial(self) -> tuple[int, Modelled] | None:
        """Whom a claim takes: number and trial, None if nobody."""
        waiting = [(n, t) for n, t in self.model.items() if t.state is WAITING]
        waiting.sort(key=lambda e: (e[1].attempt == 0, -(e[1].charged or 0), e[0]))
        number, trial = waiting[0] if waiting else (len(self.model), Modelled())
        limits, most = self.limits, self.limits.max_concurrent
        assert limits.max_trials is not None
        units = 0 if trial.attempt else 1
        epochs = EPOCHS - (trial.charged or 0)
        if (
            self.state is not StudyState.ACTIVE
            or self.issued + units > limits.max_trials
            or (limits.max_epochs is not None and self.spent() + epochs > limits.max_epochs)
            or (most is not None and self.running() >= most)
        ):
            return None
        return number, trial

    def spent(self) -> int:
        return sum(t.charged or 0 for t in self.model.values())

    def running(self) -> int:
        return sum(t.state is RUNNING for t in self.model.values())

    def begins(self, number: int, trial: Modelled, worker: uuid.UUID) -> None:
        self.move(trial, RUNNING)
        self.model[number] = trial
        self.issued += 0 if trial.attempt else 1
        trial.attempt += 1
        trial.worker = worker
        trial.charged = EPOCHS if self.limits.max_epochs is not None else None

    def ends(self, trial: Modelled, state: TrialState) -> None:
        self.move(trial, state)
        if trial.charged is not None:
            trial.charged = min(trial.charged, trial.reported)

    def interrupted(self, trial: Modelled, cause: Cause) -> TrialState:
        if cause in ATTEMPTS and trial.ends.count(cause) + 1 >= ATTEMPTS[cause]:
            self.ends(trial, FAILED)
            trial.ends.append(cause)  # archived when it is tried again
        else:
            self.move(trial, WAITING)
            trial.ends.append(cause)
        return trial.state

    def move(self, trial: Modelled, state: TrialState) -> None:
        assert state in TRANSITIONS[trial.state]
        trial.state = state

    # Rules

    @rule()
    def enqueue(self) -> None:
        number = self.bench.do(trials.enqueue, self.bench.id, {"x": 0.5})
        assert number == len(self.model)
        self.model[number] = Modelled()

    @rule(target=handles, worker=st.sampled_from(WORKERS), answered=st.booleans())
    def claim(self, worker: uuid.UUID, answered: bool) -> Any:
        """With `answered` false the answer is lost, and asked for again by the claim's key."""
        key = uuid.uuid4()
        claim = self.bench.try_claim(worker=worker, key=key)
        if not answered:
            repeated = self.bench.do(claims.find_claim, self.bench.id, worker_id=worker, key=key)
            assert (repeated is None) == (claim is None)
            claim = repeated
        expected = self.next_trial()
        if expected is None:
            assert claim is None
            return multiple()
        assert claim is not None
        number, trial = expected
        assert (claim.number, claim.attempt) == (number, trial.attempt + 1)
        assert claim.exclusive == (Cause.OUT_OF_MEMORY in trial.ends)
        self.begins(number, trial, worker)
        return claim

    @rule(worker=st.sampled_from(WORKERS))
    def claim_and_crash_before_the_commit(self, worker: uuid.UUID) -> None:
        with self.database.engine.connect() as connection:
            claims.claim(
                connection, self.bench.id, worker_id=worker, key=uuid.uuid4(), lease=LEASE,
                space_id=self.bench.space, params=[0.5],
            )  # fmt: skip
            connection.rollback()

    @rule(claim=handles, step=st.integers(1, EPOCHS))
    def report(self, claim: Claim, step: int) -> None:
        trial = self.of(claim)
        if trial is not None and trial.is_held(claim):
            self.bench.do(results.report, claim, [Report(step, 0.5)], lease=LEASE)
            trial.reported = max(trial.reported, step)
        else:
            with pytest.raises(LeaseLostError):
                self.bench.do(results.report, claim, [Report(step, 9.9)], lease=LEASE)

    @rule(claim=handles)
    def renew(self, claim: Claim) -> None:
        trial = self.of(claim)
        still = self.bench.do(leases.renew, [claim.id], worker_id=claim.worker_id, lease=LEASE)
        mine = trial is not None and trial.state is RUNNING and trial.worker == claim.worker_id
        assert {id_: attempt for id_, (attempt, _) in still.items()} == (
            {claim.id: trial.attempt} if mine and trial is not None else {}
        )

    @rule(claim=handles, state=st.sampled_from(sorted(TrialState)), times=st.integers(1, 2))
    def finish(self, claim: Claim, state: TrialState, times: int) -> None:
        if not state.is_finished:
            return
        self.values += 1
        trial = self.of(claim)
        more: dict[str, Any] = {"cause": Cause.USER_ERROR} if state is FAILED else {}
        value = None if state is FAILED else float(self.values)
        values = None if value is None else [value]
        if trial is not None and trial.is_held(claim):
            for _ in range(times):  # the answer to the first was lost
                self.bench.do(results.finish, claim, state, values, **more)
            self.ends(trial, state)
            trial.value = value
        elif trial is not None and (trial.state, trial.attempt, trial.worker) == (
            state, claim.attempt, claim.worker_id,
        ):  # fmt: skip
            self.bench.do(results.finish, claim, state, values, **more)  # known already: not again
        else:
            with pytest.raises(LeaseLostError):
                self.bench.do(results.finish, claim, state, values, **more)

    @rule(claim=handles)
    def finish_and_crash_before_the_commit(self, claim: Claim) -> None:
        trial = self.of(claim)
        if trial is not None and trial.is_held(claim):
            with self.database.engine.connect() as connection:
                results.finish(connection, claim, TrialState.COMPLETE, [1.0])
                connection.rollback()

    @rule(
        claim=handles,
        cause=st.sampled_from([Cause.PREEMPTED, Cause.LOST, Cause.OUT_OF_MEMORY]),
    )
    def requeue(self, claim: Claim, cause: Cause) -> None:
        trial = self.of(claim)
        is_held = trial is not None and trial.is_held(claim)
        state = self.bench.do(leases.requeue, claim, cause)
        assert state == (self.interrupted(trial, cause) if is_held and trial else None)

    @rule(claim=handles)
    def expire(self, claim: Claim) -> None:
        """The lease of whoever has the trial now ends."""
        trial = self.of(claim)
        with self.database.transaction() as connection:
            connection.execute(
                text(
                    "UPDATE tuner.trials SET lease_until = clock_timestamp() - interval '1 s' "
                    "WHERE id = :id AND state = 'running'"
                ),
                {"id": claim.id},
            )
        reaped = self.bench.do(leases.reap)
        if trial is not None and trial.state is RUNNING:
            state = self.interrupted(trial, Cause.LOST)
            assert reaped == [(self.bench.id, claim.number, state)]
        else:
            assert reaped == []

    @rule()
    def retry(self) -> None:
        failed = [n for n, t in self.model.items() if t.state is FAILED]
        assert self.bench.do(trials.retry, self.bench.id) == failed
        for number in failed:
            self.move(self.model[number], WAITING)
            self.model[number].value = None

    @rule(state=st.sampled_from([StudyState.PAUSED, StudyState.ACTIVE, StudyState.STOPPED]))
    def steer(self, state: StudyState) -> None:
        self.bench.do(studies.set_state, self.bench.id, state, allowed=list(StudyState))
        self.state = state

    @rule(
        more_trials=st.integers(0, 3),
        epochs=st.none() | st.integers(EPOCHS, 40),
        concurrent=st.none() | st.integers(1, 4),
    )
    def change(self, more_trials: int, epochs: int | None, concurrent: int | None) -> None:
        limits = Limits(
            max_trials=4 + more_trials, max_epochs=epochs, max_seconds=1e6, trial_epochs=EPOCHS,
            max_concurrent=concurrent,
        )  # fmt: skip
        with self.database.transaction() as connection:
            study_limits.set_limits(connection, self.bench.id, limits, SPEC)
        for trial in self.model.values():
            if epochs is None:
                trial.charged = None
            elif trial.charged is None:
                is_open = trial.state is RUNNING or (trial.state is WAITING and trial.attempt > 0)
                trial.charged = EPOCHS if is_open else trial.reported
        self.limits = Limits(
            max_trials=max(4 + more_trials, self.issued),
            max_epochs=None if epochs is None else max(epochs, self.spent()),
            max_seconds=1e6,
            trial_epochs=EPOCHS,
            max_concurrent=concurrent,
        )

    @rule(claim=consumes(handles))
    def forget(self, claim: Claim) -> None:
        """A worker that dies and never comes back: its lease ends later."""

    @rule(really=st.integers(0, 9))
    def delete(self, really: int) -> None:
        if really != 9:  # seldom
            return
        deleted = self.bench.id
        self.bench.do(studies.delete, deleted)
        with pytest.raises(StudyNotFoundError):
            self.bench.do(studies.by_id, deleted)
        self.begin()

    def of(self, claim: Claim) -> Modelled | None:
        """The trial of a handle; None if its study was deleted."""
        return self.model[claim.number] if claim.study_id == self.bench.id else None

    # What is always true

    @invariant()
    def everything_is_as_modelled(self) -> None:
        with self.database.statement() as connection:
            rows = connection.execute(
                text(
                    "SELECT number, state, attempt, worker_id, epochs, objective_values, seconds, "
                    "extract(epoch FROM paid_until - started_at) AS paid, "
                    "system_attrs ? 'constraints:memory' AS infeasible, cause, "
                    "(SELECT coalesce(max(step), 0) FROM tuner.reports WHERE trial_id = t.id) "
                    "AS reported, "
                    "(SELECT array_agg(cause ORDER BY attempt) FROM tuner.attempts "
                    "WHERE trial_id = t.id) AS ends "
                    "FROM tuner.trials t WHERE study_id = :id ORDER BY number"
                ),
                {"id": self.bench.id},
            ).all()
        assert [row.number for row in rows] == list(range(len(self.model)))
        for row in rows:
            trial = self.model[row.number]
            assert (row.state, row.attempt, row.reported) == (
                trial.state, trial.attempt, trial.reported,
            )  # fmt: skip
            assert (row.epochs or 0) == (trial.charged or 0)
            assert (row.objective_values or [None]) == [trial.value]
            assert row.infeasible == (row.state == FAILED and row.cause == Cause.OUT_OF_MEMORY)
            if row.state == RUNNING:
                assert row.worker_id == trial.worker
        study = self.bench.study()
        assert study.issued == self.issued == sum(t.attempt > 0 for t in self.model.values())
        if self.limits.max_epochs is not None:
            assert study.epochs_issued == self.spent() <= study.max_epochs
        seconds = sum(
            row.seconds + (float(row.paid) if row.state == RUNNING else 0.0) for row in rows
        )
        assert study.seconds_issued == pytest.approx(seconds, abs=1e-3)


LIMITS = ("max_trials", "max_epochs", "max_seconds", "trial_epochs", "max_concurrent")
SPEC = {"resources": {"max_attempts": ATTEMPTS[Cause.LOST]}, "budget": {"max_failures": 3}}


def test_any_history_ends_as_the_model_says(database: Database) -> None:
    run_state_machine_as_test(
        lambda: Machine(database),
        settings=settings(
            max_examples=10,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
