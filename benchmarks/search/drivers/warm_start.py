"""tuner's searches that learn from past studies, of related tasks or of misleading ones.

A past study is simulated first: the default search's first trials on another table of the same
grid. The misleading ones are the same with the values reversed: what was best was the worst.
"""

from functools import cache
from typing import Any, Literal

from benchmarks.search import tables
from benchmarks.search.drivers.tuner import Tuner
from benchmarks.search.simulation import Table, simulate
from tuner.search.sampler import Proposer
from tuner.search.warm_start.past_study import PastStudy, WarmStart, summarize
from tuner.search.warm_start.portfolio import choose

PAST_TRIALS = 80
PAST_WORKERS = 16

History = Literal["related", "inverted"]


class WarmTuner(Tuner):
    """A study that has learned from the other tables of its collection."""

    def __init__(self, table: Table, seed: int, *, history: History, sampler: Any) -> None:
        super().__init__(table, seed, sampler=sampler)
        spec = self._search.spec
        studies = tuple(
            past_study(name, history == "inverted", seed) for name in related(table.name)
        )
        warm_start = WarmStart(studies, choose(studies, spec.space, {}))
        self._proposer = Proposer(
            spec.space,
            spec.sampler,
            spec.objective.directions,
            spec.seed,
            self._history,
            warm_start=warm_start,
        )


def related(name: str) -> list[str]:
    """Return the other tables of the same collection."""
    return [
        other
        for other, collection in tables.PUBLIC.items()
        if collection == tables.PUBLIC[name] and other != name
    ]


@cache
def past_study(name: str, is_inverted: bool, seed: int) -> PastStudy:
    """Simulate a study, and return what another may learn from it."""
    table = tables.load(f"{name} inverted" if is_inverted else name)
    method = Tuner(table, seed + 1_000, sampler="auto")
    simulate(table, method, workers=PAST_WORKERS, trials=PAST_TRIALS, seed=seed)
    return summarize(method._search.study, method._history)
