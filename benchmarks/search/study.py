"""One simulated study, and a process that simulates those that it reads: a line each, as JSON.

echo '{"mode": "curves", "method": "tuner random + rungs", "table": "digits", "seed": 0,
       "workers": 16}' | python -m benchmarks.search.study
"""

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.search import tables
from benchmarks.search.methods import METHODS, make
from benchmarks.search.simulation import Run, Table, simulate

Mode = Literal["curves", "trials"]

HORIZON = 3.0  # of the time of a full trial, at 16 workers
FULL_HORIZON = 12.0  # the same, where every trial runs to its end
TARGETS = (0.01, 0.001)  # shares of the configurations
SETTLED = 2.0  # of the time of a full trial: once it and the last target are reached, a study ends
TRIALS = 200  # finished ones, without curves


@dataclass(frozen=True)
class Study:
    """What is simulated.

    Args:
        mode: `curves`: by time, with reports; `trials`: so many finished trials, without reports.

    """

    mode: Mode
    method: str
    table: str
    seed: int
    workers: int
    limit: float = HORIZON  # of the time of a full trial
    ending: int = TRIALS  # after so many finished trials

    def task(self) -> Table:
        table = tables.load(self.table)
        return table if self.mode == "curves" else table.without_curves()

    def unit(self, task: Table) -> float:
        """The time of an average full trial; fewer than 16 workers get as much longer."""
        return task.full_trial * max(1.0, 16 / self.workers)

    def run(self) -> Run:
        task = self.task()
        method = make(self.method, task, self.seed)
        if self.mode == "trials":
            return simulate(task, method, workers=self.workers, trials=self.ending, seed=self.seed)
        unit = self.unit(task)
        factor = FULL_HORIZON / HORIZON if METHODS[self.method].is_full else 1.0
        return simulate(
            task,
            method,
            workers=self.workers,
            horizon=self.limit * factor * unit,
            target=(task.target(TARGETS[-1]), SETTLED * unit),
            seed=self.seed,
        )


def main() -> None:
    """Simulate the studies that come."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        fields: dict[str, Any] = json.loads(line)
        run = dataclasses.asdict(Study(**fields).run())
        print(json.dumps(fields | run), file=answers, flush=True)


if __name__ == "__main__":
    main()
