"""The trial that a program belongs to, as its environment tells (family `command`).

A report is a line of JSON on the descriptor TUNER_REPORT_FD; each is answered by a line, `continue`
or `stop`, on TUNER_ANSWER_FD. Here are both ends of what tuner offers for that: `current_trial()`
for Python, `tuner report` for everything else.

It reads the environment itself: these variables are no settings, they come from a worker.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tuner.own.measure import checked_step

if TYPE_CHECKING:  # `tuner report` is done before these are imported
    from tuner.own.trial import Trial

GO_ON, STOP, BAD_INPUT = 0, 3, 2  # exit codes of `tuner report`
CONTINUED = b"continue\n"
STOPPED = b"stop\n"
REPORTS, ANSWERS = "TUNER_REPORT_FD", "TUNER_ANSWER_FD"
CLOSED = (
    f"{REPORTS} is not open in this process: whoever started it must let it inherit the "
    f"descriptors {REPORTS} and {ANSWERS}"
)


def current_trial() -> "Trial":
    """The trial in which this program runs.

    In a program that is run by hand: a trial without parameters whose reports go nowhere, so that
    `trial.params.get("learning_rate", 0.01)` gives the default.
    """
    import tempfile
    from pathlib import Path

    from tuner.own.trial import Trial

    environment = os.environ
    if not in_trial():
        folder = Path(tempfile.gettempdir()) / f"tuner-trial-{os.getpid()}"
        return Trial({}, send=lambda *_: True, folder=folder)
    return Trial(
        json.loads(Path(environment["TUNER_PARAMS"]).read_text(encoding="utf-8")),
        send=send,
        folder=Path(environment["TUNER_CHECKPOINT"]).parent,
        number=int(environment["TUNER_TRIAL"]),
        attempt=int(environment["TUNER_ATTEMPT"]),
        seed=int(environment["TUNER_SEED"]),
        epochs=int(environment["TUNER_EPOCHS"]) if "TUNER_EPOCHS" in environment else None,
        device=environment["TUNER_DEVICE"],
        threads=int(environment["TUNER_THREADS"]),
    )


def in_trial() -> bool:
    """Whether this process was started by a command of a study."""
    return REPORTS in os.environ


def send(step: int, value: float, metrics: Mapping[str, float]) -> bool:
    """Report and wait for the answer: whether to go on. OSError if the descriptor is not open."""
    line = json.dumps({"step": step, "value": value, "metrics": dict(metrics)}) + "\n"
    try:
        with os.fdopen(int(os.environ[REPORTS]), "wb", closefd=False) as reports:
            reports.write(line.encode())
    except BrokenPipeError:
        return False
    answer = bytearray()
    while not answer.endswith(b"\n"):
        if not (read := os.read(int(os.environ[ANSWERS]), 1)):
            return False  # the worker is gone
        answer += read
    return bytes(answer) == CONTINUED


def report(arguments: Sequence[str]) -> int:
    """`tuner report STEP VALUE [NAME=VALUE …]`: report from any language; returns the exit code."""
    try:
        step, value, metrics = _parsed(arguments)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    try:
        return GO_ON if send(step, value, metrics) else STOP
    except OSError:
        print(f"error: {CLOSED}", file=sys.stderr)
        return BAD_INPUT


def _parsed(arguments: Sequence[str]) -> tuple[int, float, dict[str, float]]:
    if len(arguments) < 2 or "--help" in arguments or "-h" in arguments:
        raise ValueError("within a trial: tuner report STEP VALUE [NAME=VALUE …]")
    step = checked_step(_number("STEP", arguments[0]))
    metrics = {}
    for pair in arguments[2:]:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"{pair!r:.60}: must be NAME=VALUE")
        metrics[name] = _number(name, value)
    return step, _number("VALUE", arguments[1]), metrics


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}: must be a number, is {text!r:.60}") from None
