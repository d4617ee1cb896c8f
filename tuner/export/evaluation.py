"""Weights measured in a process of its own, since this one never imports torch."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner import processes
from tuner.errors import BadInputError, ExecutorError
from tuner.export.result import Evaluation
from tuner.files import shown
from tuner.settings import executor_environment
from tuner.study_file.resolved import ResolvedSpec


def evaluate(
    spec: ResolvedSpec,
    params: Mapping[str, Any],
    weights: Path,
    *,
    fingerprint: str | None,
    cache: Path,
    parts: Sequence[str],
    named: Path | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What `families.evaluate` answers; `more` is what else it is asked for.

    BadInputError where the user can help, as with data that is not there any more; it names the
    weights, or the file `named` that they were copied from.
    """
    assert spec.data is not None
    request = {
        "family": spec.family,
        "params": dict(params),
        "data": spec.data.model_dump(mode="json"),
        "cache": str(cache),
        "fingerprint": fingerprint,
        "metric": spec.objective.metric,
        "weights": str(weights),
        "threads": 1,
        "parts": list(parts),
        **more,
    }
    process = subprocess.run(
        processes.command("tuner.families.bundle.evaluate"),
        input=json.dumps(request),
        capture_output=True,
        text=True,
        errors="replace",
        env=executor_environment(1, None),
        check=False,
    )
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines()
        said = lines[-1] if lines else f"its process ended with code {process.returncode}"
        # 2: a TunerError about what the user can change, as data that is not there any more
        kind = BadInputError if process.returncode == BadInputError.exit_code else ExecutorError
        raise kind(f"{shown(named or weights)}: these weights cannot be measured: {said}")
    answer: dict[str, Any] = json.loads(process.stdout)
    return answer


def measured(answer: Mapping[str, Any]) -> Evaluation:
    """The figures of such an answer."""
    return Evaluation(
        answer["measured"], answer["intervals"], answer.get("scale"), answer.get("onnx")
    )
