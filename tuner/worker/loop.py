"""The worker's loop: it waits for messages, deaths of executors, signals and its own timers.

One thread. `served_studies.py` knows what there is to claim, `running_trials.py` takes a claimed
trial to its stored end; here they are woken. Nothing here trains, and torch is never imported. A
worker may be killed at any instant: its executors die with it, its leases end, and another worker
takes over its trials.
"""

import contextlib
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tuner import __version__
from tuner.data import evict
from tuner.database import devices, hints, leases, workers
from tuner.database.engine import Database
from tuner.errors import DatabaseUnreachableError
from tuner.logs import log_context
from tuner.settings import Settings
from tuner.trials import NO_LABELS, TrialState
from tuner.worker.admission import Admission
from tuner.worker.consent import Consent
from tuner.worker.devices import Slot
from tuner.worker.devices.sampling import DeviceSampler
from tuner.worker.executors import Executor
from tuner.worker.running_trials import RunningTrials
from tuner.worker.served_studies import ServedStudies
from tuner.worker.timers import Timers

POLL = 1.0  # seconds between looks at the studies' states and for new work
LISTENING_POLL = 5.0  # between looks at the studies' states while hints say when to look
SAMPLE_PERIOD = 10.0  # seconds between samples of the devices
FORGET_PERIOD = 3_600.0  # seconds between removals of samples that are too old
CACHE_PERIOD = 600.0  # seconds between looks for prepared data that is too much
PEAKS_PERIOD = 30.0  # seconds between looks at what other workers' trials have taken
PROPOSAL_POLL = 0.02  # between looks for proposals of a sampler in a process of its own
HINT_PERIOD = 0.25  # seconds between hints that trials have changed

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
        """Serve studies with one executor per slot.

        Args:
            database: where the studies are; this worker opens its own connection beside it.
            settings: of this process.
            slots: where trials run; executors on spare ones start only when needed.
            only: names of the studies to serve; empty for all active ones.
            labels: what this worker has; a study may ask for some.
            until_done: whether `run` returns once none of the studies is active.
            allow_code: whether to serve studies that bring user code.

        """
        self.id = uuid.uuid4()
        self.drained = False  # whether it was asked to stop
        self.on_drain: Callable[[], None] = lambda: None
        self._database = hints.ListeningDatabase(database, hints.WORK, listen=settings.listen)
        self._settings = settings
        self._slots = slots
        self._labels = labels
        self._until_done = until_done
        self._stop_by: float | None = None  # draining: when executors are killed
        self._timers = Timers()
        self._admission = Admission(slots)
        self._sampler = DeviceSampler(slots)
        self._studies = ServedStudies(
            self._database,
            self._timers,
            only=only,
            labels=labels,
            settings=settings,
            consent=Consent(allow_code=allow_code),
        )
        self._trials = RunningTrials(
            self.id, self._database, settings, self._studies, self._admission, self._timers
        )
        self._pool = self._trials.pool
        self._outbox = self._trials.recorder.outbox

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
        """The signal that asked it to stop; None if no signal did."""
        return self._pool.signal

    def _register(self, host: str, pid: int) -> bool:
        """Register this worker; False if the database, which answered before, does not now."""
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
        """Stop: no new claims; running trials finish or are requeued within a grace time.

        A second call does not wait.
        """
        if self._stop_by is None:
            self.drained = self._pool.closing = True
            self.on_drain()
            self._stop_by = time.monotonic() + self._settings.drain_grace
            self._trials.drain()
        else:
            self._stop_by = time.monotonic()

    def _is_over(self) -> bool:
        busy = self._trials.has_any()
        if self._stop_by is not None:
            return not busy or time.monotonic() >= self._stop_by
        if self._studies.superfluous or busy or self._outbox:
            return False
        return self._until_done and self._studies.none_is_active

    def _tick(self) -> None:
        listens = self._database.fileno() is not None
        if self._database.read_hints():  # a trial of ours may have been killed, too
            self._timers.run_now("studies", "claim", "renew")
        for name, period, action in (
            ("studies", LISTENING_POLL if listens else POLL, self._look_at_studies),
            ("peaks", PEAKS_PERIOD, partial(self._studies.learn_peaks, self._admission)),
            ("sample", SAMPLE_PERIOD, self._sample),
            ("forget", FORGET_PERIOD, self._forget_samples),
            ("cache", CACHE_PERIOD, self._evict),
            ("renew", self._settings.lease_seconds / 3, self._trials.renew),
            ("reap", self._settings.lease_seconds / 2, self._reap),
        ):
            if self._timers.is_due(name):
                self._timers.run_in(name, period)
                self._unless_unreachable(action)
        self._outbox.deliver()
        if self._studies.failing and not self._outbox:  # what waits there has not failed yet
            self._unless_unreachable(self._studies.pause_failing)
        if self._trials.recorder.changed and self._timers.is_due("hint"):
            self._timers.run_in("hint", HINT_PERIOD)
            self._unless_unreachable(self._send_hints)
        if self._studies.superfluous:
            self._studies.remove_some_files()
        self._unless_unreachable(partial(self._studies.advance, self.id))
        self._unless_unreachable(self._trials.start_waiting)
        self._trials.tell_to_stop()
        if self._stop_by is None:
            for executor in self._pool.executors:
                if self._may_claim(executor) and self._timers.is_due("claim"):
                    self._unless_unreachable(partial(self._claim_for, executor))
            self._fit_executors()

    def _until_next_timer(self) -> float:
        if self._is_over() or self._studies.superfluous:
            return 0.0
        if self._stop_by is not None:
            return 0.2
        ignored = set()
        if not any(self._may_claim(executor) for executor in self._pool.executors):
            ignored.add("claim")  # every executor is busy
        if not self._trials.recorder.changed:
            ignored.add("hint")
        due = [*self._timers.next_at(ignored=ignored), *self._trials.stops_at()]
        if self._studies.is_busy:
            due.append(time.monotonic() + PROPOSAL_POLL)
        return max(0.0, min(min(due) - time.monotonic(), self._outbox.pause()))

    def _unless_unreachable(self, action: Callable[[], None]) -> None:
        try:
            action()
        except DatabaseUnreachableError as error:
            _log.warning("%s", error)
            self._timers.run_in("claim", POLL)
            # other workers that were cut off too get the time to renew what is still theirs
            self._timers.run_in("reap", self._settings.lease_seconds)

    def _shut_down(self) -> None:
        self._pool.kill()
        self._studies.close()
        self._trials.requeue_all()
        until = time.monotonic() + self._settings.lease_seconds
        while not self._outbox.deliver() and time.monotonic() < until:
            time.sleep(0.1)
        with contextlib.suppress(DatabaseUnreachableError), self._database.statement() as c:
            workers.record_stop(c, self.id)
        self._database.close()

    # Timers

    def _look_at_studies(self) -> None:
        with self._database.statement() as connection:
            if workers.record_heartbeat(connection, self.id) and self._stop_by is None:
                self.drain()
            active = self._studies.find_active(connection)
        self._studies.update(active, self._trials.stop)
        self._pool.warm = self._studies.need_torch
        self._studies.finish_done()

    def _sample(self) -> None:
        with self._database.statement() as connection:
            devices.store(connection, self.id, self._sampler.samples())

    def _forget_samples(self) -> None:
        with self._database.statement() as connection:
            devices.forget(connection)

    def _evict(self) -> None:
        for removed in evict(self._settings.data_cache, self._settings.cache_bytes):
            _log.info("%s: removed from the cache, which was too large", removed.name)

    def _send_hints(self) -> None:
        with self._database.statement() as connection:
            hints.send(connection, hints.TRIALS, self._trials.recorder.changed)
        self._trials.recorder.changed.clear()

    def _reap(self) -> None:
        with self._database.statement() as connection:
            reaped = leases.reap(connection)
        for study_id, number, state in reaped:
            with log_context(study=study_id, trial=number):
                _log.warning("its lease ended; it is %s", state)
        self._studies.failing.update(
            study_id for study_id, _, state in reaped if state is TrialState.FAILED
        )

    # Claiming

    def _may_claim(self, executor: Executor) -> bool:
        return executor.is_idle and any(
            self._admission.has_room(executor, search.spec.resources, self._pool.executors)
            for search in self._studies.searches.values()
        )

    def _claim_for(self, executor: Executor) -> None:
        for study_id in self._studies.in_turn():
            search = self._studies.searches[study_id]
            resources = search.spec.resources
            if not self._admission.has_room(executor, resources, self._pool.executors):
                continue
            if search.reason_to_end() is not None:
                continue
            trial = search.claim(self.id, self._settings.lease_seconds, self._labels)
            if trial is not None:
                self._studies.last_claim_was_empty = False
                self._trials.assign(executor, search, trial)
                return
        self._studies.last_claim_was_empty = True
        self._timers.run_in("claim", POLL)
        self._studies.finish_done()

    def _fit_executors(self) -> None:
        """Run as many executors on a GPU as the active studies have use for."""
        searches = list(self._studies.searches.values())
        for executor in self._admission.superfluous(self._pool.executors, searches):
            self._pool.end(executor)
        slot = self._admission.missing(self._pool.executors, searches)
        if slot is not None:
            self._pool.start(slot)
