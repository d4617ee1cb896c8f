"""Train one configuration again: `python -m tuner.families.bundle.retrain` < request.

A process of its own, without a worker or a database; the request is a `requests.Retrain`. What the
training prints goes to a log in the trial's folder, as in an executor.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from tuner.artifacts import LOG_FILE
from tuner.data import prepare
from tuner.errors import TunerError
from tuner.families import registry
from tuner.families.bundle.requests import Retrain, Retrained
from tuner.families.code import load, load_user_code
from tuner.study_file.data import DataSpec
from tuner.training.causes import print_traceback, sentence
from tuner.training.cohort import Cohort, Decision
from tuner.trials import Report


class _Context:
    """A `training.cohort.Context` that lets a trial run to its end."""

    def __init__(self) -> None:
        self.answer = Retrained(problem="it has ended without a result")

    def report(self, reports: Mapping[int, Report]) -> Mapping[int, Decision]:
        """Go on."""
        return dict.fromkeys(reports, Decision.GO_ON)

    def finish(
        self, _: int, value: float, weights: Path | None, measured: Mapping[str, float]
    ) -> None:
        """Note the result."""
        self.answer = Retrained(value=value)

    def diverged(self, _: int, message: str) -> None:
        """Note the problem."""
        self.answer = Retrained(problem=message)

    def paused(self, _: int) -> None:
        """Never called: every report is answered by going on."""

    def asked_to_stop(self) -> bool:
        """Never asked: there is no worker."""
        return False


def retrain(cohort: Cohort) -> Retrained:
    """Train the cohort's trial; TunerError where the data or the code is not what it was."""
    card = registry.card(cohort.family)
    context = _Context()
    if card.is_user_code:
        load_user_code(card).run(cohort, context)
        return context.answer
    data = prepare(DataSpec.model_validate(cohort.data), cohort.cache)
    if data.fingerprint != cohort.fingerprint:
        raise TunerError(
            f"the data is not what it was (fingerprint {data.fingerprint}, at the launch "
            f"{cohort.fingerprint})"
        )
    importlib.import_module("tuner.training.device").warm_up("cpu")
    load(card).train(cohort, data, context)
    return context.answer


def main() -> None:
    """Answer the request on standard input."""
    cohort = Retrain.loads(sys.stdin.read()).cohort
    output = os.dup(1)
    folder = cohort.tasks[0].folder
    folder.mkdir(parents=True, exist_ok=True)
    log = os.open(folder / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    try:
        answer = retrain(cohort)
    except TunerError as error:
        answer = Retrained(problem=str(error))
    except BaseException as error:  # users' code may raise anything
        print_traceback(error)
        answer = Retrained(problem=sentence(error))
    with os.fdopen(output, "w") as out:
        out.write(answer.dumps())
    os._exit(0)  # threads that the code has left would be waited for


if __name__ == "__main__":
    main()
