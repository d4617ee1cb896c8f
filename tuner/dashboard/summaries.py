"""A study as lists and headers show it: progress, best value, spend, time left."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tuner.database.readers.progress import Progress
from tuner.errors import SpecError
from tuner.figures import text
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Study, StudyState, Trial, TrialState

ORDER = (
    TrialState.COMPLETE,
    TrialState.PRUNED,
    TrialState.PAUSED,
    TrialState.FAILED,
    TrialState.RUNNING,
    TrialState.WAITING,
)
STALE = 3_600.0  # seconds without a finished trial after which the past pace says nothing


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a progress bar, in percent of its width."""

    state: TrialState
    trials: int
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class StudySummary:
    """One study as lists and headers show it."""

    study: Study
    progress: Progress

    @property
    def running(self) -> int:
        """How many trials are running."""
        return self.progress.counts[TrialState.RUNNING]

    @property
    def bar(self) -> list[Segment]:
        """The trials by state, against the budget where there is one."""
        whole = max(self.study.max_trials or 0, self.progress.total, 1)
        segments, x = [], 0.0
        for state in ORDER:
            trials = self.progress.counts[state]
            if trials:
                segments.append(Segment(state, trials, x, 100 * trials / whole))
                x += 100 * trials / whole
        return segments

    @property
    def seconds_left(self) -> float | None:
        """Until the first of its budgets is used up; None if there is nothing to estimate from."""
        if self.study.state is not StudyState.ACTIVE or not self.running:
            return None
        last, pace = self.progress.last_end, self.progress.pace
        if pace is None or last is None or time.time() - last > STALE + 10 / pace:
            return None
        estimates = []
        if self.study.max_trials is not None:
            estimates.append(max(self.study.max_trials - self.progress.finished, 0) / pace)
        if self.study.max_seconds is not None:
            estimates.append(
                max(self.study.max_seconds - self.study.seconds_issued, 0) / max(self.running, 1)
            )
        if self.study.max_epochs is not None and self.study.epochs_issued:
            epochs = self.study.epochs_issued / max(self.progress.total, 1)  # per trial
            estimates.append((self.study.max_epochs - self.study.epochs_issued) / epochs / pace)
        return min(estimates, default=None)

    @property
    def done_at(self) -> datetime | None:
        """When the budget will be used up; None if unknown."""
        seconds = self.seconds_left
        return None if seconds is None else datetime.fromtimestamp(time.time() + seconds, UTC)

    @property
    def budgets(self) -> list[str]:
        """Budgets other than trials, with how much of each is used or reserved."""
        study, lines = self.study, []
        if study.max_epochs is not None:
            lines.append(f"{study.epochs_issued:,} of {text.count(study.max_epochs, 'epoch')}")
        if study.max_seconds is not None:
            used, limit = text.duration(study.seconds_issued), text.duration(study.max_seconds)
            lines.append(f"{used} of {limit} on devices")
        return lines

    @property
    def spark(self) -> str:
        """The best so far as the points of a polyline in a box of 100 × 24."""
        return polyline(self.progress.spark)

    @property
    def search(self) -> str:
        """The text that the search box looks through."""
        labels = (f"{key}={value}" for key, value in self.study.labels.items())
        parts = (self.study.name, self.study.family, self.study.launched_by, *labels)
        return " ".join(filter(None, parts)).casefold()


def spec_of(study: Study) -> ResolvedSpec | None:
    """The study's specification; None if it has none or another version of tuner wrote it."""
    try:
        return None if study.spec is None else ResolvedSpec.from_json(study.spec)
    except SpecError:
        return None


def params_of(study: Study, trial: Trial) -> dict[str, Any]:
    """A trial's parameters together with the pinned ones, if these are known."""
    spec = spec_of(study)
    return dict(trial.params) if spec is None else spec.space.complete(trial.params)


def polyline(
    values: Sequence[float], width: float = 100.0, height: float = 24.0, pad: float = 2.0
) -> str:
    """The values as points of an SVG polyline, the lowest at the bottom; empty below two."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = width / (len(values) - 1)
    return " ".join(
        f"{i * step:.1f},{height - pad - (v - low) / span * (height - 2 * pad):.1f}"
        for i, v in enumerate(values)
    )
