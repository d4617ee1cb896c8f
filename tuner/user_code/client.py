"""The trial that a program belongs to, according to its environment (family `command`).

A report is a line of JSON on the socket TUNER_REPORT_SOCKET or the descriptor TUNER_REPORT_FD. A
line answers it, `continue` or `stop`, on the same socket or on TUNER_ANSWER_FD. Python programs use
`current_trial()`, all others `tuner report`. If several processes train one model, rank 0 reports
and the others receive the same answers.

This module reads the environment itself: these variables are not settings. The worker sets them,
and ranks come from whatever started the processes.
"""

import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tuner.user_code.reported import checked_constraints, checked_step

if TYPE_CHECKING:  # `tuner report` needs none of it
    from tuner.user_code.trial import Trial

GO_ON, STOP, BAD_INPUT = 0, 3, 2  # exit codes of `tuner report`
CONTINUED = b"continue\n"
STOPPED = b"stop\n"
REPORTS, ANSWERS = "TUNER_REPORT_FD", "TUNER_ANSWER_FD"
SOCKET = "TUNER_REPORT_SOCKET"
FIDELITIES, LEVEL = "TUNER_FIDELITIES", "TUNER_LEVEL"  # levels, and how many were reported before
# a process's rank among all processes, the innermost launcher's first
RANKS = (
    *("RANK", "HOROVOD_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"),
    *("MV2_COMM_WORLD_RANK", "SLURM_PROCID"),
)
# its rank on one machine, and that machine's rank, for launchers that set none of the above
LOCAL_RANKS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK")
ALL_RANKS = frozenset((*RANKS, *LOCAL_RANKS))


class UnreachableError(ConnectionError):
    """The trial's worker or its files cannot be reached."""


_running: "list[Trial]" = []  # the trial of the function that runs in this process, if any


@contextmanager
def running(trial: "Trial") -> Iterator[None]:
    """Make `current_trial()` return this trial in the block, which calls its function."""
    _running.append(trial)
    try:
        yield
    finally:
        _running.pop()


def current_trial() -> "Trial":
    """Get the trial in which this program or function runs; `tuner.current_trial` documents it."""
    import tempfile
    from pathlib import Path

    from tuner.user_code.trial import Trial

    if _running:
        return _running[-1]

    environment = os.environ
    if not in_trial():
        folder = Path(tempfile.gettempdir()) / f"tuner-trial-{os.getpid()}"
        return Trial({}, send=lambda *_: True, folder=folder)
    try:
        return Trial(
            json.loads(Path(environment["TUNER_PARAMS"]).read_text(encoding="utf-8")),
            send=send,
            ask=ask,
            constrain=constrain,
            folder=Path(environment["TUNER_CHECKPOINT"]).parent,
            number=int(environment["TUNER_TRIAL"]),
            attempt=int(environment["TUNER_ATTEMPT"]),
            seed=int(environment["TUNER_SEED"]),
            epochs=int(environment["TUNER_EPOCHS"]) if "TUNER_EPOCHS" in environment else None,
            fidelities=[
                json.loads(word) for word in environment.get(FIDELITIES, "").split(",") if word
            ],
            level=int(environment.get(LEVEL, "0")),
            device=environment["TUNER_DEVICE"],
            threads=int(environment["TUNER_THREADS"]),
        )
    except KeyError as error:
        raise UnreachableError(
            f"the environment lacks {error.args[0]}, which the worker set: whatever starts this "
            "program must pass on all TUNER_ variables"
        ) from None
    except OSError as error:
        raise UnreachableError(
            f"the trial's parameters cannot be read from {environment['TUNER_PARAMS']} "
            f"({error.strerror}): the program must see the folders of the worker's machine"
        ) from None


def in_trial() -> bool:
    """Whether a study's command started this process."""
    return SOCKET in os.environ or REPORTS in os.environ


def send(step: int, value: float, metrics: Mapping[str, float]) -> bool:
    """Report and wait for the answer: whether to continue.

    In a process of a rank other than 0, report nothing and wait for rank 0's answer for this step.
    UnreachableError if the worker cannot be reached.
    """
    if other := rank():
        return _follow({"rank": other, "step": step})
    return _exchange({"step": step, "value": value, "metrics": dict(metrics)})


def constrain(name: str, value: float) -> None:
    """Send the value of a constraint; in a process of a rank other than 0, do nothing.

    UnreachableError if the worker cannot be reached.
    """
    if not rank():
        _exchange({"constraints": {name: value}})


def ask() -> bool:
    """Ask whether to continue, in a process that does not report: rank 0's latest answer."""
    other = rank()
    return _follow({"rank": other}) if other else True


def rank() -> int:
    """The process's rank among those that train the same model; 0 if it is the only one."""
    distributed: Any = sys.modules.get("torch.distributed")
    if getattr(distributed, "is_initialized", lambda: False)():  # not every build of torch has it
        return int(distributed.get_rank())
    for name in RANKS:
        if (value := os.environ.get(name, "")).isdecimal():
            return int(value)
    values = [os.environ.get(name, "") for name in LOCAL_RANKS]
    return max([0, *(int(value) for value in values if value.isdecimal())])


def _follow(question: Mapping[str, Any]) -> bool:
    """Ask in a process that reports nothing; it continues if the worker cannot be reached."""
    try:
        return _exchange(question)
    except UnreachableError as error:
        _warn(f"tuner: rank {question['rank']} is not told when to stop: {error}")
        return True


@lru_cache
def _warn(sentence: str) -> None:
    """Print a sentence once per process."""
    print(sentence, file=sys.stderr)


def _exchange(message: Mapping[str, Any]) -> bool:
    line = (json.dumps(message) + "\n").encode()
    ways = [_over_socket] if SOCKET in os.environ else []
    if "rank" not in message:  # over the pipes, ranks would read each other's answers
        ways.append(_over_pipes)
    problem = OSError(f"{SOCKET} is not set")
    for exchange in ways:
        try:
            return exchange(line) == CONTINUED
        except (BrokenPipeError, ConnectionResetError, ConnectionRefusedError):
            return False  # the worker is gone
        except OSError as error:
            problem = error if exchange is ways[0] else problem
    raise _unreachable(problem)


def _over_socket(line: bytes) -> bytes:
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[SOCKET])
        connection.sendall(line)
        with connection.makefile("rb") as answers:
            return answers.readline()


def _over_pipes(line: bytes) -> bytes:
    reports, answers = (int(os.environ.get(name, "-1")) for name in (REPORTS, ANSWERS))
    for descriptor in (reports, answers):
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):  # it was closed and reused
            raise OSError(f"{REPORTS} is not open in this process")
    with os.fdopen(reports, "wb", closefd=False) as file:
        file.write(line)
    answer = bytearray()
    while not answer.endswith(b"\n") and (byte := os.read(answers, 1)):
        answer += byte
    return bytes(answer)


def _unreachable(error: OSError) -> UnreachableError:
    path = os.environ.get(SOCKET)
    if not path:
        return UnreachableError(
            f"{REPORTS} is not open in this process: whatever started it must let it inherit the "
            f"descriptors {REPORTS} and {ANSWERS}, or pass on {SOCKET}"
        )
    return UnreachableError(
        f"the worker cannot be reached at {path} ({error.strerror or error}): report on the "
        "trial's machine and as its user, or with the descriptors "
        f"{REPORTS} and {ANSWERS} open"
    )


def report(arguments: Sequence[str]) -> int:
    """`tuner report STEP VALUE [NAME=VALUE …]`: report from any language; returns the exit code.

    `tuner report --constraint NAME=VALUE` sends the value of a constraint.
    """
    if arguments[:1] == ["--constraint"]:
        return _report_constraints(arguments[1:])
    try:
        step, value, metrics = _parse(arguments)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    try:
        return GO_ON if send(step, value, metrics) else STOP
    except UnreachableError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT


def _report_constraints(arguments: Sequence[str]) -> int:
    try:
        if not arguments:
            raise ValueError("within a trial: tuner report --constraint NAME=VALUE …")
        for name, value in checked_constraints(_parse_pairs(arguments)).items():
            constrain(name, value)
    except (ValueError, UnreachableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    return GO_ON


def _parse(arguments: Sequence[str]) -> tuple[int, float, dict[str, float]]:
    if len(arguments) < 2 or "--help" in arguments or "-h" in arguments:
        raise ValueError("within a trial: tuner report STEP VALUE [NAME=VALUE …]")
    step = checked_step(_parse_number("STEP", arguments[0]))
    return step, _parse_number("VALUE", arguments[1]), _parse_pairs(arguments[2:])


def _parse_pairs(arguments: Sequence[str]) -> dict[str, float]:
    values = {}
    for pair in arguments:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"{pair!r:.60}: must be NAME=VALUE")
        values[name] = _parse_number(name, value)
    return values


def _parse_number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}: must be a number, is {text!r:.60}") from None
