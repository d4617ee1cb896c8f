"""The family of users' own Python functions, which run in the warm executor.

Modules of the study's folder are imported as a program in that folder would import them, and stay
imported for the next trial of the same study. A function runs in the executor's own process: what
it prints goes to the trial's log, what it raises ends its trial, processes it leaves are killed.
"""

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from tuner.families.outcome import Outcome
from tuner.own import source
from tuner.own.measure import number
from tuner.own.trial import Stopped, Trial
from tuner.spec.code import Code
from tuner.training.cohort import Cohort, Context, FailedError, Task
from tuner.trials import Cause

_imported: Code | None = None  # whose modules this process has imported
_others = frozenset(sys.modules)  # tuner's own, which stay even where its sources lie in the folder


def train(cohort: Cohort, _: None, context: Context) -> None:
    """Call the function for every trial of the cohort, one after the other."""
    assert cohort.code is not None
    for task in cohort.tasks:
        with _in_folder(cohort.code.folder), _no_orphans():
            _run(_function(cohort.code), task, cohort, context)


def _run(function: Callable[[Trial], Any], task: Task, cohort: Cohort, context: Context) -> None:
    outcome = Outcome(task, cohort, context)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(cohort.threads)
    trial = Trial(
        task.params,
        send=outcome.report,
        folder=task.folder,
        earlier=task.earlier,
        number=task.number,
        attempt=task.attempt,
        seed=task.seed,
        epochs=cohort.epochs or None,
        device=cohort.device,
        threads=cohort.threads,
    )
    try:
        returned = function(trial)
    except Stopped:
        returned = None
    except SystemExit as error:
        if error.code not in (None, 0):
            raise FailedError(
                Cause.USER_ERROR, f"the function called exit({error.code!r})"
            ) from None
        returned = None
    except Exception:
        if not outcome.is_over:
            raise
        traceback.print_exc()  # how it reacted to being stopped is its own business
        returned = None
    outcome.end(None if returned is None else _value(returned))


def _value(returned: Any) -> float:
    try:
        return number(returned, "what the function returns")
    except TypeError as error:
        hint = "return the metric, or nothing to have the best report count"
        raise FailedError(Cause.USER_ERROR, f"{error}; {hint}") from None


def _function(code: Code) -> Callable[[Trial], Any]:
    """The function, imported if this process has not done so; TunerError if the code is another."""
    global _imported  # noqa: PLW0603 - modules belong to the process
    name, _, attribute = str(code.function).partition(":")
    if _imported != code:
        source.check(code)
        _forget(code.folder if _imported is None else _imported.folder, code.folder)
        _imported = code
    function = getattr(importlib.import_module(name), attribute)
    if not callable(function):
        raise FailedError(Cause.USER_ERROR, f"`{code.function}` is no function")
    return function  # type: ignore[no-any-return]


def _forget(*folders: Path) -> None:
    """Drop the modules of these folders: their files may have changed since."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or name in _others or "site-packages" in file:
            continue
        if any(Path(file).is_relative_to(folder) for folder in folders):
            del sys.modules[name]
    importlib.invalidate_caches()


@contextlib.contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    """Work in the folder and import from it."""
    before = Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        os.chdir(before)


@contextlib.contextmanager
def _no_orphans() -> Iterator[None]:
    """Kill the processes that were started in the block and are still there at its end."""
    before = set(_descendants())
    try:
        yield
    finally:
        left = [child for child in _descendants() if child not in before]
        for child in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(left, timeout=5)


def _descendants() -> list[psutil.Process]:
    """What this process has started. Looking takes milliseconds, asking for a child nothing."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return []
    found: list[psutil.Process] = psutil.Process().children(recursive=True)
    return found
