"""One trial of a cohort: its epochs, the best of them, its checkpoints and its end.

It trains a `Learner`: a network (`training.network`) or another model that learns in epochs.
"""

import logging
import math
import resource
import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from tuner.artifacts import WEIGHTS_FILE
from tuner.errors import DiskFullError
from tuner.training import checkpoints, weights
from tuner.training.cohort import Cohort, Context, Task
from tuner.trials import TRAINING_SECONDS, Report, better

CHECKPOINT_PERIOD = 5.0  # seconds; a killed trial loses at most this and an epoch of training
_MIB = 2**20

_log = logging.getLogger(__name__)


class DivergedError(Exception):
    """A trial's loss or metric became NaN or infinite; the message says which."""


class Learner(Protocol):
    """The model that a trial trains."""

    def epoch(self) -> Mapping[str, float]:
        """Train one epoch; returns metrics, the objective's among them.

        Raises DivergedError if they became meaningless.
        """
        ...

    def costs(self) -> Mapping[str, float]:
        """Return the costs of keeping and using the model (`trials.COSTS`); called once."""
        ...

    def weights(self) -> Mapping[str, Tensor]:
        """Return what an export needs; later epochs may change these tensors in place."""
        ...

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return what the next epoch depends on: tensors by name, and the rest in JSON types."""
        ...

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restore what `state` has returned, for a learner with the same parameters."""
        ...


class Member:
    """One trial of a cohort."""

    def __init__(
        self, task: Task, cohort: Cohort, learner: Learner, *, level: int = 0, seconds: float = 0.0
    ) -> None:
        """Train the learner from the start.

        Args:
            task: The trial.
            cohort: Of which it is one.
            learner: Its model.
            level: How many levels of fidelity it has behind it, each of as many epochs.
            seconds: That it has trained at those.

        """
        self.number = task.number
        self._task = task
        self._cohort = cohort
        self._learner = learner
        self._epochs = cohort.epochs_of(task)
        self._before = level * self._epochs  # epochs at lower levels
        self._epoch = 0  # epochs that are finished
        self._saved_at = time.monotonic()
        self._best: float | None = None
        self._best_weights: dict[str, Tensor] = {}
        self._best_measured: Mapping[str, float] = {}
        self._since_best = 0
        self._seconds = seconds  # of training and validation, in all attempts
        self._costs: Mapping[str, float] | None = None

    def epoch(self) -> Report:
        """Train one epoch and report it; DivergedError with a sentence for the user."""
        epoch = self._epoch + 1
        started = time.monotonic()
        try:
            measured = self._learner.epoch()
        except DivergedError as error:
            raise DivergedError(f"{error} in epoch {epoch}") from None
        self._seconds += time.monotonic() - started
        value = measured.get(self._cohort.metric, math.nan)
        if not math.isfinite(value):
            raise DivergedError(f"{self._cohort.metric} became {value} in epoch {epoch}")
        self._epoch = epoch
        self._keep_if_best(value, measured)
        memory = peak_memory(torch.device(self._cohort.device))
        costs = {"peak_memory_mib": memory, **self._measure_costs()}
        return Report(step=epoch, value=value, metrics={**measured, **costs})

    @property
    def is_done(self) -> bool:
        """Whether the last epoch is finished, or none has been better for too long."""
        patience = self._cohort.early_stop
        is_stuck = patience is not None and self._since_best >= patience
        return self._epoch >= self._epochs or is_stuck

    @property
    def seconds(self) -> float:
        """Seconds of training and validation, in all attempts and at all levels."""
        return self._seconds

    def best(self, step: int) -> Report:
        """Return the report of the best epoch, as that of a step."""
        assert self._best is not None
        return Report(step, self._best, {**self._best_measured, **self._measure_costs()})

    def finish_if_done(self, context: Context) -> bool:
        """After the last epoch, write the weights of the best one and finish the trial."""
        if not self.is_done:
            return False
        assert self._best is not None
        path = self._task.folder / WEIGHTS_FILE
        weights.save(self._best_weights, path)
        measured = {**self._best_measured, **self._measure_costs()}
        context.finish(self.number, self._best, path, measured)
        return True

    def _measure_costs(self) -> dict[str, float]:
        if self._costs is None:
            self._costs = self._learner.costs()
        return {**self._costs, TRAINING_SECONDS: self._seconds}

    def save_if_due(self) -> None:
        """Save if the last checkpoint is old enough; a small model's epochs are shorter."""
        if time.monotonic() - self._saved_at >= CHECKPOINT_PERIOD:
            self.save()

    def save(self) -> None:
        """Write a checkpoint of the last epoch."""
        tensors, values = self._learner.state()
        best = checkpoints.with_prefix("best", self._best_weights)
        checkpoint = checkpoints.Checkpoint(
            self._before + self._epoch,
            {**tensors, **best},
            {
                **values,
                "best": self._best,
                "best_measured": dict(self._best_measured),
                "since_best": self._since_best,
                "seconds": self._seconds,
            },
        )
        try:
            checkpoints.save(self._task.folder, checkpoint)
        except DiskFullError as error:  # the trial itself needs no space until its end
            _log.warning("%s: training continues without this checkpoint", error)
        self._saved_at = time.monotonic()

    def resume(self) -> None:
        """Continue from the latest checkpoint of an earlier attempt, if there is one."""
        checkpoint = checkpoints.load_latest((self._task.folder, *self._task.earlier))
        if checkpoint is None:
            if self._task.is_promoted:
                _log.warning("no checkpoint of an earlier attempt can be read: it starts over")
            return
        if not self._before < checkpoint.epoch <= self._before + self._epochs:
            return  # of another level
        tensors, values = checkpoint.tensors, checkpoint.values
        self._learner.restore(tensors, values)
        device = torch.device(self._cohort.device)
        self._best_weights = {
            name: tensor.to(device)
            for name, tensor in checkpoints.without_prefix("best", tensors).items()
        }
        self._epoch = checkpoint.epoch - self._before
        self._best, self._since_best = values["best"], values["since_best"]
        self._best_measured = values.get("best_measured", {})  # missing in former versions
        self._seconds = values.get("seconds", 0.0)

    def _keep_if_best(self, value: float, measured: Mapping[str, float]) -> None:
        """Keep a copy of the weights if this epoch is the best so far."""
        if self._best is not None and not better(self._cohort.direction, value, self._best):
            self._since_best += 1
            return
        self._best, self._best_measured, self._since_best = value, measured, 0
        for name, tensor in self._learner.weights().items():
            if name in self._best_weights:
                self._best_weights[name].copy_(tensor)
            else:
                self._best_weights[name] = tensor.detach().clone()


def peak_memory(device: torch.device) -> float:
    """Return the peak memory in MiB: on a GPU of the tensors, on the CPU of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MIB
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB
