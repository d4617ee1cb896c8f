"""Measure weights in a process of its own, since this one never imports torch."""

import subprocess
from pathlib import Path

from tuner import processes
from tuner.errors import BadInputError, ExecutorError
from tuner.export.result import Evaluation
from tuner.families.bundle.requests import Evaluate, Evaluated
from tuner.files import shown
from tuner.settings import executor_environment


def evaluate(request: Evaluate, *, named: Path | None = None) -> Evaluated:
    """Have a process evaluate weights.

    BadInputError if the user can help, for example if the data is missing; it names the weights,
    or the file `named` that they were copied from.
    """
    process = subprocess.run(
        processes.command("tuner.families.bundle.evaluate"),
        input=request.dumps(),
        capture_output=True,
        text=True,
        errors="replace",
        env=executor_environment(request.threads, None),
        check=False,
    )
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines()
        reason = lines[-1] if lines else f"its process ended with code {process.returncode}"
        # 2: a TunerError about what the user can change, such as missing data
        kind = BadInputError if process.returncode == BadInputError.exit_code else ExecutorError
        weights = shown(named or request.weights)
        raise kind(f"{weights}: these weights cannot be measured: {reason}")
    return Evaluated.loads(process.stdout)


def evaluation_of(answer: Evaluated) -> Evaluation:
    """Return the figures of an answer."""
    onnx = None if answer.onnx is None else answer.onnx.model_dump()
    return Evaluation(answer.measured, answer.intervals, answer.scale, onnx)
