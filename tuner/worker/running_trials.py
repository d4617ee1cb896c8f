"""One trial's way through a worker: from its claim to its end.

A claimed trial is assigned to an executor, starts once its device has room, reports, and is pruned
or finishes. What follows if something else ends it (an executor's death, a deadline, a lost lease,
a stop) is decided here too. `recording.py` stores it all.
"""

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from tuner import artifacts
from tuner.database import leases
from tuner.database.hints import ListeningDatabase
from tuner.logs import log_context
from tuner.search.claim import ClaimedTrial, Search
from tuner.settings import Settings
from tuner.study_file.constraints import sum_violations
from tuner.study_file.messages import quoted
from tuner.training.cohort import Decision
from tuner.trials import COLD_START, COSTS, PEAK_MEMORY, SEED, Cause, Report, TrialState
from tuner.worker import journal
from tuner.worker.admission import Admission
from tuner.worker.assignment import Assignment, make_assignment
from tuner.worker.executors import Executor
from tuner.worker.messages import (
    Decided,
    Diverged,
    Done,
    Failed,
    Finished,
    FromExecutor,
    Paused,
    Ready,
    Reported,
)
from tuner.worker.pool import Pool
from tuner.worker.recording import Recorder
from tuner.worker.served_studies import ServedStudies
from tuner.worker.time_limits import TimeLimits
from tuner.worker.timers import Timers

_log = logging.getLogger(__name__)


class RunningTrials:
    """The trials that this worker's executors work on; alone changes their assignments."""

    def __init__(
        self,
        worker_id: UUID,
        database: ListeningDatabase,
        settings: Settings,
        studies: ServedStudies,
        admission: Admission,
        timers: Timers,
    ) -> None:
        self.pool = Pool(self._on_message, self._on_death)
        self.recorder = Recorder(database, settings, studies, self._leave)
        self.is_draining = False  # the worker stops: every trial is to end without a result
        self._worker_id = worker_id
        self._database = database
        self._settings = settings
        self._studies = studies
        self._admission = admission
        self._timers = timers
        self._weights = artifacts.KeptWeights()
        self._limits = TimeLimits(self.pool.deadlines, settings.lease_seconds)

    # Begin

    def assign(self, executor: Executor, search: Search, trial: ClaimedTrial) -> None:
        """Give an idle executor a trial; it starts now, or once it has parameters and room."""
        self.recorder.changed.add(search.study.id)
        if trial.claim.promoted and not any(map(Path.is_dir, self.recorder.folders(trial)[1:])):
            with log_context(study=search.study.id, trial=trial.number):
                _log.warning("promoted, but its checkpoint is not on this machine: it starts over")
        executor.assignment = self._make_assignment(executor, search, trial)
        # read after it is assigned: a signal in between marks what is assigned by then
        executor.assignment.is_stopping |= self.is_draining
        self._limits.hold(executor, trial.sent_at, trial.claim.paid)
        self._start_if_it_fits(executor)

    def _make_assignment(
        self, executor: Executor, search: Search, trial: ClaimedTrial
    ) -> Assignment:
        threads = self._admission.threads(executor, self.pool.executors)
        bound = self._admission.bound(search, trial, executor.slot) if trial.is_drawn else None
        return make_assignment(
            search,
            trial,
            device=executor.slot.device,
            threads=search.spec.resources.threads or threads,
            cache=self._settings.data_cache,
            folders=self.recorder.folders(trial),
            bound=bound,
        )

    def start_waiting(self) -> None:
        """Start those trials that have parameters, and whose device has room, by now."""
        for executor in list(self.pool.executors):  # a worn one is replaced
            if executor.assignment is not None and executor.assignment.is_waiting:
                self._start_if_it_fits(executor)

    def _start_if_it_fits(self, executor: Executor) -> None:
        assignment = _assignment_of(executor)
        if assignment.is_stopping or not assignment.trials:  # nothing left to wait for
            assignment.is_waiting = False
            self._on_done(executor, Done(executor.memory_used))
        elif not self._has_parameters(executor):
            return
        elif self._admission.may_start(executor, self.pool.executors):
            assignment = _assignment_of(executor)
            executor.send(assignment.train)
            assignment.is_waiting = False
            self._limits.begin(executor)

    def _has_parameters(self, executor: Executor) -> bool:
        """Whether a trial was drawn; one that another worker has drawn meanwhile gets them now."""
        assignment = _assignment_of(executor)
        (trial,) = assignment.trials.values()
        if trial.is_drawn:
            return True
        search = self._studies.searches.get(assignment.study_id)
        if search is None:  # the study is over, so nobody will
            assignment.is_stopping = True
            return False
        drawn = search.drawn(trial)
        if drawn is None:
            return False
        executor.assignment = self._make_assignment(executor, search, drawn)
        executor.assignment.is_stopping = assignment.is_stopping
        executor.assignment.stop_at = assignment.stop_at
        return True

    # Keep

    def renew(self) -> None:
        """Renew the leases of all trials; leave those that another worker has by now."""
        claims = [t.claim for a in self._assignments() for t in a.trials.values()]
        if not claims:
            return
        sent_at = time.monotonic()
        with self._database.statement() as connection:
            renewed = leases.renew(
                connection,
                [claim.id for claim in claims],
                worker_id=self._worker_id,
                lease=self._settings.lease_seconds,
            )
        for executor in self.pool.executors:
            if executor.assignment is None:
                continue
            for trial in list(executor.assignment.trials.values()):
                attempt, paid = renewed.get(trial.claim.id, (None, None))
                if attempt == trial.claim.attempt:
                    self._limits.hold(executor, sent_at, paid)
                else:
                    self._leave(executor, trial)

    # Stop

    def drain(self) -> None:
        """Stop every trial, those that are assigned from now on too."""
        self.is_draining = True
        for assignment in self._assignments():
            assignment.is_stopping = True

    def stop(self, study_id: int) -> None:
        """Stop the trials of a study."""
        for assignment in self._assignments():
            if assignment.study_id == study_id:
                assignment.is_stopping = True

    def tell_to_stop(self) -> None:
        """Tell the executors whose trials are to stop; kill those that do not in time."""
        for executor in self.pool.executors:
            assignment = executor.assignment
            if assignment is None:
                continue
            if assignment.stop_at is not None and time.monotonic() >= assignment.stop_at:
                assignment.is_stopping = True
            executor.tell_to_stop(self._settings.drain_grace)

    def stops_at(self) -> list[float]:
        """When trials are to be told to stop, by the monotonic clock."""
        return [
            assignment.stop_at
            for assignment in self._assignments()
            if assignment.stop_at is not None and not assignment.is_stopping
        ]

    def has_any(self) -> bool:
        """Whether an executor works on something."""
        return any(executor.assignment is not None for executor in self.pool.executors)

    def _assignments(self) -> list[Assignment]:
        return [e.assignment for e in self.pool.executors if e.assignment is not None]

    def requeue_all(self) -> None:
        """Requeue every trial of executors that are gone, for the worker stops."""
        for executor in self.pool.executors:
            for trial in _trials_of(executor):
                self._requeue(executor, trial, Cause.PREEMPTED, "the worker was stopped")

    # What executors say

    def _on_message(self, executor: Executor, message: FromExecutor) -> None:
        self._limits.note_message(executor)
        match message:
            case Ready():
                pass  # the next round claims for it
            case Reported():
                self._on_reports(executor, message)
            case Finished():
                self._on_finished(executor, message)
            case Diverged():
                self._on_failed(executor, message.number, Cause.DIVERGED, message.message)
            case Paused():
                self._on_paused(executor, message)
            case Failed():
                for trial in _trials_of(executor):
                    self._on_failed(executor, trial.number, message.cause, message.message)
            case Done():
                self._on_done(executor, message)

    def _on_death(self, executor: Executor, message: str) -> None:
        """Requeue its trials, unless they have had their time."""
        killed = executor.killed
        for trial in _trials_of(executor):
            if killed is None:
                is_stopping = _assignment_of(executor).is_stopping
                cause = Cause.PREEMPTED if is_stopping else Cause.LOST
                self._requeue(executor, trial, cause, message)
            elif killed.cause is Cause.TIMEOUT:
                self._on_failed(executor, trial.number, Cause.TIMEOUT, killed.message)
            else:
                self._requeue(executor, trial, killed.cause, killed.message)

    def _on_reports(self, executor: Executor, message: Reported) -> None:
        assignment = executor.assignment
        reports = message.reports
        if assignment is not None and PEAK_MEMORY in assignment.further_metrics and message.peak:
            peak = {PEAK_MEMORY: message.peak / 2**20}
            reports = {
                number: replace(report, metrics={**peak, **report.metrics})
                for number, report in reports.items()
            }
        reasons: dict[int, str | None] = {}  # of pruned trials
        decisions = {
            number: self._decide(assignment, number, report, reasons)
            for number, report in reports.items()
        }
        executor.memory_used = message.peak
        for number, report in reports.items():
            # before the answer, and of a lost trial too: a checkpoint may follow, which the next
            # attempt finds
            if assignment is not None and number in assignment.folders:
                journal.note(assignment.folders[number], report)
        executor.send(Decided(decisions))  # first: training goes on while the reports are stored
        if assignment is None:
            return
        for number, report in reports.items():
            trial = assignment.trials.get(number)
            if trial is None:
                continue
            self.recorder.report_missing(executor, trial)
            self.recorder.report(executor, trial, report)
            if decisions[number] not in (Decision.PRUNE, Decision.PAUSE):
                continue
            result = {
                "values": [report.value] if math.isfinite(report.value) else None,
                "message": reasons.get(number),
                "user_attrs": self._attributes(executor, trial, report.metrics, message.peak),
                "constraints": assignment.measure_constraints(report.value, report.metrics),
                "pruned_after": report.step if assignment.other_objectives else None,
            }
            if decisions[number] is Decision.PAUSE:
                assignment.pausing[number] = result  # once its checkpoint is written
            else:
                assignment.trials.pop(number, None)
                self.recorder.finish(executor, trial, TrialState.PRUNED, **result)

    def _decide(
        self,
        assignment: Assignment | None,
        number: int,
        report: Report,
        reasons: dict[int, str | None],
    ) -> Decision:
        """Answer a report; `reasons` gets why the trial is pruned, as it is known only now."""
        trial = None if assignment is None else assignment.trials.get(number)
        if assignment is None or trial is None:
            return Decision.STOP
        search = self.recorder.search_of(trial)
        if search is not None and report.step >= (search.spec.last_step or math.inf):
            return Decision.GO_ON  # it finishes now
        if assignment.is_stopping:
            return Decision.STOP
        if search is None or not search.should_prune(trial, report):
            return Decision.GO_ON
        reasons[number] = search.explain_pruning(trial, report)
        return Decision.PAUSE if search.promotes else Decision.PRUNE

    def _on_paused(self, executor: Executor, message: Paused) -> None:
        assignment = executor.assignment
        trial = None if assignment is None else assignment.trials.get(message.number)
        if assignment is None or trial is None:  # another worker has it by now
            return
        result = assignment.pausing.pop(message.number, None)
        if result is None:  # nobody has asked for it
            return
        del assignment.trials[message.number]
        self.recorder.finish(executor, trial, TrialState.PAUSED, **result)

    def _on_finished(self, executor: Executor, message: Finished) -> None:
        assignment = executor.assignment
        trial = None if assignment is None else assignment.trials.get(message.number)
        if assignment is None or trial is None:
            return
        attrs = self._attributes(executor, trial, message.measured, message.peak)
        measured = {**message.measured, **{name: attrs[name] for name in COSTS if name in attrs}}
        for metric in assignment.further_metrics:
            value = measured.get(metric)
            if value is None or not math.isfinite(value):
                cause = Cause.USER_ERROR if value is None else Cause.DIVERGED
                sentence = _no_value(metric, value, optimized=metric in assignment.other_objectives)
                self._on_failed(executor, trial.number, cause, sentence)
                return
        values = [message.value, *(measured[metric] for metric in assignment.other_objectives)]
        constraints = assignment.measure_constraints(message.value, measured)
        self.recorder.report_missing(executor, trial)
        del assignment.trials[trial.number]
        search = self.recorder.search_of(trial)
        self.recorder.finish(
            executor,
            trial,
            TrialState.COMPLETE,
            values=values,
            user_attrs=attrs,
            constraints=constraints,
        )
        if search is not None:
            self._weights.add(
                search.study.id,
                search.study.directions,
                values,
                assignment.folders[message.number],
                sum_violations(constraints.values()),
            )

    def _attributes(
        self, executor: Executor, trial: ClaimedTrial, measured: Mapping[str, float], peak: int
    ) -> dict[str, Any]:
        """On what a trial ran, what it took of it and what else it costs."""
        device = executor.slot.name
        search = self.recorder.search_of(trial)
        if search is not None:
            self._admission.learn(search, trial.params, device, peak)
        attrs: dict[str, Any] = {"device": device, "threads": _assignment_of(executor).threads}
        if peak:  # a command's is not known
            attrs["peak_bytes"] = peak
        attrs |= {name: measured[name] for name in COSTS if name in measured}
        if peak:
            attrs.setdefault(PEAK_MEMORY, peak / 2**20)
        if executor.is_new_to(trial.claim.study_id):
            attrs[COLD_START] = True
        if trial.claim.seed is not None:
            attrs[SEED] = trial.claim.seed
        return attrs

    def _on_failed(self, executor: Executor, number: int, cause: Cause, message: str) -> None:
        assignment = executor.assignment
        trial = None if assignment is None else assignment.trials.pop(number, None)
        if trial is None:
            return
        if cause is Cause.OUT_OF_MEMORY:
            executor.is_worn = True
            self._requeue(executor, trial, cause, message)  # the database knows if there is a retry
            return
        self.recorder.report_missing(executor, trial)
        self.recorder.finish(
            executor,
            trial,
            TrialState.FAILED,
            cause=cause,
            message=message,
            log_tail=executor.log_tail(number),
        )
        self._studies.failing.add(trial.claim.study_id)

    def _on_done(self, executor: Executor, message: Done) -> None:
        assignment = _assignment_of(executor)
        for trial in _trials_of(executor):
            if assignment.is_stopping:
                reason = "the study or worker was stopped"
                self._requeue(executor, trial, Cause.PREEMPTED, reason)
            else:
                reason = "the family ended without a result"
                self._on_failed(executor, trial.number, Cause.USER_ERROR, reason)
        executor.count_cohort(assignment.study_id, message.held)
        executor.is_worn |= message.worn
        executor.assignment = None
        self.pool.deadlines.clear(executor.leash)
        self._timers.run_now("claim")  # that was the study's last trial, or it has made room
        if executor.is_worn and not self.is_draining:
            _log.info("an executor is replaced after %d cohorts", executor.cohorts)
            self.pool.replace(executor)

    def _leave(self, executor: Executor, trial: ClaimedTrial) -> None:
        """Leave a trial that another worker has; an executor that does not is killed soon."""
        with log_context(study=trial.claim.study_id, trial=trial.number):
            _log.warning("attempt %d: lease lost", trial.claim.attempt)
        assignment = executor.assignment
        if assignment is None or assignment.trials.get(trial.number) is not trial:
            return  # it has left it already
        del assignment.trials[trial.number]
        if not assignment.trials:
            assignment.is_stopping = True
            self._limits.leave(executor)

    def _requeue(
        self, executor: Executor, trial: ClaimedTrial, cause: Cause, message: str | None
    ) -> None:
        _assignment_of(executor).trials.pop(trial.number, None)
        self.recorder.requeue(executor, trial, cause, message)
        self._timers.run_now("claim")


def _assignment_of(executor: Executor) -> Assignment:
    """The assignment of an executor that works on one."""
    assert executor.assignment is not None
    return executor.assignment


def _trials_of(executor: Executor) -> list[ClaimedTrial]:
    """The unfinished trials that an executor works on."""
    return [] if executor.assignment is None else list(executor.assignment.trials.values())


def _no_value(metric: str, value: float | None, *, optimized: bool) -> str:
    """Why a trial that ran to its end has no result: one of the other metrics is missing."""
    if value is not None:
        return f"{metric} became {value}"
    why = "one of the objectives" if optimized else "which a constraint bounds"
    return f"{quoted(metric)}, {why}, was not reported with the best value; report it every time"
