"""tuner's samplers and pruners, and Optuna's, over a table.

tuner is driven as a worker drives it: proposals from a history that every report reaches, without
the database between.
"""

import datetime
import warnings
from typing import Any

import optuna

from benchmarks.search.simulation import Answer, Method, Table
from tuner.search import pruners
from tuner.search.claim import _Observer
from tuner.search.distributions import internal
from tuner.search.history import History
from tuner.search.record import new_row
from tuner.search.sampler import Proposer
from tuner.study_file.parameters import CategoricalParameter, IntParameter
from tuner.study_file.space import Space
from tuner.study_file.study import Pruner, Sampler
from tuner.trials import TrialState

STARTUP = 10  # random trials


class Tuner:
    """A sampler and a pruner of tuner."""

    def __init__(self, table: Table, seed: int, sampler: str, pruner: str) -> None:
        self._table = table
        space = Space(
            parameters={
                name: CategoricalParameter(choices=tuple(f"c{k}" for k in range(size)))
                if name in table.choices
                else IntParameter(low=0, high=size - 1)
                for name, size in table.parameters.items()
            }
        )
        self._history = History(0)
        sampler_spec = Sampler.model_validate({"name": sampler, "startup_trials": STARTUP})
        self._proposer = Proposer(space, sampler_spec, ["minimize"], seed, self._history)
        pruner_spec = Pruner.model_validate({"name": pruner})
        self._pruner = pruners.make(pruner_spec, "minimize", last_step=table.epochs)
        if pruner != "none":
            self._history.watch(_Observer(self._pruner))
        self._reports: dict[int, list[float]] = {}
        self._now = 0.0

    def ask(self) -> tuple[int, int]:
        """Propose a trial."""
        number = self._history.next_number
        params = self._proposer.propose(number).params
        space = self._proposer.distributions(params)
        row = new_row(number + 1, number, TrialState.RUNNING, internal(params, space))
        self._history.add(row._replace(attempt=1, started_at=_time(self._now)), space)
        self._reports[number] = []
        values = [params[name] for name in self._table.parameters]
        return number, self._table.index(
            [int(v.removeprefix("c")) if isinstance(v, str) else int(v or 0) for v in values]
        )

    def tell(self, number: int, epoch: int, loss: float, now: float) -> Answer:
        """Take a report, as the search of the trial's worker does."""
        self._now = now
        reports = self._reports[number]
        reports.append(loss)
        self._pruner.observe(number, epoch, loss)
        is_complete = epoch == self._table.epochs
        is_pruned = not is_complete and self._pruner.should_prune(number, epoch, loss)
        record = self._history.record(number)
        assert record is not None
        row = record.row._replace(steps=list(range(1, epoch + 1)), report_values=list(reports))
        if is_complete or is_pruned:
            row = row._replace(
                state=TrialState.PRUNED if is_pruned else TrialState.COMPLETE,
                values=None if is_pruned else [min(reports)],
                finished_at=_time(now),
            )
        self._history.add(row, record.space)
        return "end" if is_pruned else "go on"


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


class Optuna:
    """Optuna's TPE, by itself or with Hyperband."""

    def __init__(self, table: Table, seed: int, pruner: str) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        hyperband = optuna.pruners.HyperbandPruner(
            min_resource=1, max_resource=table.epochs, reduction_factor=3
        )
        self._table = table
        self._study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=hyperband if pruner == "hyperband" else optuna.pruners.NopPruner(),
            study_name=f"seed {seed}",  # Hyperband draws brackets by name and number
        )
        self._space: dict[str, optuna.distributions.BaseDistribution] = {
            name: optuna.distributions.CategoricalDistribution(list(range(size)))
            if name in table.choices
            else optuna.distributions.IntDistribution(0, size - 1)
            for name, size in table.parameters.items()
        }
        self._running: dict[int, tuple[Any, float]] = {}

    def ask(self) -> tuple[int, int]:
        """Ask the study for a trial."""
        trial = self._study.ask(self._space)
        self._running[trial.number] = trial, float("inf")
        return trial.number, self._table.index(
            [trial.params[name] for name in self._table.parameters]
        )

    def tell(self, number: int, epoch: int, loss: float, now: float) -> Answer:
        """Report a loss and ask the pruner."""
        trial, best = self._running[number]
        best = min(best, loss)
        self._running[number] = trial, best
        trial.report(loss, epoch)
        if epoch == self._table.epochs:
            self._study.tell(trial, best)
        elif trial.should_prune():
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return "end"
        return "go on"


METHODS = {
    "tuner tpe + rungs": lambda table, seed: Tuner(table, seed, "tpe", "rungs"),
    "tuner gp + rungs": lambda table, seed: Tuner(table, seed, "gp", "rungs"),
    "tuner random + rungs": lambda table, seed: Tuner(table, seed, "random", "rungs"),
    "tuner gp + hyperband": lambda table, seed: Tuner(table, seed, "gp", "hyperband"),
    "tuner random + hyperband": lambda table, seed: Tuner(table, seed, "random", "hyperband"),
    "Optuna TPE": lambda table, seed: Optuna(table, seed, "none"),
    "Optuna TPE + Hyperband": lambda table, seed: Optuna(table, seed, "hyperband"),
}


def make(name: str, table: Table, seed: int) -> Method:
    """Make a method, fresh for one study."""
    method: Method = METHODS[name](table, seed)
    return method
