"""Half an hour of faults under eight workers: is every trial's outcome recorded exactly once?

Every 5 to 40 seconds something happens: a worker or an executor is killed, a worker is stopped past
its lease and resumed, a worker is drained, a connection is cut, or PostgreSQL is killed and
restarted. The seed determines the faults. The trials are user code that sleeps and keeps its own
ledger, with one line per start and end; the database is compared with it afterwards.

    python -m benchmarks.chaos                            30 minutes
    python -m benchmarks.chaos --minutes 3 --seed 7       three minutes, other faults

Not tested: power failures, and network faults between machines (the tests have some).
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.postgres import Server, separate_server
from tuner.commands import reading
from tuner.database import schema
from tuner.database.engine import Database, parse_url
from tuner.errors import DatabaseError
from tuner.trials import StudyState

WORKERS, LEASE, EPOCHS = 8, 5.0, 5
EPOCH = 0.2  # seconds
RATE = 5.0  # trials a second that the budget counts on, less than the workers do without faults
LATEST = 600.0  # seconds after the last fault in which the study has to end

CODE = """
import os, time
from pathlib import Path

LEDGER = Path(__file__).with_name("ledger")

def note(*words):
    descriptor = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (" ".join(map(str, words)) + "\\n").encode())
    os.close(descriptor)

def train(trial):
    note("start", trial.number, trial.attempt, os.getpid(), time.monotonic())
    saved = trial.checkpoint.latest
    begun = int((saved / "epoch").read_text()) if saved else 0
    for epoch in range(begun + 1, trial.epochs + 1):
        time.sleep(EPOCH)
        trial.report(trial.params["x"] * epoch, epoch)
        with trial.checkpoint.save() as folder:
            (folder / "epoch").write_text(str(epoch))
        if trial.should_stop():
            return None
    note("end", trial.number, trial.attempt, os.getpid(), time.monotonic())
    return trial.params["x"] * trial.epochs
"""
STUDY = """
name: chaos
family: function
function: sleeper:train
objective: {{metric: figure, direction: maximize}}
search: {{x: {{low: 0.0, high: 1.0}}}}
budget: {{trials: {trials}, epochs: {epochs}}}
sampler: random
pruner: none
resources: {{device: cpu, threads: 1, max_attempts: 1000}}
"""


class Chaos:
    """The workers and what befalls them."""

    def __init__(self, folder: Path, server: Server, seed: int) -> None:
        url = server.create("chaos")
        self._server, self._random, self._folder = server, random.Random(seed), folder
        self.database = Database(parse_url(url))
        schema.upgrade(self.database)
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TUNER_")},
            "TUNER_DATABASE_URL": url,
            "TUNER_HOME": str(folder / "home"),
            "TUNER_LEASE_SECONDS": str(LEASE),
            "TUNER_ALLOW_CODE": "true",
        }
        self.workers: list[subprocess.Popen[bytes]] = []
        self._expected: set[int] = set()  # workers that were killed or asked to end
        self.executors: set[psutil.Process] = set()
        self.faults: Counter[str] = Counter()
        self.struck: list[tuple[float, set[int]]] = []  # when, and the executors that lost a trial
        self.back: list[float] = []  # when PostgreSQL answered again

    def launch(self, trials: int) -> None:
        """Launch the study and start the workers."""
        (self._folder / "sleeper.py").write_text(CODE.replace("EPOCH)", f"{EPOCH})"))
        file = self._folder / "chaos.yaml"
        file.write_text(STUDY.format(trials=trials, epochs=EPOCHS))
        command = [sys.executable, "-m", "tuner", "launch", str(file)]
        subprocess.run(command, env=self._environment, check=True, stdout=subprocess.DEVNULL)
        for _ in range(WORKERS):
            self.start()

    def start(self) -> None:
        """Start a worker."""
        command = [sys.executable, "-m", "tuner", "worker", "--workers", "1"]
        with self._log(len(self.workers)).open("w") as log:
            self.workers.append(
                subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
            )

    def _log(self, index: int) -> Path:
        return self._folder / f"worker-{index}.log"

    def strike(self) -> None:
        """One fault."""
        name, act = self._random.choice(
            [
                ("worker killed", self._kill_worker),
                ("worker killed", self._kill_worker),
                ("worker stopped past its lease", self._stop_worker),
                ("worker drained", self._drain_worker),
                ("executor killed", self._kill_executor),
                ("connection cut", self._cut_connection),
                ("PostgreSQL crashed", self._crash_postgresql),
            ]
        )
        act()
        self.faults[name] += 1

    def _a_worker(self) -> subprocess.Popen[bytes]:
        return self._random.choice([w for w in self.workers if w.poll() is None])

    def _executors(self, worker: int) -> set[int]:
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(worker).children(recursive=True)
            self.executors.update(children)
            return {process.pid for process in children}
        return set()

    def _kill_worker(self) -> None:
        worker = self._a_worker()
        self.struck.append((time.monotonic(), self._executors(worker.pid)))
        self._expected.add(worker.pid)
        worker.kill()
        self.start()

    def _stop_worker(self) -> None:
        worker = self._a_worker()
        self.struck.append((time.monotonic(), self._executors(worker.pid)))
        worker.send_signal(signal.SIGSTOP)
        time.sleep(LEASE + self._random.uniform(0.5, 5.0))
        worker.send_signal(signal.SIGCONT)

    def _drain_worker(self) -> None:
        worker = self._a_worker()
        self._executors(worker.pid)
        self._expected.add(worker.pid)
        worker.terminate()
        self.start()

    def _kill_executor(self) -> None:
        if executors := self._executors(self._a_worker().pid):
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(sorted(executors)), signal.SIGKILL)

    def _cut_connection(self) -> None:
        with suppress(DatabaseError), self.database.statement() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name LIKE 'tuner %%' AND pid <> pg_backend_pid()"
                " ORDER BY random() LIMIT 1"
            )

    def _crash_postgresql(self) -> None:
        self._server.stop(signal.SIGKILL)
        time.sleep(self._random.uniform(0.0, 3.0))
        self._server.start()
        self.back.append(time.monotonic())

    def dead(self) -> list[str]:
        """The last output of workers that ended by themselves, and their exit codes."""
        return [
            f"{worker.returncode}: {self._log(index).read_text()[-2000:]}"
            for index, worker in enumerate(self.workers)
            if worker.poll() is not None and worker.pid not in self._expected
        ]

    def has_ended(self) -> bool:
        """Whether the study is finished."""
        with suppress(DatabaseError):
            return reading.find(self.database, "chaos").state is StudyState.FINISHED
        return False

    def stop(self) -> int:
        """Stop every worker; how many executors outlive them."""
        for worker in self.workers:
            if worker.poll() is None:
                self._executors(worker.pid)
                worker.terminate()
        for worker in self.workers:
            worker.wait()
        _, alive = psutil.wait_procs(list(self.executors), timeout=10)
        for process in alive:
            process.kill()
        return len(alive)


def ledger(folder: Path) -> list[tuple[str, int, int, int, float]]:
    """What the user code wrote: word, trial, attempt, process, time."""
    lines = (folder / "ledger").read_text().splitlines()
    split = (line.split() for line in lines)
    return [(w, int(n), int(a), int(pid), float(at)) for w, n, a, pid, at in split]


def recoveries(chaos: Chaos, entries: list[tuple[str, int, int, int, float]]) -> list[float]:
    """Seconds from a worker's end to the next start of the trial that it held."""
    took = []
    for when, executors in chaos.struck:
        for word, number, attempt, pid, at in reversed(entries):
            if pid in executors and at < when:
                if word == "start":  # and has not ended: it was running
                    again = [
                        t
                        for w, n, a, _, t in entries
                        if (w, n) == ("start", number) and a > attempt
                    ]
                    took += [min(again) - when] if again else []
                break
    return took


def judge(chaos: Chaos, folder: Path, trials: int) -> list[tuple[str, str]]:
    """The verdict, line by line."""
    dead = chaos.dead()
    for ending in dead:
        print(f"a worker ended with {ending}", file=sys.stderr)
    orphans = chaos.stop()
    study = reading.find(chaos.database, "chaos")
    rows = reading.load_trials(chaos.database, study)
    entries = ledger(folder)
    starts = Counter((n, a) for w, n, a, _, _ in entries if w == "start")
    ended = {n for w, n, _, _, _ in entries if w == "end"}
    done = [t for t in rows if t.state.is_finished]
    whole = [[r.step for r in t.reports] == list(range(1, EPOCHS + 1)) for t in done]
    released = recoveries(chaos, entries)
    worked = [
        min((t for w, _, _, _, t in entries if w == "start" and t > back), default=back) - back
        for back in chaos.back
    ]
    return [
        ("trials, attempts", f"{len(rows):,}, {sum(starts.values()):,}"),
        (
            "faults",
            f"{chaos.faults.total()}: " + ", ".join(f"{n} × {f}" for f, n in chaos.faults.items()),
        ),
        ("trials lost", str(len(set(range(trials)) - {t.number for t in done}))),
        ("ended in the ledger but not in the database", str(len(ended - {t.number for t in done}))),
        (
            "duplicated: numbers, attempts",
            f"{len(rows) - len({t.number for t in rows})}, {sum(n > 1 for n in starts.values())}",
        ),
        ("finished without exactly one report per epoch", str(whole.count(False))),
        ("stuck", str(len(rows) - len(done))),
        ("workers that died by themselves", str(len(dead))),
        ("executors that outlived their worker", str(orphans)),
        ("budget error", str(study.issued - trials)),
        (
            f"time until the trial of a failed worker runs again, s (lease {LEASE:g})",
            spread(released),
        ),
        ("time from PostgreSQL's return to the next claim, s", spread(worked)),
    ]


def spread(values: list[float]) -> str:
    """Median and 95th percentile."""
    if not values:
        return "–"
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    median, most = statistics.median(ordered), ordered[-1]
    return f"p50 {median:.1f}, p95 {p95:.1f}, max {most:.1f} ({len(ordered)} times)"


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for it, at most so long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pause", type=float, nargs=2, default=(5, 40), help="between faults, s")
    options = parser.parse_args()
    trials = round(options.minutes * 60 * RATE)
    folder = Path(tempfile.mkdtemp(prefix="tuner-bench-"))
    pauses = random.Random(options.seed)
    try:
        with separate_server() as server:
            chaos = Chaos(folder, server, options.seed)
            try:
                chaos.launch(trials)
                over = time.monotonic() + 60 * options.minutes
                while not until(chaos.has_ended, pauses.uniform(*options.pause)):
                    if time.monotonic() > over:
                        break
                    chaos.strike()
                if not until(chaos.has_ended, LATEST):
                    print(f"the study has not ended {LATEST:g} s after the last fault")
                lines = judge(chaos, folder, trials)
            finally:
                chaos.stop()
                chaos.database.close()
        print(f"\nseed {options.seed}, {WORKERS} workers, {psutil.cpu_count()} processors\n")
        print("| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in lines))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
