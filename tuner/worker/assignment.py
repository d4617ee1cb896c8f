"""What an executor works on, from the claim until its cohort has ended."""

from dataclasses import dataclass, field
from pathlib import Path

from tuner.search.claim import ClaimedTrial
from tuner.study_file.study import Resources
from tuner.worker.messages import Train


@dataclass
class Assignment:
    """A cohort of one study's trials; `RunningTrials` makes it and alone changes it."""

    study_id: int
    train: Train  # sent once there is room on the device
    resources: Resources = field(default_factory=Resources)  # of the study
    trials: dict[int, ClaimedTrial] = field(default_factory=dict)  # by number: the unfinished ones
    folders: dict[int, Path] = field(default_factory=dict)  # by number: of the trials' attempts
    earlier: dict[int, list[Path]] = field(default_factory=dict)  # of attempts before: to be read
    other_metrics: tuple[str, ...] = ()  # the objective's metrics after the first
    threads: int = 1
    bound: int | None = None  # bytes of the device's memory that the cohort takes at most
    is_exclusive: bool = False  # nothing else may run on the device
    is_waiting: bool = True  # for room on the device: `train` is not sent yet
    is_stopping: bool = False  # it was told, or will be, to end without a result
    told_to_stop_at: float | None = None  # monotonic clock
    stop_at: float | None = None  # monotonic clock: the study's seconds end soon after
