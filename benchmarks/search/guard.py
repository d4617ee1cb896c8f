"""A minute's check that the search still pays: the default against random draws, both with rungs.

    python -m benchmarks.search.guard

After the time of one full trial with 16 workers, the default's best configuration must be among a
fifth of the share that random draws reach, and no more than 8 % of its trials may have run to their
end. The same code gives the same figures, however busy the machine is.
"""

import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.search import tables
from benchmarks.search.simulation import Run
from benchmarks.search.study import Study
from benchmarks.search.suites import DEFAULT, RANDOM

TABLES = ("mnist", "synthetic")
SEEDS = 5
WORKERS = 16
AT = 1.0  # of the time of a full trial
MOST_SHARE = 0.2  # of what random draws reach
MOST_TO_THE_END = 0.08  # of all trials


def measure(study: Study) -> tuple[float, Run]:
    """Return the share of configurations at least as good as a study's best, and its run."""
    task = study.task()
    with threadpool_limits(1):  # sums of one thread are the same every time
        run = study.run()
    return task.share_better(run.best_at(AT * study.unit(task))), run


def problems(default: list[tuple[float, Run]], random: list[tuple[float, Run]]) -> list[str]:
    """Return what is wrong with the default's results beside those of random draws."""
    share, others = (np.exp(np.mean([np.log(s) for s, _ in own])) for own in (default, random))
    to_the_end = sum(r.full_trials for _, r in default) / sum(r.trials for _, r in default)
    print(f"{DEFAULT}: best {share:.3%}, {to_the_end:.1%} run to their end; {RANDOM}: {others:.3%}")
    out = []
    if share > MOST_SHARE * others:
        out.append(f"{DEFAULT} reaches {share:.3%}, more than {MOST_SHARE:g} of {others:.3%}")
    if to_the_end > MOST_TO_THE_END:
        out.append(
            f"{to_the_end:.1%} of its trials run to their end, more than {MOST_TO_THE_END:.0%}"
        )
    return out


def main() -> int:
    """Return 1 if the search has become worse."""
    for table in TABLES:
        tables.load(table)  # once, before processes need it
    studies = {
        method: [
            Study("curves", method, table, seed, WORKERS, AT)
            for table in TABLES
            for seed in range(SEEDS)
        ]
        for method in (DEFAULT, RANDOM)
    }
    with ProcessPoolExecutor(2) as pool:
        results = {method: pool.map(measure, own) for method, own in studies.items()}
        wrong = problems(list(results[DEFAULT]), list(results[RANDOM]))
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
