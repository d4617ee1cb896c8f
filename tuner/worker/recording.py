"""What is stored of a trial: its reports and its end, or that it goes back to the queue.

Everything goes through the outbox, which keeps it while the database is away. A trial's files that
another attempt would need stay until its end is stored.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tuner import artifacts
from tuner.database import leases, results
from tuner.database.hints import ListeningDatabase
from tuner.search.claim import ClaimedTrial, Search
from tuner.settings import Settings
from tuner.trials import Cause, Report, TrialState
from tuner.worker import journal
from tuner.worker.executors import Executor
from tuner.worker.outbox import Outbox
from tuner.worker.served_studies import ServedStudies


class Recorder:
    """Records what becomes of trials."""

    def __init__(
        self,
        database: ListeningDatabase,
        settings: Settings,
        studies: ServedStudies,
        on_lost: Callable[[Executor, ClaimedTrial], None],
    ) -> None:
        """`on_lost` is called if a write is refused: another worker has the trial."""
        self.outbox = Outbox(database, keep=settings.lease_seconds)
        self.changed: set[int] = set()  # studies with changes that no hint has announced yet
        self._settings = settings
        self._studies = studies
        self._on_lost = on_lost
        # behind a pooler the connection outlives a crash of the server, so nothing is repeated
        self._report_options: dict[str, Any] = {
            "lease": settings.lease_seconds,
            "flush": not settings.listen,
        }

    def search_of(self, trial: ClaimedTrial) -> Search | None:
        """The search of the trial's study; None once the study is not active any more."""
        return self._studies.searches.get(trial.claim.study_id)

    def folders(self, trial: ClaimedTrial) -> list[Path]:
        """The folders of the trial's attempts, the latest first."""
        return [
            artifacts.attempt_folder(self._settings, trial.claim.study_id, trial.number, attempt)
            for attempt in range(trial.claim.attempt, 0, -1)
        ]

    def report(self, executor: Executor, trial: ClaimedTrial, report: Report) -> None:
        """Store a report."""
        search = self.search_of(trial)
        write = (
            partial(results.report, claim=trial.claim, **self._report_options)
            if search is None
            else partial(search.report, trial=trial, **self._report_options)
        )
        self.outbox.report(trial.claim.id, report, write, *self._callbacks(executor, trial))

    def report_missing(self, executor: Executor, trial: ClaimedTrial) -> None:
        """At an attempt's first message, store earlier attempts' reports that the database lacks.

        Not before: by then it has chosen its checkpoint, and whichever executor wrote that had
        noted its reports first, even one that had lost the trial and was still alive.
        """
        assert executor.assignment is not None
        reports = journal.noted(executor.assignment.earlier.pop(trial.number, []))
        if reports:
            write = partial(
                results.report_missing, claim=trial.claim, reports=reports, **self._report_options
            )
            callbacks = self._callbacks(executor, trial)
            self.outbox.put(trial.claim.id, write, *callbacks, is_asynchronous=True)

    def finish(
        self, executor: Executor, trial: ClaimedTrial, state: TrialState, **result: Any
    ) -> None:
        """Store a trial's end; `result` is what `results.finish` takes beside the state."""
        search = self.search_of(trial)
        write = (
            partial(results.finish, claim=trial.claim, state=state, **result)
            if search is None
            else partial(search.finish, trial=trial, state=state, **result)
        )
        on_stored = partial(self._remove_files, trial, state, **result)
        self.outbox.end(trial.claim.id, write, *self._callbacks(executor, trial, on_stored))

    def requeue(
        self, executor: Executor, trial: ClaimedTrial, cause: Cause, message: str | None
    ) -> None:
        """Put a trial back in the queue, or fail it if that was its last attempt."""
        log_tail = executor.log_tail(trial.number)
        write = partial(
            leases.requeue, claim=trial.claim, cause=cause, message=message, log_tail=log_tail
        )
        self.outbox.put(trial.claim.id, write, *self._callbacks(executor, trial))
        if cause is not Cause.PREEMPTED:  # it may have been once too often
            self._studies.failing.add(trial.claim.study_id)

    def _callbacks(
        self,
        executor: Executor,
        trial: ClaimedTrial,
        on_stored: Callable[[], None] = lambda: None,
    ) -> tuple[Callable[[], None], Callable[[], None]]:
        """What to do if a write about the trial is refused, and once it is stored."""

        def announce() -> None:
            self.changed.add(trial.claim.study_id)
            on_stored()

        return partial(self._on_lost, executor, trial), announce

    def _remove_files(
        self, trial: ClaimedTrial, state: TrialState, *, cause: Cause | None = None, **_: Any
    ) -> None:
        """Remove what nobody needs once the end is stored; until then an attempt may follow."""
        # a paused trial may go on, and other failures may be tried again
        is_over = state is not TrialState.PAUSED and cause in (None, Cause.DIVERGED)
        if is_over:
            artifacts.remove_checkpoints(self.folders(trial))
        if is_over and state is not TrialState.COMPLETE:
            artifacts.remove_user_files(self.folders(trial))
