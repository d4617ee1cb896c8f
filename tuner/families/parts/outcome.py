"""How a trial of user code ends: by its reports, the answers to them and its return value."""

import math
import threading
import time
from collections.abc import Mapping

from tuner.training.cohort import Cohort, Context, Decision, FailedError, Task
from tuner.trials import CONSTRAINT_PREFIX, TRAINING_SECONDS, Cause, Report, better


class Outcome:
    """Takes the reports of one trial and settles its result."""

    def __init__(self, task: Task, cohort: Cohort, context: Context) -> None:
        self._task = task
        self._cohort = cohort
        self._context = context
        self._best: float | None = None
        self._best_metrics: Mapping[str, float] = {}
        self._constraints: dict[str, float] = {}  # the latest value of each, as metrics
        self._started = time.monotonic()
        self.decision = Decision.GO_ON
        self.is_over = False  # pruned, stopped or diverged: later reports are ignored
        self._lock = threading.RLock()  # several threads may report, even while the trial ends

    def report(self, step: int, value: float, metrics: Mapping[str, float]) -> bool:
        """Pass a report on; returns whether the code should go on.

        A report after the last epoch is ignored and ends the trial.
        """
        with self._lock:
            return self._report(step, value, metrics)

    def _report(self, step: int, value: float, metrics: Mapping[str, float]) -> bool:
        if self.is_over or 0 < self._cohort.last_step < step:
            return False
        if not math.isfinite(value):
            self._diverge(f"{self._cohort.metric} became {value} at step {step}")
            return False
        if step < len(self._cohort.fidelities):
            pass  # only the whole counts
        elif self._best is None or better(self._cohort.direction, value, self._best):
            self._best, self._best_metrics = value, metrics
        measured = {**metrics, **self._constraints}
        if TRAINING_SECONDS in self._cohort.others:  # to be compared with other trials' at a rung
            measured.setdefault(TRAINING_SECONDS, time.monotonic() - self._started)
        number = self._task.number
        self.decision = self._context.report({number: Report(step, value, measured)})[number]
        self.is_over = self.decision is not Decision.GO_ON
        return not self.is_over

    def constrain(self, name: str, value: float) -> None:
        """Take note of the value of a constraint; it goes along with reports and the result."""
        with self._lock:
            self._constraints[CONSTRAINT_PREFIX + name] = value

    def end(self, value: float | None) -> None:
        """Finish the trial with `value`, or without one with the best report, unless it is over.

        FailedError if there is neither.
        """
        with self._lock:
            self._end(value)

    def close(self) -> None:
        """Ignore further reports: threads that still run would report to the next trial."""
        with self._lock:
            self.is_over = True

    def _end(self, value: float | None) -> None:
        if self.is_over:
            if self.decision is Decision.PAUSE:
                self._context.paused(self._task.number)
            return
        result = self._best if value is None else value
        if self._cohort.fidelities and self._best is None:
            raise FailedError(
                Cause.USER_ERROR,
                "the code has ended without a report of the whole; it must train at "
                "`trial.fidelity` and report until `trial.should_stop()` is true",
            )
        if result is None:
            raise FailedError(Cause.USER_ERROR, "the code has ended without reporting anything")
        if not math.isfinite(result):
            self._diverge(f"the code returned {result}")
            return
        self.is_over = True
        costs = {TRAINING_SECONDS: time.monotonic() - self._started}  # of this attempt
        measured = {**costs, **self._best_metrics, **self._constraints}
        self._context.finish(self._task.number, result, None, measured)

    def _diverge(self, sentence: str) -> None:
        self.is_over = True
        self._context.diverged(self._task.number, sentence)
