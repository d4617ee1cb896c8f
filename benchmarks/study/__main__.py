"""The same 60-trial study with tuner and its peers, against the bare training that it takes.

Every contestant tunes the same function (`digits.py`) over the same space with two workers of one
thread, 12 epochs at most, and early stopping as it does it best: tuner, Optuna (RDBStorage on
PostgreSQL, TPE and Hyperband), Ray Tune (OptunaSearch and ASHA, reused actors) and Syne Tune
(ASHA), each in an environment of its own. After each run, `replay.py` trains the same
configurations for the same epochs in two processes without any framework: `x limit` is the ratio,
which does not depend on what the search happened to try. Interleaved rounds; prints medians.

    python -m benchmarks.study --prepare ENVIRONMENTS    once: install the peers (some gigabytes)
    python -m benchmarks.study ENVIRONMENTS              three rounds, about 15 minutes

Processor time and memory are of all processes, servers too (their proportional share of memory),
looked at each half second. PostgreSQL runs already for tuner and for Optuna.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.study import digits
from tuner.database import embedded

HERE = Path(__file__).parent
PEERS = {
    "ray": ["scikit-learn", "ray[tune]", "optuna<5"],
    "syne": ["scikit-learn", "syne-tune"],
}
CONTESTANTS = ("tuner", "Optuna RDBStorage", "Ray Tune", "Syne Tune")
SAMPLING = 0.5  # seconds between looks at the processes


def prepare(environments: Path) -> None:
    """Install the peers; torch first, the one that runs this."""
    import torch

    for name, packages in PEERS.items():
        python = environments / name / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", environments / name], check=True)
        for wanted in ([f"torch=={torch.__version__.split('+')[0]}"], packages):
            subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)


class Meter:
    """Processor time and memory of everything that mentions a folder, and of its children."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._seconds: dict[tuple[int, float], float] = {}  # (pid, start) → used so far
        self.memory = 0.0  # MB, the most at once

    def look(self) -> None:
        """Take note of what there is now."""
        family: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            try:
                if self._folder in " ".join(
                    [*process.cmdline(), process.environ().get("BENCH_LOG", "")]
                ):
                    for each in (process, *process.children(recursive=True)):
                        family[each.pid] = each
            except psutil.Error:
                continue
        memory = 0.0
        for process in family.values():
            try:
                used = process.cpu_times()
                memory += process.memory_full_info().pss / 1e6
                self._seconds[process.pid, process.create_time()] = used.user + used.system
            except psutil.Error:
                continue
        self.memory = max(self.memory, memory)

    @property
    def seconds(self) -> float:
        """Processor time of all processes, those that have ended too."""
        return sum(self._seconds.values())


def run(command: list[str], folder: Path, log: Path, **more: str) -> tuple[float, Meter]:
    """Run a program to its end: wall seconds, and what it used."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNER_")}
    environment |= {"BENCH_LOG": str(log), "OMP_NUM_THREADS": "1", **more}
    meter, began = Meter(folder), time.monotonic()
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            command, cwd=HERE, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        while True:
            try:
                process.wait(SAMPLING)
                break
            except subprocess.TimeoutExpired:
                meter.look()
    took = time.monotonic() - began
    if process.returncode:
        sys.exit(f"{command}: {(folder / 'output').read_text()[-3000:]}")
    return took, meter


def contest(contestant: str, environments: Path, folder: Path) -> dict[str, float]:
    """One run of a contestant, and the replay of what it trained."""
    log, hold = folder / "log.jsonl", None
    more = {}
    if contestant in ("tuner", "Optuna RDBStorage"):
        hold = embedded.hold(folder / "home", linger=0.0)
    if contestant == "tuner":
        more = {"TUNER_HOME": str(folder / "home")}
        command = [
            sys.executable,
            "-m",
            "tuner",
            "run",
            "digits.yaml",
            "--to",
            str(folder / "best"),
        ]
    elif contestant == "Optuna RDBStorage":
        assert hold is not None
        command = [sys.executable, "optuna_rdb.py", hold.url]
    elif contestant == "Ray Tune":
        command = [str(environments / "ray/bin/python"), "ray_tune.py", str(folder)]
    else:
        more = {"SYNETUNE_FOLDER": str(folder)}
        command = [str(environments / "syne/bin/python"), "syne.py", str(folder)]
    began = time.time()
    took, meter = run(command, folder, log, **more)
    if hold is not None:
        hold.release()
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    good = [r["at"] - began for r in records if r["accuracy"] >= digits.GOAL]
    limit, _ = run([sys.executable, "replay.py", str(log)], folder, folder / "replay.jsonl")
    return {
        "wall s": took,
        "x limit": took / limit,
        f"s to {digits.GOAL}": min(good, default=float("nan")),
        "trials run": len({r["trial"] for r in records}),
        "epochs": len(records),
        "best": max(r["accuracy"] for r in records),
        "CPU s": meter.seconds,
        "memory MB": meter.memory,
    }


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Markdown with one line per contestant: medians."""
    figures = list(next(iter(results.values()))[0])
    lines = ["| | " + " | ".join(figures) + " |", "|---" * (len(figures) + 1) + "|"]
    for contestant, runs in results.items():
        cells = [f"{statistics.median(run[figure] for run in runs):.3g}" for figure in figures]
        lines.append(f"| {contestant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environments", type=Path, help="folder of the peers' environments")
    parser.add_argument("--prepare", action="store_true", help="install them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=CONTESTANTS, choices=CONTESTANTS)
    options = parser.parse_args()
    environments = options.environments.absolute()
    if options.prepare:
        prepare(environments)
        return
    results: dict[str, list[dict[str, Any]]] = {}
    for round_ in range(options.rounds):
        for contestant in options.only:
            folder = Path(tempfile.mkdtemp(prefix="tuner-bench-"))
            folder.chmod(0o755)  # root's server runs as another user
            try:
                figures = contest(contestant, environments, folder)
            finally:
                embedded.stop(folder / "home", force=True)
                shutil.rmtree(folder, ignore_errors=True)
            results.setdefault(contestant, []).append(figures)
            print(
                f"{round_ + 1}: {contestant}",
                *(f"{k} {v:.3g}" for k, v in figures.items()),
                sep=", ",
            )
    print(f"\n{psutil.cpu_count()} processors\n\n{table(results)}")


if __name__ == "__main__":
    main()
