"""Syne Tune 0.13.0's schedulers over a table: the last version with promotion and model-based ASHA.

They are driven as its simulator backend drives them: `suggest`, and a decision for every report.
"""

import datetime
import logging
import math
import random
import warnings
from typing import Any

import numpy as np
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, randint
from syne_tune.optimizer import baselines

from benchmarks.search.simulation import Answer, Table

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")

WORST = 1e3  # what a diverged trial reports: Syne Tune's models know no failures


class SyneTune:
    """One of its baselines."""

    def __init__(
        self, table: Table, seed: int, *, scheduler: str, options: dict[str, Any] | None = None
    ) -> None:
        """`scheduler` is the class."""
        if table.when:
            raise ValueError("Syne Tune has no conditional spaces")
        random.seed(seed)
        np.random.seed(seed)
        self._table = table
        space: dict[str, Any] = {
            name: choice([f"c{k}" for k in range(size)])
            if name in table.choices
            else randint(0, size - 1)
            for name, size in table.parameters.items()
        }
        self._scheduler = getattr(baselines, scheduler)(
            {**space, "epochs": table.epochs},
            metric="loss",
            mode="min",
            random_seed=seed,
            resource_attr="epoch",
            max_resource_attr="epochs",
            grace_period=1,
            reduction_factor=3,
            **(options or {}),
        )
        self._trials: dict[int, Trial] = {}
        self._until: dict[int, int] = {}

    def ask(self) -> tuple[int, int] | None:
        """Let the scheduler start a trial, or resume one."""
        suggestion = self._scheduler.suggest(trial_id=len(self._trials))
        if suggestion is None:
            return None
        if suggestion.spawn_new_trial_id:
            number = len(self._trials)
            now = datetime.datetime.now()
            self._trials[number] = Trial(number, config=dict(suggestion.config), creation_time=now)
            self._scheduler.on_trial_add(self._trials[number])
        else:
            number = suggestion.checkpoint_trial_id
            if suggestion.config is not None:
                self._trials[number].config = dict(suggestion.config)
        config = self._trials[number].config
        self._until[number] = int(config.get("epochs", self._table.epochs))
        values = {name: _place(config[name]) for name in self._table.parameters}
        return number, self._table.index(values)

    def tell(self, number: int, epoch: int, loss: float, now: float) -> Answer:
        """Pass a report on."""
        trial = self._trials[number]
        has_diverged = math.isnan(loss)
        result = {"loss": WORST if has_diverged else loss, "epoch": epoch, "elapsed_time": now}
        result["st_worker_time"] = now
        decision = str(self._scheduler.on_trial_result(trial, result)).upper()
        if "STOP" in decision or has_diverged:
            if epoch < self._table.epochs:
                self._scheduler.on_trial_remove(trial)
            return "end"
        if "PAUSE" in decision:
            self._scheduler.on_trial_remove(trial)
            return "pause"
        if epoch >= self._until[number]:
            self._scheduler.on_trial_complete(trial, result)
            return "end" if epoch >= self._table.epochs else "pause"
        return "go on"


def _place(value: Any) -> int:
    return int(value.removeprefix("c")) if isinstance(value, str) else int(value)
