"""The worker: claims trials, hands them to executors, stores what they report.

One thread, one event loop: it waits for messages, deaths of executors, signals and its own timers.
Nothing here trains, and torch is never imported. A worker may be killed at any instant: its
executors die with it, its leases end, and another worker takes over its trials.
"""

import contextlib
import logging
import math
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tuner import __version__, artifacts
from tuner.data import evict
from tuner.database import devices, hints, leases, results, serving, studies, workers
from tuner.database.engine import Database
from tuner.errors import DatabaseUnreachableError, StudyNotFoundError
from tuner.logs import log_context
from tuner.search.claim import ClaimedTrial, Search
from tuner.settings import Settings
from tuner.study_file.code import OWN
from tuner.study_file.seeds import trial_seed
from tuner.training.cohort import Cohort, Decision, Task
from tuner.trials import (
    COLD_START,
    COSTS,
    NO_LABELS,
    PEAK_MEMORY,
    SEED,
    Cause,
    Report,
    StudyState,
    TrialState,
)
from tuner.worker import journal
from tuner.worker.admission import Admission
from tuner.worker.consent import Consent
from tuner.worker.deadlines import Deadline, Limit
from tuner.worker.devices import Slot
from tuner.worker.devices.sampling import Sampler
from tuner.worker.executors import Executor
from tuner.worker.messages import (
    Decided,
    Diverged,
    Done,
    Failed,
    Finished,
    FromExecutor,
    Ready,
    Reported,
    Train,
)
from tuner.worker.outbox import Outbox
from tuner.worker.pool import Pool

POLL = 1.0  # seconds between looks at the studies' states and for new work
LISTENING_POLL = 5.0  # between looks at the studies' states while hints say when to look
SAMPLE_PERIOD = 10.0  # seconds between samples of the devices
FORGET_PERIOD = 3_600.0  # seconds between looks for samples that are too old
CACHE_PERIOD = 600.0  # seconds between looks for prepared data that is too much
PEAKS_PERIOD = 30.0  # seconds between looks at what the trials of other workers have taken
HINT_PERIOD = 0.25  # seconds between hints that trials have changed
SLACK = 0.001  # seconds by which rounding may shorten a lease
HOLD = 0.9  # of a lease: then the executor is killed, for it takes a moment to wake and to do it
STOP = 0.75  # of a study's last seconds: then the trial is told to write its checkpoint
LOST_GRACE = 2.0  # seconds that an executor may take to leave a trial that is somebody else's

_log = logging.getLogger(__name__)


class Worker:
    """One worker process with its executors."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        slots: Sequence[Slot],
        *,
        only: Sequence[str] = (),
        labels: Mapping[str, str] = NO_LABELS,
        until_done: bool = False,
        allow_code: bool = False,
    ) -> None:
        """Serve the studies named in `only` (all active ones if empty) that want these labels.

        `until_done`: return when none of them is active any more. `allow_code`: also those that
        bring code of their own.
        """
        self.id = uuid.uuid4()
        self._database = hints.ListeningDatabase(database, hints.WORK, listen=settings.listen)
        self._settings = settings
        self._slots = slots
        self._only = frozenset(only)
        self._labels = labels
        self._until_done = until_done
        self._consent = Consent(allow_code=allow_code)
        self._outbox = Outbox(self._database, keep=settings.lease_seconds)
        # behind a pooler the connection outlives a crash of the server, so nothing is repeated
        self._how_to_report: dict[str, Any] = {
            "lease": settings.lease_seconds,
            "flush": not settings.listen,
        }
        self._searches: dict[int, Search] = {}  # of active studies
        self._weights = artifacts.KeptWeights()
        self._pool = Pool(self._handle, self._on_death)
        self._admission = Admission(slots)
        self._sampler = Sampler(slots)
        self._is_dry = True  # the last claim gave nothing
        self._failing: set[int] = set()  # studies of which trials have failed just now
        self._changed: set[int] = set()  # studies with changes that nobody was told of yet
        self._next = {"hint": 0.0}  # timer → when it is due, monotonic clock
        self._stop_by: float | None = None  # draining: when executors are killed
        self._nothing_active = False
        self.drained = False  # whether it was asked to stop
        self.on_drain: Callable[[], None] = lambda: None

    # The loop

    def run(self) -> None:
        """Work until stopped by SIGTERM, SIGINT or SIGHUP, or until done."""
        host, pid = socket.gethostname(), os.getpid()
        with (
            log_context(worker=f"{host}:{pid}"),
            self._pool.deadlines,
            self._pool.signals(self.drain),
        ):
            try:
                while not self._register(host, pid) and self._stop_by is None:
                    self._pool.wait(POLL)
                self._unless_unreachable(self._look_at_studies)
                for slot in self._slots:
                    if not slot.spare:
                        self._pool.start(slot)
                while not self._is_over():
                    self._tick()
                    self._pool.wait(self._until_next_timer(), self._database.fileno())
            finally:
                self._shut_down()

    @property
    def signal(self) -> int | None:
        """The signal that it was asked to stop by; None where it was not, or by somebody."""
        return self._pool.signal

    def _register(self, host: str, pid: int) -> bool:
        """Tell who works here; False where the database, which answered before, does not."""
        try:
            with self._database.transaction() as connection:
                workers.register(
                    connection,
                    self.id,
                    host=host,
                    pid=pid,
                    slots=sum(not slot.spare for slot in self._slots),
                    devices=[slot.name for slot in self._slots if not slot.spare],
                    version=__version__,
                    labels=self._labels,
                )
                devices.register(connection, self.id, self._sampler.devices())
        except DatabaseUnreachableError as error:
            _log.warning("%s", error)
            return False
        self._database.is_patient = True  # it has let us in: a password may be changed meanwhile
        return True

    def drain(self) -> None:
        """Stop: no new claims; running trials finish or go back to the queue within a grace time.

        A second call does not wait.
        """
        if self._stop_by is None:
            self.drained = self._pool.closing = True
            self.on_drain()
            self._stop_by = time.monotonic() + self._settings.drain_grace
            for executor in self._pool.executors:
                executor.stopping = True
        else:
            self._stop_by = time.monotonic()

    def _is_over(self) -> bool:
        busy = any(executor.study_id is not None for executor in self._pool.executors)
        if self._stop_by is not None:
            return not busy or time.monotonic() >= self._stop_by
        return self._until_done and self._nothing_active and not busy and not self._outbox

    def _tick(self) -> None:
        listens = self._database.fileno() is not None
        if self._database.read_hints():  # a trial of ours may have been killed, too
            self._next["studies"] = self._next["claim"] = self._next["renew"] = 0.0
        for name, period, action in (
            ("studies", LISTENING_POLL if listens else POLL, self._look_at_studies),
            ("peaks", PEAKS_PERIOD, self._look_at_peaks),
            ("sample", SAMPLE_PERIOD, self._sample),
            ("forget", FORGET_PERIOD, self._forget),
            ("cache", CACHE_PERIOD, self._evict),
            ("renew", self._settings.lease_seconds / 3, self._renew),
            ("reap", self._settings.lease_seconds / 2, self._reap),
        ):
            if time.monotonic() >= self._next.get(name, 0.0):
                self._next[name] = time.monotonic() + period
                self._unless_unreachable(action)
        self._outbox.deliver()
        if self._failing and not self._outbox:  # what waits there has not failed yet
            self._unless_unreachable(self._pause_failing)
        if self._changed and time.monotonic() >= self._next.get("hint", 0.0):
            self._next["hint"] = time.monotonic() + HINT_PERIOD
            self._unless_unreachable(self._hint)
        for executor in list(self._pool.executors):  # a worn one is replaced
            if executor.waiting is not None:
                self._start_if_it_fits(executor)
        for executor in self._pool.executors:
            if executor.stop_at is not None and time.monotonic() >= executor.stop_at:
                executor.stopping = True
            executor.tell_to_stop(self._settings.drain_grace)
        if self._stop_by is None:
            for executor in self._pool.executors:
                if self._may_claim(executor) and time.monotonic() >= self._next.get("claim", 0.0):
                    self._unless_unreachable(partial(self._claim_for, executor))
            self._fit_executors()

    def _until_next_timer(self) -> float:
        if self._is_over():
            return 0.0
        if self._stop_by is not None:
            return 0.2
        # nobody waits for the time of the next claim while every executor is busy
        idle = any(self._may_claim(executor) for executor in self._pool.executors)
        waited_for = {"claim": idle, "hint": bool(self._changed)}
        due = [at for name, at in self._next.items() if waited_for.get(name, True)]
        due += [
            executor.stop_at
            for executor in self._pool.executors
            if executor.stop_at is not None and not executor.stopping
        ]
        return max(0.0, min(min(due) - time.monotonic(), self._outbox.pause()))

    def _unless_unreachable(self, action: Callable[[], None]) -> None:
        try:
            action()
        except DatabaseUnreachableError as error:
            _log.warning("%s", error)
            self._next["claim"] = time.monotonic() + POLL
            # whoever was cut off as well gets the time to renew what is still his
            self._next["reap"] = time.monotonic() + self._settings.lease_seconds

    # Timers

    def _look_at_studies(self) -> None:
        with self._database.statement() as connection:
            if workers.record_heartbeat(connection, self.id) and self._stop_by is None:
                self.drain()
            active = {
                study.id: study
                for study in serving.active(connection, labels=self._labels)
                if (not self._only or study.name in self._only) and self._consent.allows(study)
            }
        for study_id in self._searches.keys() - active.keys():
            self._end_search(study_id)
        for study_id, study in active.items():
            known = self._searches.get(study_id)
            if known is None or known.study.revision != study.revision:
                self._begin_search(study_id)
        self._nothing_active = not active
        self._pool.warm = not active or any(study.family not in OWN for study in active.values())
        self._finish_studies()

    def _begin_search(self, study_id: int) -> None:
        """A study is new here, or its limits have changed."""
        with self._database.statement() as connection:
            try:
                study = studies.by_id(connection, study_id)
            except StudyNotFoundError:  # deleted just now
                return
        spec = self._consent.reads(study, is_wanted=study.name in self._only)
        if spec is not None and self._consent.finds(study, spec.code):
            self._searches[study_id] = Search(self._database, study, spec)
            self._next["claim"] = self._next["peaks"] = 0.0

    def _end_search(self, study_id: int) -> None:
        """A study is not active any more: its trials stop unless it ended on its own."""
        del self._searches[study_id]
        with self._database.statement() as connection:
            try:
                ended = studies.by_id(connection, study_id).state is StudyState.FINISHED
            except StudyNotFoundError:
                ended = False
        if not ended:
            for executor in self._pool.executors:
                if executor.study_id == study_id:
                    executor.stopping = True

    def _look_at_peaks(self) -> None:
        for study_id, search in self._searches.items():
            with self._database.statement() as connection:
                peaks = devices.peaks(connection, study_id)
            search.refresh_if_old()
            for number, params in search.params(list(peaks)).items():
                self._admission.learn(search, params, *peaks[number])

    def _sample(self) -> None:
        with self._database.statement() as connection:
            devices.store(connection, self.id, self._sampler.samples())

    def _forget(self) -> None:
        with self._database.statement() as connection:
            devices.forget(connection)

    def _evict(self) -> None:
        for removed in evict(self._settings.data_cache, self._settings.cache_bytes):
            _log.info("%s: removed from the cache, which was too large", removed.name)

    def _renew(self) -> None:
        held = [
            trial.claim for executor in self._pool.executors for trial in executor.held.values()
        ]
        if not held:
            return
        sent_at = time.monotonic()
        with self._database.statement() as connection:
            still = leases.renew(
                connection,
                [claimed.id for claimed in held],
                worker_id=self.id,
                lease=self._settings.lease_seconds,
            )
        for executor in self._pool.executors:
            for trial in list(executor.held.values()):
                attempt, paid = still.get(trial.claim.id, (None, None))
                if attempt != trial.claim.attempt:
                    self._lost(executor, trial)
                    continue
                self._hold(executor, sent_at, paid)

    def _hint(self) -> None:
        with self._database.statement() as connection:
            hints.send(connection, hints.TRIALS, self._changed)
        self._changed.clear()

    def _reap(self) -> None:
        with self._database.statement() as connection:
            reaped = leases.reap(connection)
        for study_id, number, state in reaped:
            with log_context(study=study_id, trial=number):
                _log.warning("its lease ended; it is %s", state)
        self._failing.update(id_ for id_, _, state in reaped if state is TrialState.FAILED)

    # Deadlines

    def _hold(self, executor: Executor, sent_at: float, paid: float | None) -> None:
        """Its trial's lease counts from the moment when the claim or renewal was sent."""
        self._until(
            executor,
            Limit.LEASE,
            sent_at + HOLD * self._settings.lease_seconds,
            Cause.PREEMPTED,
            "the lease could not be renewed in time",
        )
        executor.stop_at = None
        if paid is not None:
            if paid < self._settings.lease_seconds - SLACK:  # the study's seconds are given out
                executor.stop_at = sent_at + STOP * paid
            until = sent_at + HOLD * paid
            self._until(
                executor,
                Limit.SECONDS,
                until,
                Cause.PREEMPTED,
                "the study's GPU seconds are used up",
            )

    def _heard(self, executor: Executor) -> None:
        """It has begun or sent something: it may be silent again for so long."""
        seconds = executor.resources.silence_seconds
        if seconds is not None and executor.study_id is not None:
            said = f"there was no report for {seconds:g} s (resources.silence_seconds)"
            until = time.monotonic() + seconds
            self._until(executor, Limit.SILENCE, until, Cause.TIMEOUT, said)

    def _until(
        self, executor: Executor, limit: Limit, at: float, cause: Cause, message: str
    ) -> None:
        self._pool.deadlines.set(executor.leash, limit, Deadline(at, cause, message))

    # Executors

    def _on_death(self, executor: Executor, message: str) -> None:
        """Its trials go back to the queue, unless they have had their time."""
        killed = executor.killed
        for trial in list(executor.held.values()):
            if killed is None:
                cause = Cause.PREEMPTED if executor.stopping else Cause.LOST
                self._requeue(executor, trial, cause, message)
            elif killed.cause is Cause.TIMEOUT:
                self._on_failed(executor, trial.number, Cause.TIMEOUT, killed.message)
            else:
                self._requeue(executor, trial, killed.cause, killed.message)

    def _handle(self, executor: Executor, message: FromExecutor) -> None:
        self._heard(executor)
        match message:
            case Ready():
                pass  # the next round claims for it
            case Reported():
                self._on_reports(executor, message)
            case Finished():
                self._on_finished(executor, message)
            case Diverged():
                self._on_failed(executor, message.number, Cause.DIVERGED, message.message)
            case Failed():
                for number in list(executor.held):
                    self._on_failed(executor, number, message.cause, message.message)
            case Done():
                self._on_done(executor, message)

    def _fit_executors(self) -> None:
        """As many executors on a GPU as the active studies have use for."""
        searches = list(self._searches.values())
        for executor in self._admission.superfluous(self._pool.executors, searches):
            self._pool.end(executor)
        slot = self._admission.missing(self._pool.executors, searches)
        if slot is not None:
            self._pool.start(slot)

    # One trial's way

    def _may_claim(self, executor: Executor) -> bool:
        return executor.is_idle and any(
            self._admission.has_room(executor, search.spec.resources, self._pool.executors)
            for search in self._searches.values()
        )

    def _claim_for(self, executor: Executor) -> None:
        for study_id in self._in_turn():
            search = self._searches[study_id]
            resources = search.spec.resources
            if not self._admission.has_room(executor, resources, self._pool.executors):
                continue
            if search.reason_to_end() is not None:
                continue
            trial = search.claim(self.id, self._settings.lease_seconds, self._labels)
            if trial is not None:
                self._is_dry = False
                self._train(executor, search, trial)
                return
        self._is_dry = True
        self._next["claim"] = time.monotonic() + POLL
        self._finish_studies()

    def _in_turn(self) -> list[int]:
        """The studies that may have a trial to give; a single one that did just now is not asked.

        In one statement however many they are: a worker without work asks once a poll.
        """
        ids = list(self._searches)
        if not ids or (len(ids) == 1 and not self._is_dry):
            return ids
        lease = self._settings.lease_seconds
        with self._database.statement() as connection:
            return serving.in_turn(connection, ids, labels=self._labels, lease=lease)

    def _finish_studies(self) -> None:
        """End what is over."""
        if not self._searches:
            return
        reasons = {id_: search.reason_to_end() for id_, search in self._searches.items()}
        with self._database.statement() as connection:
            ended = serving.finish_if_done(
                connection,
                [id_ for id_, reason in reasons.items() if reason is None],
                lease=self._settings.lease_seconds,
            )
            for study_id, reason in reasons.items():
                if reason is not None and studies.set_state(
                    connection,
                    study_id,
                    StudyState.FINISHED,
                    allowed=[StudyState.ACTIVE],
                    reason=reason,
                ):
                    ended.append(study_id)
            for study_id, search in self._searches.items():
                used_up = search.used_up
                if used_up is not None and serving.finish_if_idle(connection, study_id, used_up):
                    ended.append(study_id)
        if ended:
            self._next["studies"] = 0.0

    def _train(self, executor: Executor, search: Search, trial: ClaimedTrial) -> None:
        spec, study = search.spec, search.study
        self._changed.add(study.id)
        folders = self._folders(trial)
        executor.study_id = study.id
        executor.resources = spec.resources
        executor.others = spec.objective.metrics[1:]
        executor.threads = spec.resources.threads or self._admission.threads(
            executor, self._pool.executors
        )
        executor.bound = self._admission.bound(search, trial, executor.slot)
        executor.alone = trial.claim.exclusive
        executor.held = {trial.number: trial}
        executor.folders = {trial.number: folders[0]}
        executor.earlier = {trial.number: folders[1:]}
        executor.waiting = Train(
            Cohort(
                study=study.name,
                family=spec.family,
                data=None if spec.data is None else spec.data.model_dump(mode="json"),
                fingerprint=study.data_fingerprint or "",
                metric=spec.objective.metric,
                direction=study.direction,
                epochs=spec.budget.epochs or 0,
                early_stop=spec.training.early_stop,
                precision=spec.training.precision,
                device=executor.slot.device,
                threads=executor.threads,
                cache=self._settings.data_cache,
                tasks=(
                    Task(
                        number=trial.number,
                        attempt=trial.claim.attempt,
                        params=trial.params,
                        seed=(
                            trial_seed(spec, trial.number)
                            if trial.claim.seed is None
                            else trial.claim.seed
                        ),
                        folder=folders[0],
                        earlier=tuple(folders[1:]),
                    ),
                ),
                code=spec.code,
                checkpoints=spec.checkpoints,
                others=spec.objective.metrics[1:],
            )
        )
        self._hold(executor, trial.sent_at, trial.claim.paid)
        self._start_if_it_fits(executor)

    def _folders(self, trial: ClaimedTrial) -> list[Path]:
        """The folders of the trial's attempts, the latest first."""
        return [
            artifacts.attempt_folder(self._settings, trial.claim.study_id, trial.number, attempt)
            for attempt in range(trial.claim.attempt, 0, -1)
        ]

    def _start_if_it_fits(self, executor: Executor) -> None:
        if executor.stopping or not executor.held:  # there is nothing to wait for any more
            executor.waiting = None
            self._on_done(executor, Done(executor.taken))
        elif executor.waiting and self._admission.may_start(executor, self._pool.executors):
            executor.send(executor.waiting)
            executor.waiting = None
            self._heard(executor)
            seconds = executor.resources.timeout_seconds
            if seconds is not None:
                said = f"it took longer than {seconds:g} s (resources.timeout_seconds)"
                until = time.monotonic() + seconds
                self._until(executor, Limit.ATTEMPT, until, Cause.TIMEOUT, said)

    def _on_reports(self, executor: Executor, message: Reported) -> None:
        decisions = {
            number: self._decide(executor, number, report)
            for number, report in message.reports.items()
        }
        executor.taken = message.peak
        for number, report in message.reports.items():
            # before the answer, and of a lost trial too: a checkpoint may follow, which the next
            # attempt finds
            if number in executor.folders:
                journal.note(executor.folders[number], report)
        executor.send(Decided(decisions))  # first: training goes on while the reports are stored
        for number, report in message.reports.items():
            trial = executor.held.get(number)
            if trial is None:
                continue
            self._store_missing(executor, trial)
            search = self._searches.get(trial.claim.study_id)
            write = (
                partial(results.report, claim=trial.claim, **self._how_to_report)
                if search is None  # the study has ended
                else partial(search.report, trial=trial, **self._how_to_report)
            )
            self._outbox.report(trial.claim.id, report, write, *self._told(executor, trial))
            if decisions[number] is Decision.PRUNE:
                executor.held.pop(number, None)
                values = [report.value] if math.isfinite(report.value) else None
                attrs = self._attrs(executor, trial, report.metrics, message.peak)
                self._finish(executor, trial, TrialState.PRUNED, values=values, user_attrs=attrs)

    def _store_missing(self, executor: Executor, trial: ClaimedTrial) -> None:
        """At an attempt's first word: store what those before it reported and the database lacks.

        Not earlier. It has chosen its checkpoint by then, and whoever wrote that had noted its
        reports before: also an executor that had lost the trial and was still alive.
        """
        reports = journal.noted(executor.earlier.pop(trial.number, ()))
        if reports:
            missing = partial(
                results.report_missing, claim=trial.claim, reports=reports, **self._how_to_report
            )
            self._outbox.put(
                trial.claim.id, missing, *self._told(executor, trial), is_asynchronous=True
            )

    def _decide(self, executor: Executor, number: int, report: Report) -> Decision:
        trial = executor.held.get(number)
        if trial is None:
            return Decision.STOP
        search = self._searches.get(trial.claim.study_id)
        if search is not None and report.step >= (search.spec.budget.epochs or math.inf):
            return Decision.GO_ON  # it finishes now
        if executor.stopping:
            return Decision.STOP
        if search is None:
            return Decision.GO_ON
        return Decision.PRUNE if search.should_prune(trial, report) else Decision.GO_ON

    def _on_finished(self, executor: Executor, message: Finished) -> None:
        trial = executor.held.get(message.number)
        if trial is None:
            return
        attrs = self._attrs(executor, trial, message.measured, message.peak)
        measured = {**message.measured, **{name: attrs[name] for name in COSTS if name in attrs}}
        values = [message.value]
        for name in executor.others:
            value = measured.get(name)
            if value is None or not math.isfinite(value):
                cause = Cause.USER_ERROR if value is None else Cause.DIVERGED
                self._on_failed(executor, trial.number, cause, _no_value(name, value))
                return
            values.append(value)
        self._store_missing(executor, trial)
        del executor.held[trial.number]
        search = self._searches.get(trial.claim.study_id)
        self._finish(executor, trial, TrialState.COMPLETE, values=values, user_attrs=attrs)
        if search is not None:
            self._weights.add(
                search.study.id,
                search.study.directions,
                values,
                executor.folders[message.number],
            )

    def _attrs(
        self, executor: Executor, trial: ClaimedTrial, measured: Mapping[str, float], peak: int
    ) -> dict[str, Any]:
        """On what a trial ran, what it took of it and what else it costs."""
        device = executor.slot.name
        search = self._searches.get(trial.claim.study_id)
        if search is not None:
            self._admission.learn(search, trial.params, device, peak)
        taken = {"peak_bytes": peak} if peak else {}  # a command's is not known
        costs: dict[str, Any] = {name: measured[name] for name in COSTS if name in measured}
        if peak:
            costs.setdefault(PEAK_MEMORY, peak / 2**20)
        if executor.is_new_to(trial.claim.study_id):
            costs[COLD_START] = True
        if trial.claim.seed is not None:
            costs[SEED] = trial.claim.seed
        return {"device": device, "threads": executor.threads, **taken, **costs}

    def _on_failed(self, executor: Executor, number: int, cause: Cause, message: str) -> None:
        trial = executor.held.pop(number, None)
        if trial is None:
            return
        if cause is Cause.OUT_OF_MEMORY:
            executor.is_worn = True
            self._requeue(executor, trial, cause, message)  # the database knows whether again
            return
        self._store_missing(executor, trial)
        self._finish(
            executor,
            trial,
            TrialState.FAILED,
            cause=cause,
            message=message,
            log_tail=executor.log_tail(number),
        )
        self._failing.add(trial.claim.study_id)

    def _pause_failing(self) -> None:
        """After trials have failed: enough in a row from one cause pause their study."""
        with self._database.statement() as connection:
            if serving.pause_if_failing(connection, list(self._failing)):
                self._next["studies"] = 0.0
        self._failing.clear()

    def _on_done(self, executor: Executor, message: Done) -> None:
        for trial in list(executor.held.values()):
            if executor.stopping:
                self._requeue(executor, trial, Cause.PREEMPTED, "the study or worker was stopped")
            else:
                said = "the family ended without a result"
                self._on_failed(executor, trial.number, Cause.USER_ERROR, said)
        assert executor.study_id is not None
        executor.count_cohort(executor.study_id, message.held)
        executor.is_worn |= message.worn
        executor.study_id = None
        executor.stop_at = None
        executor.held = {}
        self._pool.deadlines.clear(executor.leash)
        executor.stopping = self._stop_by is not None
        self._next["claim"] = 0.0  # that was the study's last one, or it has made room
        if executor.is_worn and self._stop_by is None:
            _log.info("an executor is replaced after %d cohorts", executor.cohorts)
            self._pool.replace(executor)

    def _lost(self, executor: Executor, trial: ClaimedTrial) -> None:
        """Somebody else has the trial: the executor leaves it, or is killed soon."""
        with log_context(study=trial.claim.study_id, trial=trial.number):
            _log.warning("attempt %d: lease lost", trial.claim.attempt)
        if executor.held.get(trial.number) is not trial:  # it has left it already
            return
        del executor.held[trial.number]
        if not executor.held:
            executor.stopping = True
            until = time.monotonic() + LOST_GRACE
            said = "somebody else has the trial"
            self._until(executor, Limit.LOST, until, Cause.PREEMPTED, said)

    # Writes

    def _finish(
        self, executor: Executor, trial: ClaimedTrial, state: TrialState, **result: Any
    ) -> None:
        search = self._searches.get(trial.claim.study_id)
        write = (
            partial(results.finish, claim=trial.claim, state=state, **result)
            if search is None
            else partial(search.finish, trial=trial, state=state, **result)
        )
        stored = partial(self._remove_files, trial, state, **result)
        self._outbox.end(trial.claim.id, write, *self._told(executor, trial, stored))

    def _remove_files(
        self, trial: ClaimedTrial, state: TrialState, *, cause: Cause | None = None, **_: Any
    ) -> None:
        """What nobody needs once the trial's end is stored: before that, an attempt may follow."""
        is_over = cause in (None, Cause.DIVERGED)  # other failures may be tried again
        if is_over:
            artifacts.remove_checkpoints(self._folders(trial))
        if is_over and state is not TrialState.COMPLETE:
            artifacts.remove_user_files(self._folders(trial))

    def _requeue(
        self, executor: Executor, trial: ClaimedTrial, cause: Cause, message: str | None
    ) -> None:
        executor.held.pop(trial.number, None)
        tail = executor.log_tail(trial.number)
        write = partial(
            leases.requeue, claim=trial.claim, cause=cause, message=message, log_tail=tail
        )
        self._outbox.put(trial.claim.id, write, *self._told(executor, trial))
        if cause is not Cause.PREEMPTED:  # it may have been once too often
            self._failing.add(trial.claim.study_id)
        self._next["claim"] = 0.0

    def _told(
        self, executor: Executor, trial: ClaimedTrial, stored: Callable[[], None] = lambda: None
    ) -> tuple[Callable[[], None], Callable[[], None]]:
        """What to do where a write about the trial is refused, and where it is `stored`."""

        def done() -> None:
            self._changed.add(trial.claim.study_id)
            stored()

        return partial(self._lost, executor, trial), done

    def _shut_down(self) -> None:
        self._pool.kill()
        for executor in self._pool.executors:
            for trial in list(executor.held.values()):
                self._requeue(executor, trial, Cause.PREEMPTED, "the worker was stopped")
        until = time.monotonic() + self._settings.lease_seconds
        while not self._outbox.deliver() and time.monotonic() < until:
            time.sleep(0.1)
        with contextlib.suppress(DatabaseUnreachableError), self._database.statement() as c:
            workers.record_stop(c, self.id)
        self._database.close()


def _no_value(metric: str, value: float | None) -> str:
    """Why a trial that ran to its end has no result: one of the further metrics is not there."""
    if value is not None:
        return f"{metric} became {value}"
    return f"the trial has no {metric}, which is to be optimized too: its code must report it"
