"""tuner's searches over a table.

A `Search` is built from a stored study and driven as a worker drives it: proposals from a history
that every report reaches, without the database between.
"""

import datetime
import math
from types import SimpleNamespace
from typing import Any

from benchmarks.search.simulation import Answer, Table
from tuner.search.claim import Search
from tuner.search.distributions import internal
from tuner.search.record import new_row
from tuner.study_file.auto import choose, settle
from tuner.study_file.resolved import ResolvedBudget, ResolvedSpec
from tuner.study_file.space import Space
from tuner.study_file.study import Pruner, SamplerSection
from tuner.trials import Cause, Report, Study, StudyState, TrialState

TRIALS = 1_000  # the budget that `auto` sees; the simulation ends a study before
SECOND = "second"  # metric of the second objective


class Tuner:
    """A study with a sampler and a pruner."""

    def __init__(
        self, table: Table, seed: int, *, sampler: Any, pruner: Any = "none", second: bool = False
    ) -> None:
        """`second` adds the table's second objective."""
        self._table = table
        self._second = second
        spec = _spec(table, seed, sampler=sampler, pruner=pruner, second=second)
        study = Study(
            name=spec.name,
            state=StudyState.ACTIVE,
            directions=spec.objective.directions,
            metrics=spec.objective.metrics,
            family=spec.family,
            spec=spec.as_json(),
            max_trials=TRIALS,
        )
        no_database: Any = None
        self._search = Search(no_database, study, spec)
        self._history, self._proposer = self._search._history, self._search._proposer
        self._rows: dict[int, int] = {}
        self._now = 0.0

    def ask(self) -> tuple[int, int]:
        """Promote a paused trial, or propose a new one."""
        if due := self._search.promotions.due:
            return due[0], self._resume(due[0])
        number = self._history.next_number
        params = self._proposer.propose(number).params
        space = self._proposer.distributions(params)
        row = new_row(number + 1, number, TrialState.RUNNING, internal(params, space))
        self._history.add(row._replace(attempt=1, started_at=_time(self._now)), space)
        self._rows[number] = self._table.index(
            {name: _place(value) for name, value in params.items()}
        )
        return number, self._rows[number]

    def _resume(self, number: int) -> int:
        """Let a paused trial go on, as a claim does; a pause costs nothing here."""
        record = self._history.record(number)
        assert record is not None
        row = record.row._replace(
            state=TrialState.RUNNING,
            attempt=record.row.attempt + 1,
            started_at=_time(self._now),
            finished_at=None,
        )
        self._search._pruner.promote(number)
        self._history.add(row, record.space)
        return self._rows[number]

    def tell(self, number: int, epoch: int, loss: float, now: float) -> Answer:
        """Take a report, as the search of the trial's worker does."""
        self._now = now
        record = self._history.record(number)
        assert record is not None
        row = record.row
        if math.isnan(loss):
            row = row._replace(
                state=TrialState.FAILED, cause=Cause.DIVERGED, finished_at=_time(now)
            )
            self._history.add(row, record.space)
            return "end"
        others = self._others(number)
        row = row._replace(
            steps=[*(row.steps or ()), epoch],
            report_values=[*(row.report_values or ()), loss],
            measured=[*(row.measured or ()), list(others.values())],
        )
        is_complete = epoch == self._table.epochs
        trial: Any = SimpleNamespace(number=number)
        report = Report(epoch, loss, others)
        is_pruned = not is_complete and self._search.should_prune(trial, report)
        if is_complete:
            best = min(row.report_values or ())
            row = row._replace(state=TrialState.COMPLETE, values=[best, *others.values()])
        elif is_pruned:
            state = TrialState.PAUSED if self._search.promotes else TrialState.PRUNED
            row = row._replace(state=state)
        if is_complete or is_pruned:
            row = row._replace(finished_at=_time(now))
        self._history.add(row, record.space)
        if not is_pruned:
            return "go on"
        if not self._search.promotes:
            return "end"
        self._search._pruner.pause([number])
        return "pause"

    def _others(self, number: int) -> dict[str, float]:
        if not self._second:
            return {}
        assert self._table.second is not None
        return {SECOND: float(self._table.second[self._rows[number]])}


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _spec(table: Table, seed: int, *, sampler: Any, pruner: Any, second: bool) -> ResolvedSpec:
    space = _space(table)
    budget = ResolvedBudget(trials=TRIALS, epochs=table.epochs)
    pruner_section = Pruner.model_validate(pruner)
    choice = choose(space, objectives=2 if second else 1, budget=budget, pruner=pruner_section)
    return ResolvedSpec.model_validate(
        {
            "name": "benchmark",
            "family": "function",
            "data": None,
            "objective": {
                "metric": "loss",
                "direction": "minimize",
                "secondary": [{"metric": SECOND, "direction": "minimize"}] if second else [],
            },
            "budget": budget,
            "space": space,
            "sampler": settle(SamplerSection.model_validate(sampler), choice),
            "pruner": pruner_section,
            "training": {},
            "resources": {},
            "seed": seed,
        }
    )


def _space(table: Table) -> Space:
    def value(name: str, place: int) -> int | str:
        return f"c{place}" if name in table.choices else place

    def parameter(name: str, size: int) -> dict[str, Any]:
        when = {
            parent: [value(parent, place) for place in places]
            for parent, places in table.when.get(name, {}).items()
        }
        if name in table.choices:
            choices = [value(name, place) for place in range(size)]
            return {"type": "categorical", "choices": choices, "when": when}
        return {"type": "int", "low": 0, "high": size - 1, "when": when}

    parameters = {name: parameter(name, size) for name, size in table.parameters.items()}
    return Space.model_validate({"parameters": parameters})


def _place(value: Any) -> int:
    return int(value.removeprefix("c")) if isinstance(value, str) else int(value)
