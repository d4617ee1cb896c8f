"""One trial of a cohort: its epochs, the best of them, its checkpoints, its end.

What it trains is a `Learner`: a network (`training.network`) or another model that learns in
epochs.
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

CHECKPOINT_PERIOD = 5.0  # seconds of training that a killed trial loses at most, and an epoch
_MIB = 2**20

_log = logging.getLogger(__name__)


class DivergedError(Exception):
    """What a trial measures became NaN or infinite; the message says what."""


class Learner(Protocol):
    """What a trial trains."""

    def epoch(self) -> Mapping[str, float]:
        """Train one epoch; returns what was measured, the objective's metric among it.

        DivergedError where measuring has no sense any more.
        """
        ...

    def costs(self) -> Mapping[str, float]:
        """What it costs to keep and to use, of `trials.COSTS`; asked once, after an epoch."""
        ...

    def weights(self) -> Mapping[str, Tensor]:
        """What an export needs of the epoch just done; later epochs may change these tensors."""
        ...

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What the next epoch depends on: tensors by name, and the rest in JSON's own types."""
        ...

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Take on the state that `state` has returned, of a learner with the same parameters."""
        ...


class Member:
    """One trial of a cohort."""

    def __init__(self, task: Task, cohort: Cohort, learner: Learner) -> None:
        self.number = task.number
        self._task = task
        self._cohort = cohort
        self._learner = learner
        self._epochs = cohort.epochs_of(task)
        self._epoch = 0  # epochs done
        self._saved = time.monotonic()
        self._best: float | None = None
        self._best_weights: dict[str, Tensor] = {}
        self._best_measured: Mapping[str, float] = {}
        self._since_best = 0
        self._seconds = 0.0  # of training and of measuring the validation part, in all attempts
        self._costs: Mapping[str, float] | None = None

    def epoch(self) -> Report:
        """Train one epoch and measure it; DivergedError with a sentence."""
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
        self._remember(value, measured)
        memory = peak_memory(torch.device(self._cohort.device))
        others = {"peak_memory_mib": memory, **self._cost()}
        return Report(step=epoch, value=value, metrics={**measured, **others})

    def finish_if_done(self, context: Context) -> bool:
        """At its end, write the weights of the best epoch and say how good they were."""
        patience = self._cohort.early_stop
        is_stuck = patience is not None and self._since_best >= patience
        if self._epoch < self._epochs and not is_stuck:
            return False
        assert self._best is not None
        path = self._task.folder / WEIGHTS_FILE
        weights.save(self._best_weights, path)
        context.finish(self.number, self._best, path, {**self._best_measured, **self._cost()})
        return True

    def _cost(self) -> dict[str, float]:
        if self._costs is None:
            self._costs = self._learner.costs()
        return {**self._costs, TRAINING_SECONDS: self._seconds}

    def save_now_and_then(self) -> None:
        """Save if the last time is long enough ago: a small model's epoch is shorter than that."""
        if time.monotonic() - self._saved >= CHECKPOINT_PERIOD:
            self.save()

    def save(self) -> None:
        """Write a checkpoint of the epoch just done."""
        tensors, values = self._learner.state()
        best = dict(checkpoints.named("best", self._best_weights))
        checkpoint = checkpoints.Checkpoint(
            self._epoch,
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
            _log.warning("%s: training goes on without this checkpoint", error)
        self._saved = time.monotonic()

    def resume(self) -> None:
        """Go on from the latest checkpoint of an earlier attempt, if there is one."""
        found = checkpoints.latest((self._task.folder, *self._task.earlier))
        if found is None:
            return
        self._learner.restore(found.tensors, found.values)
        device = torch.device(self._cohort.device)
        self._best_weights = {
            name: tensor.to(device)
            for name, tensor in checkpoints.under("best", found.tensors).items()
        }
        self._epoch = found.epoch
        self._best, self._since_best = found.values["best"], found.values["since_best"]
        self._best_measured = found.values.get("best_measured", {})  # an older tuner wrote none
        self._seconds = found.values.get("seconds", 0.0)

    def _remember(self, value: float, measured: Mapping[str, float]) -> None:
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
    """MiB: on a GPU of this process's tensors, on the CPU of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MIB
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB
