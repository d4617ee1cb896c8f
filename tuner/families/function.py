"""The family of users' Python functions, which run in the warm executor.

Modules of the study's folder are imported once (`user_code/modules.py`) and stay for the study's
next trial. A function runs in the executor's own process: its output goes to the trial's log, an
exception ends its trial, and processes that it leaves behind are killed. A process that it forks
ends where it would leave the function.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psutil

from tuner.families.code import UserCode
from tuner.families.parts.outcome import Outcome
from tuner.study_file.code import Code
from tuner.training.causes import print_traceback
from tuner.training.cohort import Cohort, Context, FailedError, Task, WorkerGoneError
from tuner.trials import Cause
from tuner.user_code import client, modules
from tuner.user_code.reported import number
from tuner.user_code.state import ProcessState
from tuner.user_code.trial import Stopped, Trial, refuse_fork


def run(cohort: Cohort, context: Context) -> bool:
    """Call the function for each trial of the cohort.

    Returns whether it has changed this process so that no other trial may run here.
    """
    assert cohort.code is not None
    is_worn = False
    for task in cohort.tasks:
        with modules.in_folder(cohort.code), _no_orphans():
            is_worn |= _run(_function(cohort.code), task, cohort, context)
    return is_worn


def _run(function: Callable[[Trial], Any], task: Task, cohort: Cohort, context: Context) -> bool:
    outcome = Outcome(task, cohort, context)
    set_threads = getattr(sys.modules.get("torch"), "set_num_threads", None)
    if set_threads is not None:
        set_threads(cohort.threads)
    process = os.getpid()

    def send(step: int, value: float, metrics: Mapping[str, float]) -> bool:
        refuse_fork(process)
        return outcome.report(step, value, metrics)

    def constrain(name: str, value: float) -> None:
        refuse_fork(process)
        outcome.constrain(name, value)

    trial = Trial(
        task.params,
        send=send,
        constrain=constrain,
        folder=task.folder,
        earlier=task.earlier,
        number=task.number,
        attempt=task.attempt,
        seed=task.seed,
        epochs=cohort.last_step or None,
        fidelities=cohort.fidelities,
        level=task.level,
        device=cohort.device,
        threads=cohort.threads,
    )
    state = ProcessState()
    try:
        returned = _call(function, trial, outcome)
        outcome.end(None if returned is None else _value(returned))
    finally:
        outcome.close()
        is_restored = state.restore()
    return not is_restored


def _call(function: Callable[[Trial], Any], trial: Trial, outcome: Outcome) -> Any:
    """Return the function's result, None if it was stopped; FailedError if it exits otherwise."""
    try:
        with _no_forks(), client.running(trial):
            return function(trial)
    except WorkerGoneError:
        raise
    except Stopped:
        return None
    except SystemExit as error:
        if error.code not in (None, 0):
            raise FailedError(
                Cause.USER_ERROR, f"the function called exit({_show(error.code)})"
            ) from None
        return None
    except BaseException as error:
        if not outcome.is_over:
            raise
        print_traceback(error)  # it may react to being stopped as it likes
        return None


def _value(returned: Any) -> float:
    try:
        return number(returned, "what the function returns")
    except TypeError as error:
        hint = "return the metric, or nothing to have the best report count"
        raise FailedError(Cause.USER_ERROR, f"{error}; {hint}") from None


def _function(code: Code) -> Callable[[Trial], Any]:
    """Return the function, importing it once per process; TunerError if the code has changed."""
    try:
        with _no_forks():
            function = modules.load(code)
    except SystemExit as error:
        module = str(code.function).partition(":")[0]
        raise FailedError(
            Cause.USER_ERROR,
            f"the module `{module}` called exit({_show(error.code)}) while it was imported; "
            'what only a program does belongs under `if __name__ == "__main__":`',
        ) from None
    if not callable(function):
        raise FailedError(Cause.USER_ERROR, f"`{code.function}` is no function")
    return function  # type: ignore[no-any-return]


def _show(code: Any) -> str:
    try:
        return "" if code is None else f"{code!r:.200}"
    except Exception:  # raised by a class of the user's
        return f"a {type(code).__name__}"


@contextlib.contextmanager
def _no_forks() -> Iterator[None]:
    """End a process that was forked in the block, before it leaves the block."""
    process = os.getpid()
    code = 0
    try:
        yield
    except BaseException as error:
        if os.getpid() == process:
            raise
        code = 1
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        else:
            print_traceback(error)
    finally:
        if os.getpid() != process:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            os._exit(code)


@contextlib.contextmanager
def _no_orphans() -> Iterator[None]:
    """Kill the processes that were started in the block and still run at its end."""
    before = set(_descendants())
    try:
        yield
    finally:
        orphans = [child for child in _descendants() if child not in before]
        for child in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(orphans, timeout=5)


def _descendants() -> list[psutil.Process]:
    """List the descendants of this process.

    That takes milliseconds; asking first whether there is any child takes next to nothing.
    """
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return []
    processes: list[psutil.Process] = psutil.Process().children(recursive=True)
    return processes


CODE = UserCode(run, in_executor=True)
