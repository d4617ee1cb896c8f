"""The overhead of a trial that computes nothing, and the pause of an executor between two trials.

300 trials with 10 reports each, with tuner's whole path (a worker, two executors, PostgreSQL),
Optuna's RDBStorage on the same PostgreSQL and its Journal file, with two processes each. All use
TPE, ask after each report whether to prune, and prune nothing. Rounds are interleaved; the table
has medians. The pause runs from the finish of a trial to the first step of the next one in the same
executor, for the trials that compute nothing and for a small network on digits.

    python -m benchmarks.overhead            three rounds, about ten minutes
    python -m benchmarks.overhead --quick    one round

Not measured: pruning, networks, and how long imports take (`--until-done` includes them in "with
start-up").
"""

import argparse
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.storages import RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalStorage
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from benchmarks import timed
from tuner.commands import launching, preparing, reading
from tuner.database import embedded, schema
from tuner.database.engine import Database
from tuner.settings import Settings
from tuner.worker import devices, executors
from tuner.worker.loop import Worker

TRIALS, REPORTS, PROCESSES, PARAMETERS = 300, 10, 2, 5
PEERS = ("tuner", "Optuna RDBStorage", "Optuna Journal file")
SPAWN = multiprocessing.get_context("spawn")  # as tuner's own processes

STUDY = f"""
name: NAME
family: function
function: nothing:train
objective: {{metric: value, direction: maximize}}
search: {{{", ".join(f"x{n}: {{low: 0.0, high: 1.0}}" for n in range(PARAMETERS))}}}
budget: {{trials: {TRIALS}, epochs: {REPORTS}}}
pruner: {{name: median, min_epochs: {REPORTS}}}
resources: {{device: cpu, threads: 1}}
"""
NOTHING = """
from benchmarks.timed import note

def train(trial):
    note(trial.artifacts.parent, "first")
    value = sum(trial.params.values())
    for step in range(1, trial.epochs + 1):
        trial.report(value * step, step)
        if trial.should_stop():
            return None
    return value
"""
NETWORK = """
name: NAME
family: cnn
data: digits
budget: {trials: 60, epochs: 2}
search: {depth: 1, filters: 16, dense: 32, batch_size: 128}
pruner: none
resources: {device: cpu, threads: 1}
"""

optuna.logging.set_verbosity(optuna.logging.ERROR)


def work_for_tuner(url: str, home: Path, study: str) -> None:
    """A worker process, as `tuner worker --workers 2 --until-done`, with executors that note."""
    executors.PROGRAM = timed.__name__
    database = Database(make_url(url))
    slots = devices.slots(devices.find("cpu"), PROCESSES, 1)
    settings = Settings(home=home)
    Worker(database, settings, slots, only=[study], until_done=True, allow_code=True).run()
    database.close()


def run_tuner(url: str, folder: Path, text_of_study: str) -> tuple[dict[str, float], list[float]]:
    """Launch a study and work on it; its figures, and the pauses between trials in seconds."""
    name = f"s{time.time_ns()}"
    file = folder / f"{name}.yaml"
    file.write_text(text_of_study.replace("NAME", name))
    (folder / "nothing.py").write_text(NOTHING)
    settings, database = Settings(home=folder), Database(make_url(url))
    prepared = preparing.prepare_study(database, file, settings)
    study = launching.launch(database, prepared).study
    worker = SPAWN.Process(target=work_for_tuner, args=(url, folder, name))
    began = time.monotonic()
    worker.start()
    worker.join()
    ended = time.monotonic()
    trials = reading.load_trials(database, study)
    assert len(trials) == study.max_trials, "the budget is exact"
    assert all(t.state == "complete" for t in trials), "nothing fails and nothing is pruned"
    database.close()
    lines = (settings.artifacts / str(study.id) / timed.FILE).read_text().split("\n")
    events = sorted(
        (int(pid), float(at), event) for pid, event, at in (line.split() for line in lines if line)
    )
    pauses = [
        after - before
        for (pid, before, event), (next_pid, after, _) in pairwise(events)
        if event == "finish" and pid == next_pid
    ]
    took = max(at for _, at, _ in events) - min(at for _, at, _ in events)
    return {"with start-up, s": ended - began, "trials/s": len(trials) / took}, pauses


def peer_study(peer: str, where: str, name: str) -> optuna.Study:
    """The study of one of Optuna's storages, as a worker process opens it."""
    storage = (
        RDBStorage(where)
        if peer == "Optuna RDBStorage"
        else JournalStorage(JournalFileBackend(where))
    )
    pruner = optuna.pruners.MedianPruner(n_warmup_steps=REPORTS)
    return optuna.create_study(
        storage=storage, study_name=name, direction="maximize", pruner=pruner, load_if_exists=True
    )


def work_for_peer(peer: str, where: str, name: str, ready: Barrier, ends: Any) -> None:
    """Half of the trials: Optuna has no budget that processes share exactly."""
    study = peer_study(peer, where, name)
    ready.wait()
    for _ in range(TRIALS // PROCESSES):
        trial = study.ask()
        value = sum(trial.suggest_float(f"x{n}", 0.0, 1.0) for n in range(PARAMETERS))
        for step in range(1, REPORTS + 1):
            trial.report(value * step, step)
            trial.should_prune()
        study.tell(trial, value)
    ends.put(time.monotonic())


def run_peer(peer: str, where: str) -> dict[str, float]:
    """The same trials with one of Optuna's storages."""
    name = f"s{time.time_ns()}"
    peer_study(peer, where, name)
    ready, ends = SPAWN.Barrier(PROCESSES + 1), SPAWN.Queue()
    processes = [
        SPAWN.Process(target=work_for_peer, args=(peer, where, name, ready, ends))
        for _ in range(PROCESSES)
    ]
    began = time.monotonic()
    for process in processes:
        process.start()
    ready.wait(timeout=300)
    started = time.monotonic()
    ended = max(ends.get(timeout=600) for _ in processes)
    for process in processes:
        process.join()
    return {"with start-up, s": time.monotonic() - began, "trials/s": TRIALS / (ended - started)}


def measure(folder: Path, rounds: int) -> dict[tuple[str, str], list[float]]:
    """Every figure of every peer, once a round."""
    hold = embedded.hold(folder, linger=0.0)
    database = Database(make_url(hold.url))
    schema.upgrade(database)
    database.close()
    with create_engine(hold.url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("CREATE DATABASE optuna"))
    optuna_url = make_url(hold.url).set(database="optuna").render_as_string(hide_password=False)
    where = {"Optuna RDBStorage": optuna_url, "Optuna Journal file": str(folder / "journal.log")}
    measured: dict[tuple[str, str], list[float]] = defaultdict(list)
    for turn in range(rounds):
        for peer in PEERS[turn % len(PEERS) :] + PEERS[: turn % len(PEERS)]:
            if peer in where:
                figures = run_peer(peer, where[peer])
            else:
                figures, pauses = run_tuner(hold.url, folder, STUDY)
                figures |= percentiles("pause", pauses)
                _, pauses = run_tuner(hold.url, folder, NETWORK)
                figures |= percentiles("pause with a network", pauses)
            figures["reports/s"] = figures["trials/s"] * REPORTS
            for figure, value in figures.items():
                measured[peer, figure].append(value)
                print(f"{peer}: {figure} {value:.3g}", flush=True)
    hold.release()
    return measured


def percentiles(name: str, seconds: list[float]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    cuts = statistics.quantiles(seconds, n=20)
    return {f"{name}, p50 ms": cuts[9] * 1e3, f"{name}, p95 ms": cuts[18] * 1e3}


def table(measured: dict[tuple[str, str], list[float]]) -> str:
    """Markdown with one line per figure and one column per peer: the median and the range."""
    lines = ["| | " + " | ".join(PEERS) + " |", "|---" * (len(PEERS) + 1) + "|"]
    order = ["with start-up, s", "trials/s", "reports/s"]
    figures = order + [f for f in dict.fromkeys(f for _, f in measured) if f not in order]
    for figure in figures:
        cells = []
        for peer in PEERS:
            values = measured.get((peer, figure), [])
            cell = f"{statistics.median(values):.3g}" if values else ""
            if len(values) > 1:
                cell += f" ({min(values):.3g} to {max(values):.3g})"
            cells.append(cell)
        lines.append(f"| {figure} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tuner-bench-"))
    folder.chmod(0o755)  # root's server runs as another user
    try:
        measured = measure(folder, 1 if options.quick else options.rounds)
        print(f"\n{TRIALS} trials, {REPORTS} reports, {psutil.cpu_count()} processors\n")
        print(table(measured))
    finally:
        embedded.stop(folder, force=True)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
