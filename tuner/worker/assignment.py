"""What an executor works on, from the claim until its cohort has ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuner.search.claim import ClaimedTrial, Search
from tuner.study_file import constraints
from tuner.study_file.constraints import Constraints
from tuner.study_file.seeds import trial_seed
from tuner.study_file.study import Resources
from tuner.training.cohort import Cohort, Task
from tuner.worker.messages import Train


@dataclass
class Assignment:
    """A cohort of one study's trials; only `RunningTrials` changes it."""

    study_id: int
    train: Train  # sent once there is room on the device
    resources: Resources = field(default_factory=Resources)  # of the study
    trials: dict[int, ClaimedTrial] = field(default_factory=dict)  # by number: the unfinished ones
    folders: dict[int, Path] = field(default_factory=dict)  # by number: of the trials' attempts
    earlier: dict[int, list[Path]] = field(default_factory=dict)  # of attempts before: to be read
    pausing: dict[int, dict[str, Any]] = field(default_factory=dict)  # what is stored once they are
    metric: str = ""  # of the first objective
    other_objectives: tuple[str, ...] = ()  # metrics that are optimized beside it
    further_metrics: tuple[str, ...] = ()  # those and what constraints bound
    bounds: Constraints = field(default_factory=dict)  # of metrics and costs
    threads: int = 1
    bound: int | None = None  # bytes of the device's memory that the cohort takes at most
    is_exclusive: bool = False  # nothing else may run on the device
    is_waiting: bool = True  # for room on the device: `train` is not sent yet
    is_stopping: bool = False  # it was told, or will be, to end without a result
    told_to_stop_at: float | None = None  # monotonic clock
    stop_at: float | None = None  # monotonic clock: the study's seconds end soon after

    def measure_constraints(self, value: float, measured: Mapping[str, float]) -> dict[str, float]:
        """Return the values of a trial's constraints: the study file's, and its own code's."""
        bounded = constraints.measure(self.bounds, {**measured, self.metric: value})
        return {**constraints.of_user_code(measured), **bounded}


def make_assignment(
    search: Search,
    trial: ClaimedTrial,
    *,
    device: str,
    threads: int,
    cache: Path,
    folders: Sequence[Path],
    bound: int | None,
) -> Assignment:
    """Make the assignment of a claimed trial.

    Args:
        search: of the trial's study.
        trial: the cohort's only one.
        device: the torch device, as the executor sees it.
        threads: CPU threads of the executor.
        cache: the folder of prepared data.
        folders: of the trial's attempts, the latest first.
        bound: the most bytes of the device's memory that the trial takes, if that is known.

    """
    spec, claim, (folder, *earlier) = search.spec, trial.claim, folders
    task = Task(
        number=trial.number,
        attempt=claim.attempt,
        params=trial.params,
        seed=trial_seed(spec, trial.number) if claim.seed is None else claim.seed,
        folder=folder,
        earlier=tuple(earlier),
        is_promoted=claim.promoted,
        level=_level(search, trial),
    )
    cohort = Cohort(
        study=search.study.name,
        family=spec.family,
        data=None if spec.data is None else spec.data.model_dump(mode="json"),
        fingerprint=search.study.data_fingerprint or "",
        metric=spec.objective.metric,
        direction=search.study.direction,
        epochs=spec.budget.epochs or 0,
        early_stop=spec.training.early_stop,
        precision=spec.training.precision,
        device=device,
        threads=threads,
        cache=cache,
        tasks=(task,),
        code=spec.code,
        checkpoints=spec.checkpoints,
        others=spec.further_metrics,
        fidelities=spec.fidelities,
    )
    return Assignment(
        study_id=search.study.id,
        train=Train(cohort),
        resources=spec.resources,
        trials={trial.number: trial},
        folders={trial.number: folder},
        earlier={trial.number: earlier},
        metric=spec.objective.metric,
        other_objectives=spec.objective.metrics[1:],
        further_metrics=spec.further_metrics,
        bounds=spec.constraints,
        threads=threads,
        bound=bound,
        is_exclusive=claim.exclusive,
    )


def _level(search: Search, trial: ClaimedTrial) -> int:
    """Return how many levels of fidelity need not be trained again; the last one always is."""
    if not search.spec.fidelities or not trial.claim.resumed:
        return 0
    return min(search.last_step(trial.number), len(search.spec.fidelities) - 1)
