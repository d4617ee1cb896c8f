"""Optuna's samplers and pruners over a table, by its ask-and-tell interface."""

import math
import warnings
from typing import Any

import optuna

from benchmarks.search.simulation import Answer, Table


class Optuna:
    """A sampler, by itself or with Hyperband."""

    def __init__(
        self,
        table: Table,
        seed: int,
        *,
        sampler: str,
        options: dict[str, Any] | None = None,
        hyperband: bool = False,
        second: bool = False,
    ) -> None:
        """`sampler` is the class; `second` adds the table's second objective."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore")  # Optuna's experimental ones
        pruner = optuna.pruners.HyperbandPruner(
            min_resource=1, max_resource=table.epochs, reduction_factor=3
        )
        self._table = table
        self._second = second
        self._study = optuna.create_study(
            sampler=getattr(optuna.samplers, sampler)(seed=seed, **(options or {})),
            pruner=pruner if hyperband else optuna.pruners.NopPruner(),
            study_name=f"seed {seed}",  # Hyperband draws brackets by name and number
            directions=["minimize", "minimize"] if second else ["minimize"],
        )
        self._running: dict[int, optuna.trial.Trial] = {}
        self._best: dict[int, float] = {}
        self._rows: dict[int, int] = {}

    def ask(self) -> tuple[int, int]:
        """Ask the study for a trial."""
        trial = self._study.ask()
        places: dict[str, int] = {}
        for name, size in self._table.parameters.items():
            conditions = self._table.when.get(name, {})
            if all(places.get(parent) in allowed for parent, allowed in conditions.items()):
                if name in self._table.choices:
                    choice = trial.suggest_categorical(name, [f"c{k}" for k in range(size)])
                    places[name] = int(choice[1:])
                else:
                    places[name] = trial.suggest_int(name, 0, size - 1)
        self._running[trial.number] = trial
        self._best[trial.number] = math.inf
        self._rows[trial.number] = self._table.index(places)
        return trial.number, self._rows[trial.number]

    def tell(self, number: int, epoch: int, loss: float, now: float) -> Answer:
        """Report a loss and ask the pruner."""
        trial = self._running[number]
        if math.isnan(loss):
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return "end"
        self._best[number] = min(self._best[number], loss)
        if self._table.epochs > 1 and not self._second:
            trial.report(loss, epoch)
        if epoch == self._table.epochs:
            self._study.tell(trial, self._values(number))
        elif not self._second and trial.should_prune():
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return "end"
        return "go on"

    def _values(self, number: int) -> float | list[float]:
        if not self._second:
            return self._best[number]
        assert self._table.second is not None
        return [self._best[number], float(self._table.second[self._rows[number]])]
