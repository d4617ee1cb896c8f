"""The limit: the configurations and epochs of a log again, two processes, nothing else.

`replay.py LOG`, and its own log is what BENCH_LOG names.
"""

import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import digits


def work(todo: Any) -> None:
    """One of the processes."""
    while (job := todo.get()) is not None:
        params, epochs, seed = job
        for _ in digits.train(params, epochs, seed):
            pass


if __name__ == "__main__":
    jobs: dict[str, tuple[dict[str, Any], int, int]] = {}
    for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        jobs[record["trial"]] = (record["params"], record["epoch"], record["seed"])
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    for job in (*jobs.values(), *[None] * digits.WORKERS):
        queue.put(job)
    processes = [spawn.Process(target=work, args=(queue,)) for _ in range(digits.WORKERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
