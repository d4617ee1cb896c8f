"""tuner's storage against Optuna's own, on the same machine, PostgreSQL and trial.

A trial has 5 parameters, drawn at random, and 5 reports, each of which asks whether to prune; it
computes nothing. Rounds are interleaved, because the disk and processors of a shared machine vary
from minute to minute: compare the ratios. Prints one table of medians.

    python -m benchmarks.storage            five rounds, about 20 minutes
    python -m benchmarks.storage --quick    one round, two minutes

Not measured: networks, and what a trial's own computation hides.
"""

import argparse
import multiprocessing
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.storages import RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalStorage
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url

from benchmarks import fill
from benchmarks.trial import NAMES, Runner, optuna_runner, tuner_runner
from tuner.database import embedded, schema
from tuner.database.engine import Database
from tuner.search import exchange
from tuner.search.storage import Storage

CONTESTANTS = (
    "tuner, worker",
    "tuner, Optuna's API",
    "Optuna RDBStorage",
    "Optuna Journal file",
    "Optuna gRPC proxy",
)
SPAWN = multiprocessing.get_context("spawn")  # as tuner's own processes
GRPC_PORT = 13_700

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


class Bench:
    """The server, and how each contestant is reached."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tuner-bench-"))
        self.folder.chmod(0o755)  # root's server runs as another user
        self.hold = embedded.hold(self.folder / "home", linger=0.0)
        self.url = self.hold.url
        database = Database(make_url(self.url))
        schema.upgrade(database)
        database.close()
        # Optuna's tables in a database of their own
        self.optuna_url = make_url(self.url).set(database="optuna").render_as_string(False)
        with create_engine(self.url, isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("CREATE DATABASE optuna"))
        RDBStorage(self.optuna_url)
        self.postmaster = psutil.Process(_postmaster(self.folder / "home"))

    def close(self) -> None:
        """Stop the server and remove all that it has."""
        self.hold.release()
        embedded.stop(self.folder / "home", force=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def where(self, contestant: str) -> str:
        """What a worker process needs to know."""
        if contestant == "Optuna Journal file":
            return str(self.folder / "journal.log")
        if contestant == "Optuna gRPC proxy":
            return f"localhost:{GRPC_PORT}"
        return self.optuna_url if contestant == "Optuna RDBStorage" else self.url

    def server_seconds(self) -> float:
        """CPU time that the server's processes have used."""
        family = [self.postmaster, *self.postmaster.children(recursive=True)]
        total = 0.0
        for process in family:
            try:
                used = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += used.user + used.system
            if process is self.postmaster:
                total += used.children_user + used.children_system
        return total

    def commits(self) -> int:
        """Transactions that the server has committed."""
        with create_engine(self.url).connect() as connection:
            query = "SELECT sum(xact_commit) FROM pg_stat_database"
            return int(connection.execute(text(query)).scalar_one())


def _postmaster(home: Path) -> int:
    (pid_file,) = home.glob("**/postmaster.pid")
    return int(pid_file.read_text().split()[0])


def make_runner(contestant: str, where: str, study: str) -> Runner:
    """A worker of that contestant in this process."""
    if contestant == "tuner, worker":
        return tuner_runner(where, study)
    if contestant == "tuner, Optuna's API":
        return optuna_runner(Storage(Database(make_url(where))), study)
    if contestant == "Optuna RDBStorage":
        return optuna_runner(RDBStorage(where), study)
    if contestant == "Optuna gRPC proxy":
        host, port = where.split(":")
        return optuna_runner(optuna.storages.GrpcStorageProxy(host=host, port=int(port)), study)
    return optuna_runner(JournalStorage(JournalFileBackend(where)), study)


def work(
    contestant: str, where: str, study: str, seconds: float, start: Barrier, results: Any
) -> None:
    """A worker process: runs trials for a while, says how many and with how much CPU time."""
    runner = make_runner(contestant, where, study)
    runner.trial()  # connections, caches, imports
    start.wait()
    before, until, trials = time.process_time(), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        runner.trial()
        trials += 1
    results.put((trials, time.process_time() - before))


def serve_grpc(url: str) -> None:
    """The proxy's server process."""
    optuna.storages.run_grpc_proxy_server(RDBStorage(url), host="localhost", port=GRPC_PORT)


def throughput(bench: Bench, contestant: str, workers: int, seconds: float) -> dict[str, float]:
    """Trials a second and what they cost, with so many worker processes."""
    where, study = bench.where(contestant), f"load-{time.time_ns()}"
    create(bench, contestant, study)
    start, results = SPAWN.Barrier(workers + 1), SPAWN.Queue()
    processes = [
        SPAWN.Process(target=work, args=(contestant, where, study, seconds, start, results))
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    start.wait(timeout=300)
    server, began = bench.server_seconds(), time.monotonic()
    done = [results.get(timeout=300) for _ in processes]
    took = time.monotonic() - began
    for process in processes:
        process.join()
    trials = sum(n for n, _ in done)
    return {
        f"trials/s, {workers} workers": trials / took,
        f"server CPU ms per trial, {workers} workers": (bench.server_seconds() - server)
        / trials
        * 1e3,
        f"client CPU ms per trial, {workers} workers": sum(cpu for _, cpu in done) / trials * 1e3,
    }


def create(bench: Bench, contestant: str, study: str) -> None:
    """An empty study for the contestant's workers."""
    if contestant == "tuner, worker":
        fill.tuner_study(bench.url, study, 0)
    else:
        make_runner(contestant, bench.where(contestant), study)


def statements(bench: Bench, contestant: str, trials: int = 20) -> dict[str, float]:
    """Statements and transactions per trial of one worker."""
    study = f"count-{time.time_ns()}"
    create(bench, contestant, study)
    runner = make_runner(contestant, bench.where(contestant), study)
    for _ in range(3):
        runner.trial()
    sent = 0

    def count(*_: Any) -> None:
        nonlocal sent
        sent += 1

    event.listen(runner.engine, "before_cursor_execute", count)
    before = bench.commits()
    for _ in range(trials):
        runner.trial()
    runner.close()  # the server adds up a connection's transactions when it ends
    own = 1  # the question itself
    return {
        "statements per trial": sent / trials,
        "transactions per trial": (bench.commits() - before - own) / trials,
    }


def asks(bench: Bench, contestant: str, size: int, study: str, repeat: int) -> dict[str, float]:
    """How long a claim takes (Optuna: ask and suggest) on a study that is `size` trials long."""
    runner = make_runner(contestant, bench.where(contestant), study)
    runner.trial()
    took = sorted(_timed(runner.claim, runner.end) for _ in range(repeat))
    runner.close()
    return {
        f"claim p50 ms, {size:,} trials": statistics.median(took) * 1e3,
        f"claim p95 ms, {size:,} trials": took[int(0.95 * len(took))] * 1e3,
    }


def model_asks(bench: Bench, size: int, study: str, repeat: int) -> dict[str, float]:
    """The same for tuner's worker with TPE, which reads the history."""
    runner = tuner_runner(bench.url, study, "tpe")
    runner.trial()
    took = [_timed(runner.claim, runner.end) for _ in range(repeat)]
    runner.close()
    return {f"claim with TPE p50 ms, {size:,} trials": statistics.median(took) * 1e3}


def _timed(action: Callable[[], Any], after: Callable[[Any], None]) -> float:
    began = time.perf_counter()
    result = action()
    took = time.perf_counter() - began
    after(result)
    return took


def cold(bench: Bench, contestant: str, size: int, study: str) -> dict[str, float]:
    """How long a new process needs to know all trials: those of a worker, or Optuna's records."""
    began = time.perf_counter()
    if contestant == "tuner, worker":
        tuner_runner(bench.url, study).search.refresh()
    else:
        storage = (
            RDBStorage(bench.optuna_url)
            if contestant == "Optuna RDBStorage"
            else Storage(Database(make_url(bench.url)))
        )
        loaded = storage.get_all_trials(storage.get_study_id_from_name(study), deepcopy=False)
        assert len(loaded) >= size
    return {f"cold load ms, {size:,} trials": (time.perf_counter() - began) * 1e3}


def imported(bench: Bench) -> dict[str, float]:
    """How long it takes to copy a study of an RDBStorage."""
    database = Database(make_url(bench.url))
    began = time.perf_counter()
    copy = f"copy-{time.time_ns()}"
    exchange.import_studies(database, bench.optuna_url, name="filled-5000", rename=copy)
    took = time.perf_counter() - began
    database.close()
    return {"import s, 5,000 trials of an RDBStorage": took}


def measure(bench: Bench, rounds: int, *, quick: bool) -> dict[tuple[str, str], list[float]]:
    """Everything, `rounds` times in turns: (contestant, figure) → what was measured."""
    measured: dict[tuple[str, str], list[float]] = {}

    def note(contestant: str, figures: dict[str, float]) -> None:
        for figure, value in figures.items():
            measured.setdefault((contestant, figure), []).append(value)
            print(f"  {contestant}: {figure} {value:.3g}", flush=True)

    worker, api, rdb = CONTESTANTS[:3]
    sizes = (1_000, 10_000, 100_000)
    for size in sizes:
        fill.tuner_study(bench.url, f"filled-{size}", size)
    for size in (1_000, 5_000):
        fill.optuna_study(bench.optuna_url, f"filled-{size}", size)
    fill.tuner_study(bench.url, "filled-5000", 5_000)
    playing = [c for c in CONTESTANTS if c != "Optuna gRPC proxy" or _has_grpc()]
    proxy = None
    if "Optuna gRPC proxy" in playing:
        proxy = SPAWN.Process(target=serve_grpc, args=(bench.optuna_url,), daemon=True)
        proxy.start()
    for contestant in (worker, api, rdb):
        note(contestant, statements(bench, contestant))
    for round_ in range(rounds):
        print(f"round {round_ + 1} of {rounds}", flush=True)
        for workers in (1, 8) if quick else (1, 2, 8, 32):
            for contestant in playing:
                note(contestant, throughput(bench, contestant, workers, 3.0 if quick else 6.0))
        for size in sizes:
            note(worker, asks(bench, worker, size, f"filled-{size}", 20 if quick else 60))
        note(worker, model_asks(bench, 10_000, "filled-10000", 10 if quick else 30))
        for contestant in (api, rdb):
            note(contestant, asks(bench, contestant, 1_000, "filled-1000", 20))
        for contestant in (worker, api, rdb):
            note(contestant, cold(bench, contestant, 5_000, "filled-5000"))
        note(worker, cold(bench, worker, 100_000, "filled-100000"))
        note(worker, imported(bench))
    if proxy is not None:
        proxy.terminate()
    return measured


def _has_grpc() -> bool:
    try:
        import grpc  # noqa: F401
    except ImportError:
        return False
    return True


def table(measured: dict[tuple[str, str], list[float]]) -> str:
    """Markdown with one line per figure, one column per contestant, and ratios to RDBStorage."""
    contestants = [c for c in CONTESTANTS if any(c == name for name, _ in measured)]
    figures = list(dict.fromkeys(figure for _, figure in measured))
    lines = ["| | " + " | ".join(contestants) + " |", "|---" * (len(contestants) + 1) + "|"]
    for figure in figures:
        base = measured.get(("Optuna RDBStorage", figure))
        cells = []
        for contestant in contestants:
            values = measured.get((contestant, figure))
            if values is None:
                cells.append("")
                continue
            cell = f"{statistics.median(values):.3g}"
            if base is not None and contestant != "Optuna RDBStorage":
                ratio = statistics.median(values) / statistics.median(base)
                cell += f" (×{ratio:.2g})"
            cells.append(cell)
        lines.append(f"| {figure} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one short round, two minutes")
    options = parser.parse_args()
    bench = Bench()
    try:
        measured = measure(bench, 1 if options.quick else options.rounds, quick=options.quick)
        print(f"\n{len(NAMES)} parameters, 5 reports, {psutil.cpu_count()} processors\n")
        print(table(measured))
    finally:
        bench.close()


if __name__ == "__main__":
    main()
