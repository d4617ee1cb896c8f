"""How long searches take to good configurations: tuner's and its peers', by simulated time.

    python -m benchmarks.search                              # every suite, 10 seeds
    python -m benchmarks.search curves conditional           # some of them
    python -m benchmarks.search curves --tables digits --methods 'tuner tpe + rungs' --seeds 3
    python -m benchmarks.search curves --report              # only what was measured before

R is the time of an average trial that runs to its end, with 16 workers; fewer have as much longer.
A ratio is a geometric mean over paired studies; its 90 % interval draws whole seeds, because a seed
shares its random start across tables. A study that does not reach a target counts as if it did so
at its horizon, which `≥` marks as a bound.

Results are kept in `build/search/results.jsonl`, so that a measurement may be stopped and go on.
The peers' environment is made there at first need. With less than ten seeds, ratios mislead.
"""

import argparse
import queue
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.search import tables
from benchmarks.search.environment import Simulator, interpreter
from benchmarks.search.methods import METHODS, Environment
from benchmarks.search.report import report
from benchmarks.search.store import Store
from benchmarks.search.study import Study
from benchmarks.search.suites import SUITES

RESULTS = tables.CACHE / "results.jsonl"


def run(studies: Sequence[Study], store: Store, processes: int) -> None:
    """Simulate studies in several processes, and keep each result as it comes."""
    for name in dict.fromkeys(study.table for study in studies):
        tables.load(name)  # here: peers read what is kept
    environments = {METHODS[study.method].environment for study in studies}
    for environment in sorted(environments):
        interpreter(environment)
    todo: queue.SimpleQueue[Study] = queue.SimpleQueue()
    for study in studies:
        todo.put(study)
    results: queue.SimpleQueue[dict[str, object] | Exception] = queue.SimpleQueue()

    def work() -> None:
        simulators: dict[Environment, Simulator] = {}
        try:
            while True:
                study = todo.get_nowait()
                environment = METHODS[study.method].environment
                if environment not in simulators:
                    simulators[environment] = Simulator(environment)
                results.put(simulators[environment].run(asdict(study)))
        except queue.Empty:
            pass
        except Exception as error:
            results.put(error)
        finally:
            for simulator in simulators.values():
                simulator.close()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(processes)]
    for thread in threads:
        thread.start()
    for count in range(1, len(studies) + 1):
        result = results.get()
        if isinstance(result, Exception):
            raise result
        store.add(result)
        if sys.stderr.isatty():
            print(f"\r{count} of {len(studies)} studies", end="", file=sys.stderr)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("--workers", type=int, nargs="+", default=[])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--methods", nargs="+", choices=[*METHODS], default=[], metavar="METHOD")
    parser.add_argument("--tables", nargs="+", choices=tables.names(), default=[], metavar="TABLE")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="simulate nothing")
    parser.add_argument(
        "--any-version", action="store_true", help="report results of other code as well"
    )
    options = parser.parse_args()
    if unknown := set(options.suites) - set(SUITES):
        parser.error(f"there is no suite {', '.join(unknown)}; there are {', '.join(SUITES)}")
    store = Store(options.results, any_version=options.any_version)
    for name in options.suites or SUITES:
        suite = SUITES[name].narrowed(
            tables=tuple(options.tables),
            methods=tuple(options.methods),
            workers=tuple(options.workers),
        )
        for workers in suite.workers:
            studies = list(suite.studies(options.seeds, workers))
            if not options.report:
                run(store.missing(studies), store, options.processes)
            print("\n".join(report(suite, store.select(studies), workers)), flush=True)


if __name__ == "__main__":
    main()
