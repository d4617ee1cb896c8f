"""One configuration trained again: `python -m tuner.families.bundle.retrain` < request.

A process of its own without a worker or a database. The request and the answer are JSON: what to
train, and the value it reached with the file of its weights, or the problem it had. What the
training prints goes to a log in its folder, as in an executor.
"""

import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.artifacts import LOG_FILE
from tuner.data import prepare
from tuner.errors import TunerError
from tuner.families import registry
from tuner.families.code import load, load_user_code
from tuner.study_file.code import Code
from tuner.study_file.data import DataSpec
from tuner.training.causes import print_traceback, sentence
from tuner.training.cohort import Cohort, Decision, Task
from tuner.trials import Report


class _Context:
    """A `training.cohort.Context` that lets a trial run to its end."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] = {"problem": "it has ended without a result"}

    def report(self, reports: Mapping[int, Report]) -> Mapping[int, Decision]:
        """Go on."""
        return dict.fromkeys(reports, Decision.GO_ON)

    def finish(
        self, _: int, value: float, weights: Path | None, measured: Mapping[str, float]
    ) -> None:
        """Note the result."""
        self.answer = {"value": value, "weights": None if weights is None else str(weights)}

    def diverged(self, _: int, message: str) -> None:
        """Note the problem."""
        self.answer = {"problem": message}

    def asked_to_stop(self) -> bool:
        """Nobody asks."""
        return False


def retrain(request: Mapping[str, Any]) -> dict[str, Any]:
    """Train; TunerError where the data or the code is not what it was."""
    card = registry.card(request["family"])
    data = None
    if not card.is_user_code:
        data = prepare(DataSpec.model_validate(request["data"]), Path(request["cache"]))
        if data.fingerprint != request["fingerprint"]:
            raise TunerError(
                f"the data is not what it was (fingerprint {data.fingerprint}, at the launch "
                f"{request['fingerprint']})"
            )
        importlib.import_module("tuner.training.device").warm_up("cpu")
    *earlier, folder = map(Path, request["folders"])
    task = Task(
        number=0,
        attempt=len(earlier) + 1,
        params=request["params"],
        seed=request["seed"],
        folder=folder,
        earlier=tuple(reversed(earlier)),
    )
    cohort = Cohort(
        study=request["study"],
        family=request["family"],
        data=request["data"],
        fingerprint=request["fingerprint"] or "",
        metric=request["metric"],
        direction=request["direction"],
        epochs=request["epochs"] or 0,
        early_stop=request["early_stop"],
        precision=request["precision"],
        device="cpu",
        threads=request["threads"],
        cache=Path(request["cache"]),
        tasks=(task,),
        code=None if request["code"] is None else Code.model_validate(request["code"]),
    )
    context = _Context()
    if data is None:
        load_user_code(card).run(cohort, context)
    else:
        load(card).train(cohort, data, context)
    return context.answer


def main() -> None:
    """Answer the request on standard input."""
    request = json.load(sys.stdin)
    answer_to = os.dup(1)
    folder = Path(request["folders"][-1])
    folder.mkdir(parents=True, exist_ok=True)
    log = os.open(folder / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    try:
        answer = retrain(request)
    except TunerError as error:
        answer = {"problem": str(error)}
    except BaseException as error:  # users' code may raise anything
        print_traceback(error)
        answer = {"problem": sentence(error)}
    with os.fdopen(answer_to, "w") as out:
        json.dump(answer, out)
    os._exit(0)  # threads that the code has left would be waited for


if __name__ == "__main__":
    main()
