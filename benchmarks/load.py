"""Sixty-four workers on one PostgreSQL: how many claims and reports per second, and how fast.

Each worker is a process with its own connection that claims, reports ten times and finishes. All
together, they aim for 200 claims and 2,000 reports per second on a study of 10,000 trials. A worker
that is late does not wait. Executors and training are left out: they would take the processor time
that is to be measured.

    python -m benchmarks.load                     half a minute, and as much for the start
    python -m benchmarks.load --spread            reports at an even pace instead of all at once
    python -m benchmarks.load --claims 400        beyond its limits: what does it reach?
"""

import argparse
import random
import statistics
import time
from functools import partial
from multiprocessing.synchronize import Barrier
from typing import Any

import psutil

from benchmarks import fill
from benchmarks.storage import SPAWN, Bench
from benchmarks.trial import LEASE, lost, tuner_runner
from tuner.trials import Report, TrialState
from tuner.worker.outbox import Outbox

WORKERS, REPORTS, TRIALS = 64, 10, 10_000


def work(
    url: str, study: str, seconds: float, pause: float, spread: float, start: Barrier, results: Any
) -> None:
    """A worker process: how long claims took, reports until they were stored, and its CPU time.

    `spread`: seconds between two reports of a trial.
    """
    runner = tuner_runner(url, study)
    runner.trial()  # connections, caches, imports
    claims: list[float] = []
    reports: list[float] = []
    start.wait()
    used, now = time.process_time(), time.monotonic()
    due, until = now + random.uniform(0, pause), now + seconds
    while due < until:
        _wait(due, runner.outbox)
        began = time.monotonic()
        trial = runner.claim()
        claims.append(time.monotonic() - began)
        write = partial(runner.search.report, trial=trial, lease=LEASE)
        sent: list[float] = []
        stored = partial(_stored, sent, reports)
        for step in range(1, REPORTS + 1):
            _wait(due + spread * step, runner.outbox)
            report = Report(step, random.random())
            runner.search.should_prune(trial, report)
            sent.append(time.monotonic())
            runner.outbox.report(trial.claim.id, report, write, lost, stored)
        end = partial(runner.search.finish, trial=trial, state=TrialState.COMPLETE, values=[0.5])
        runner.outbox.end(trial.claim.id, end, lost, stored)
        due += pause
    results.put((claims, reports, time.process_time() - used))


def _wait(until: float, outbox: Outbox) -> None:
    """Wait as a worker's loop does: what is due meanwhile is delivered."""
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, outbox.pause()))
        outbox.deliver()


def _stored(sent: list[float], reports: list[float]) -> None:
    now = time.monotonic()
    reports += [now - at for at in sent]
    sent.clear()


def shown(took: list[float]) -> str:
    """Median and 95th percentile in milliseconds."""
    ordered = sorted(took)
    p95 = ordered[int(0.95 * len(ordered))]
    return f"{statistics.median(ordered) * 1e3:.2g}, {p95 * 1e3:.2g}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--claims", type=float, default=200, help="wanted in a second")
    parser.add_argument("--spread", action="store_true", help="reports at an even pace")
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    bench = Bench()
    try:
        fill.tuner_study(bench.url, "load", TRIALS)
        start, results = SPAWN.Barrier(WORKERS + 1), SPAWN.Queue()
        pause = WORKERS / options.claims
        spread = pause / (REPORTS + 1) if options.spread else 0.0
        arguments = (bench.url, "load", options.seconds, pause, spread, start, results)
        processes = [SPAWN.Process(target=work, args=arguments) for _ in range(WORKERS)]
        for process in processes:
            process.start()
        start.wait(timeout=300)
        server, began = bench.server_seconds(), time.monotonic()
        measured = [results.get(timeout=300) for _ in processes]
        took, server = time.monotonic() - began, bench.server_seconds() - server
        for process in processes:
            process.join()
    finally:
        bench.close()
    claims = [seconds for each, _, _ in measured for seconds in each]
    reports = [seconds for _, each, _ in measured for seconds in each]
    clients = sum(used for _, _, used in measured)
    print(f"\n{WORKERS} workers, {TRIALS:,} trials before, {psutil.cpu_count()} processors\n")
    print("| | |\n|---|---|")
    print(f"| claims/s (wanted {options.claims:g}) | {len(claims) / took:.0f} |")
    print(f"| reports/s | {len(reports) / took:,.0f} |")
    print(f"| claim p50, p95 ms | {shown(claims)} |")
    print(f"| until a report is stored, p50, p95 ms | {shown(reports)} |")
    print(f"| processors used by server, by workers | {server / took:.2f}, {clients / took:.2f} |")


if __name__ == "__main__":
    main()
