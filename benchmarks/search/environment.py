"""Where studies are simulated: this environment, or one of the peers that the benchmark makes.

The peers' environment is made once, under the cache, by pip: torch first, so that its pin alone
decides which build is installed. A process of either takes studies, one line each.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from benchmarks.search.methods import Environment
from benchmarks.search.tables import CACHE

ROOT = Path(__file__).parents[2]
TORCH = "torch==2.13.0"
PEERS = (
    "numpy==1.26.4",
    "scipy==1.17.1",
    "pandas==3.0.6",
    "optuna==5.0.0",
    "syne-tune[gpsearchers]==0.13.0",
    "autograd==1.9.1",
    "statsmodels==0.15.0",  # of BOHB
)


def interpreter(environment: Environment) -> Path:
    """Return the environment's Python; make the peers' environment if there is none."""
    if environment == "tuner":
        return Path(sys.executable)
    folder = CACHE / "peers"
    python = folder / "bin" / "python"
    stamp = folder / "installed.txt"
    wanted = "\n".join([TORCH, *PEERS])
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing the peers into {folder}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        for packages in ([TORCH], PEERS):
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        stamp.write_text(wanted)
    return python


class Simulator:
    """A process of an environment, which simulates one study at a time."""

    def __init__(self, environment: Environment) -> None:
        variables = dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
        )
        self._process = subprocess.Popen(
            [interpreter(environment), "-m", "benchmarks.search.study"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
            text=True,
        )

    def run(self, study: dict[str, Any]) -> dict[str, Any]:
        """Simulate a study."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(study), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the simulator ended while it ran {study}: see its message above")
        result: dict[str, Any] = json.loads(answer)
        return result

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
