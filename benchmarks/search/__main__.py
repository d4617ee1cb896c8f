"""How long searches take to good configurations: tuner's and Optuna's, by simulated time.

    python -m benchmarks.search                          # 16 workers, 10 seeds, real tables
    python -m benchmarks.search --workers 1 4 64 --seeds 10 --methods 'tuner gp + rungs'
    python -m benchmarks.search --tables digits --seeds 3 --processes 1

The unit of time is that of an average trial that runs to its end. Each line has the median time to
the best 1 % and 0.1 % of the configurations, and how many times longer than the reference that is:
geometric means over paired studies. Their 90 % interval draws whole seeds, because a seed shares
its random start across tables. A study that does not reach a target counts as if it did so at the
horizon, which `≥` marks as a bound.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from benchmarks.search import tables
from benchmarks.search.methods import METHODS, make
from benchmarks.search.simulation import Run, simulate

HORIZON = 3.0  # of the time of a full trial, at 16 workers; 4 times that without a pruner
REFERENCE = "tuner random + rungs"
SHARES = (0.01, 0.001)
BOOTSTRAP = 2_000


@dataclass(frozen=True)
class Result:
    """One study: its run in the unit of time, and the processor time of its method."""

    method: str
    table: str
    seed: int
    run: Run
    unit: float
    processor: float


def measure(method: str, table: str, seed: int, workers: int) -> Result:
    """Run one study."""
    task = tables.load(table)
    unit = task.full_trial * max(1.0, 16 / workers)
    is_full = not any(name in method.lower() for name in ("rungs", "hyperband"))
    start = time.process_time()
    run = simulate(
        task,
        make(method, task, seed),
        workers=workers,
        horizon=HORIZON * unit * (4 if is_full else 1),
        target=task.target(SHARES[-1]),
    )
    return Result(method, table, seed, run, unit, time.process_time() - start)


def report(results: Sequence[Result], reference: str) -> None:
    """Print a line per method."""
    rng = np.random.default_rng(0)
    times = {
        share: {
            (r.method, r.table, r.seed): (r.run.time_to(tables.load(r.table).target(share)), r)
            for r in results
        }
        for share in SHARES
    }
    print(
        f"{'method':24} {'studies':>7}"
        + "".join(f"  {f'best {share:.1%}':>10} {'× reference (90 %)':>22}" for share in SHARES)
        + f" {'to the end':>11} {'ms a trial':>11}"
    )
    for method in dict.fromkeys(r.method for r in results):
        own = [r for r in results if r.method == method]
        line = f"{method:24} {len(own):7}"
        for share in SHARES:
            ratios: defaultdict[int, list[float]] = defaultdict(list)
            reached = []
            bound = False
            for r in own:
                at, _ = times[share][method, r.table, r.seed]
                other, other_result = times[share][reference, r.table, r.seed]
                bound |= at is None
                reached.append(np.inf if at is None else at / r.unit)
                horizon = other_result.run.horizon
                ratios[r.seed].append(np.log((at or r.run.horizon) / (other or horizon)))
            seeds = [np.array(values) for values in ratios.values()]
            draws = rng.integers(len(seeds), size=(BOOTSTRAP, len(seeds)))
            means = [np.concatenate([seeds[k] for k in draw]).mean() for draw in draws]
            low, high = np.exp(np.quantile(means, [0.05, 0.95]))
            ratio = np.exp(np.concatenate(seeds).mean())
            text = f"{'≥' if bound else ''}{ratio:.2f} ({low:.2f}–{high:.2f})"
            line += f"  {np.median(reached):10.2f} {text:>22}"
        ends = np.mean([r.run.full_trials / r.run.trials for r in own])
        cost = 1000 * sum(r.processor for r in own) / sum(r.run.trials for r in own)
        print(f"{line} {ends:11.1%} {cost:11.1f}")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[16])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--methods", nargs="+", choices=[*METHODS], default=[*METHODS])
    every = [*tables.REAL, *tables.ADVERSARIAL]
    parser.add_argument("--tables", nargs="+", choices=every, default=[*tables.REAL])
    parser.add_argument("--reference", choices=[*METHODS], default=REFERENCE)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    methods = list(dict.fromkeys([options.reference, *options.methods]))
    with ProcessPoolExecutor(options.processes) as pool:
        for workers in options.workers:
            studies = [
                pool.submit(measure, method, table, seed, workers)
                for table in options.tables
                for seed in range(options.seeds)
                for method in methods
            ]
            print(f"{workers} workers, {options.seeds} seeds, {', '.join(options.tables)}")
            report([study.result() for study in studies], options.reference)


if __name__ == "__main__":
    main()
