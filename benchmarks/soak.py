"""Half an hour of trials on one study: does the storage stay small and fast?

Four workers run trials of 5 reports that compute nothing, at a steady pace, while 64 long trials
are held and renewed every second, as on a busy cluster. Prints one line per minute: the disk
space per trial, the dead rows that wait for vacuum, the share of updates that touched no index
(HOT), and how long a claim took.

    python -m benchmarks.soak                        30 minutes
    python -m benchmarks.soak --minutes 3 --pace 0   three minutes, as fast as they can

Not measured: other load on the server, and bloat from deleted studies.
"""

import argparse
import statistics
import time
import uuid
from multiprocessing.synchronize import Event
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import make_url

from benchmarks import fill
from benchmarks.storage import SPAWN, Bench
from benchmarks.trial import tuner_runner
from tuner.database import leases
from tuner.database.engine import Database

STUDY = "soak"
WORKERS = 4
HELD = 64  # trials that run all the time
_SIZES = text("""
    SELECT relname, n_dead_tup AS dead, n_tup_upd AS updates, n_tup_hot_upd AS hot,
           pg_relation_size(relid) AS heap, pg_indexes_size(relid) AS indexes
    FROM pg_stat_user_tables WHERE schemaname = 'tuner' AND relname IN ('trials', 'reports')
    ORDER BY relname DESC
""")
COLUMNS = (
    "minute | trials | bytes per trial: heap | indexes | its 5 reports | dead trial rows | "
    "share of all | HOT updates | claim p50 ms | p95 ms"
)


def run_trials(url: str, pace: float, over: Event, claims: Any) -> None:
    """A worker: a trial each `pace` seconds, or without a pause; says how long each claim took."""
    runner = tuner_runner(url, STUDY)
    due = time.monotonic()
    while not over.is_set():
        began = time.perf_counter()
        trial = runner.claim()
        claims.put((time.perf_counter() - began) * 1e3)
        runner.end(trial)
        due = max(due + pace, time.monotonic() - pace)
        over.wait(max(0.0, due - time.monotonic()))
    runner.close()


def hold_trials(url: str, over: Event) -> None:
    """A cluster that trains: many trials whose leases are renewed every second."""
    database, worker = Database(make_url(url)), uuid.uuid4()
    runner = tuner_runner(url, STUDY)
    trials = [runner.search.claim(worker, 60.0).claim.id for _ in range(HELD)]
    while not over.wait(1.0):
        with database.statement() as connection:
            leases.renew(connection, trials, worker_id=worker, lease=60.0)


def line(bench: Bench, minute: float, claims: list[float]) -> str:
    """What the tables look like now."""
    database = Database(make_url(bench.url))
    with database.statement() as connection:
        sizes, reports = connection.execute(_SIZES).all()
        count = connection.execute(text("SELECT count(*) FROM tuner.trials")).scalar_one()
    database.close()
    took = sorted(claims)
    cells = (
        f"{minute:.0f}",
        f"{count:,}",
        f"{sizes.heap / count:.0f}",
        f"{sizes.indexes / count:.0f}",
        f"{(reports.heap + reports.indexes) / count:.0f}",
        f"{sizes.dead:,}",
        f"{sizes.dead / (sizes.dead + count):.1%}",
        f"{sizes.hot / max(1, sizes.updates):.1%}",
        f"{statistics.median(took):.2f}",
        f"{took[int(0.95 * len(took))]:.2f}",
    )
    return "| " + " | ".join(cells) + " |"


def soak(bench: Bench, minutes: float, pace: float) -> None:
    """Run for the given time; print one line per minute."""
    fill.tuner_study(bench.url, STUDY, 0)
    over, claims = SPAWN.Event(), SPAWN.Queue()
    processes = [
        SPAWN.Process(target=run_trials, args=(bench.url, pace * WORKERS, over, claims))
        for _ in range(WORKERS)
    ]
    processes.append(SPAWN.Process(target=hold_trials, args=(bench.url, over)))
    for process in processes:
        process.start()
    print(f"| {COLUMNS} |\n" + "|---" * len(COLUMNS.split("|")) + "|")
    began, minute = time.monotonic(), 0
    while minute < minutes:
        minute += 1
        took = []
        while (left := began + 60 * minute - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))
            while not claims.empty():
                took.append(claims.get())
        print(line(bench, minute, took), flush=True)
    over.set()
    for process in processes:
        process.join()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--pace", type=float, default=0.01, help="seconds between two trials")
    options = parser.parse_args()
    bench = Bench()
    try:
        soak(bench, options.minutes, options.pace)
    finally:
        bench.close()


if __name__ == "__main__":
    main()
