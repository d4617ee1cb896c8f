"""Users' functions in a real executor: whatever they raise, close or leave, it tells its worker."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tuner import processes, testing
from tuner.artifacts import LOG_FILE
from tuner.families.bundle.requests import Retrain, Retrained
from tuner.study_file.code import Code
from tuner.training.cohort import Cohort, Decision, Task
from tuner.trials import Cause
from tuner.user_code import modules, source
from tuner.user_code.state import ProcessState
from tuner.worker import devices, executors
from tuner.worker.executors import Executor
from tuner.worker.messages import (
    Decided,
    Done,
    Failed,
    Finished,
    FromExecutor,
    Ready,
    Reported,
    Train,
    receive_from_executor,
)

NUMBER = 7  # of the trial
MODULE = """
import asyncio, os, resource, signal, sys, threading, time

class Silent(Exception):
    def __str__(self):
        raise RuntimeError
    __repr__ = __str__

def ends(trial):
    exec(trial.params["body"])

def child_ends(trial):
    child = os.fork()
    if child == 0:
        exec(trial.params["body"])
        return 99.0
    return float(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

def threads_report(trial):
    def report():
        for _ in range(25):
            trial.report(1.0)
    threads = [threading.Thread(target=report) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

left = []

def leaves_a_thread(trial):
    if left:
        left[0].join(60)
        assert not left[0].is_alive()
        return 2.0
    go = trial.params["go"]
    def report_late():
        while not os.path.exists(go):
            time.sleep(0.01)
        trial.report(5.0)
    left.append(threading.Thread(target=report_late))
    left[0].start()
    return 1.0

def state():
    mask = os.umask(0o022)
    os.umask(mask)
    return (mask, resource.getrlimit(resource.RLIMIT_NOFILE), signal.getsignal(signal.SIGTERM),
            signal.getitimer(signal.ITIMER_REAL)[0], os.getcwd())

before = state()

def changes_its_process(trial):
    assert state() == before, state()
    os.umask(0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 1000)
    os.chdir("/")
    return 1.0

def is_called_with(trial):
    assert sys.argv == [__file__], sys.argv
    return 1.0
"""


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    """One executor for all tests of this file: it must get over each of them."""
    process = executors.start(devices.Slot("cpu", 1), warm=False)
    assert isinstance(receive_from_executor(process.connection), Ready)
    yield process
    process.kill()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    (folder / "user_code.py").write_text(MODULE)
    return folder


def train(executor: Executor, folder: Path, function: str, **params: Any) -> list[FromExecutor]:
    """What the executor says until it is done; every report is answered `go on`."""
    code = Code(folder=folder, function=function)
    code = code.model_copy(update={"fingerprint": source.fingerprint(code)})
    cohort = Cohort(
        study="s", family="function", data=None, fingerprint="", metric="loss",
        direction="minimize", epochs=0, early_stop=None, precision="auto", device="cpu", threads=1,
        cache=folder, tasks=(Task(NUMBER, 1, params, 3, folder / "attempt"),), code=code,
    )  # fmt: skip
    executor.send(Train(cohort))
    messages = [receive_from_executor(executor.connection)]
    while not isinstance(messages[-1], Done):
        if isinstance(messages[-1], Reported):
            executor.send(Decided({NUMBER: Decision.GO_ON}))
        messages.append(receive_from_executor(executor.connection))
    return messages


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyboardInterrupt('by hand')", "KeyboardInterrupt: by hand"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise asyncio.CancelledError", "CancelledError"),
        ("raise ExceptionGroup('two', [ValueError(), OSError()])", "ExceptionGroup: two (2 sub-"),
        ("raise ValueError('a\\udc80b\\0c')", r"ValueError: a\udc80b\x00c"),
        ("raise ValueError('x' * 10**7)", "ValueError: xxx"),
        ("raise Silent", "Silent: (its text is unknown: __str__ raised RuntimeError)"),
        ("input()", "EOFError: EOF when reading a line"),
        ("raise ConnectionResetError('by peer')", "ConnectionResetError: by peer"),
        ("raise BrokenPipeError('at own pipe')", "BrokenPipeError: at own pipe"),
        ("sys.exit('no data')", "the function called exit('no data')"),
        ("sys.exit(Silent())", "the function called exit(a Silent)"),
        ("sys.stdout.close(); print('x')", "ValueError: I/O operation on closed file."),
        ("sys.stderr.close(); raise OSError('later')", "OSError: later"),
        ("sys.stdout = sys.stderr = None; raise OSError('later')", "OSError: later"),
        ("sys.stdout = object(); raise OSError('later')", "OSError: later"),
    ],
)
def test_whatever_a_function_raises_is_its_error(
    executor: Executor, folder: Path, body: str, message: str
) -> None:
    failed, end = train(executor, folder, "user_code:ends", body=body)
    assert isinstance(failed, Failed)
    assert failed.cause is Cause.USER_ERROR
    assert failed.message.startswith(message)
    assert len(failed.message) <= 2_000
    assert end == Done(end.held, worn=True)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import sys\nsys.exit(0)", "the module `leaving` called exit(0) while it was imported"),
        ("exit()", "the module `leaving` called exit() while it was imported"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        (
            "import argparse\nparser = argparse.ArgumentParser()\n"
            "parser.add_argument('--data', required=True)\nparser.parse_args()",
            "the module `leaving` called exit(2) while it was imported",
        ),
    ],
)
def test_leaving_at_the_import_is_a_users_error(
    executor: Executor, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "leaving.py").write_text(f"{text}\ndef train(trial):\n    return 1.0\n")
    failed, end = train(executor, tmp_path, "leaving:train")
    assert isinstance(failed, Failed)
    assert (failed.cause, failed.message[: len(message)]) == (Cause.USER_ERROR, message)
    assert isinstance(end, Done)
    assert end.worn


def test_a_module_has_its_path_as_its_only_argument(executor: Executor, tmp_path: Path) -> None:
    (tmp_path / "parsing.py").write_text(
        "import argparse\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--epochs', type=int, default=2)\nargs = parser.parse_args()\n"
        "def train(trial):\n    return float(args.epochs)\n"
    )
    finished, _ = train(executor, tmp_path, "parsing:train")
    assert isinstance(finished, Finished)
    assert finished.value == 2.0


def test_a_function_has_its_modules_path_as_its_only_argument(
    executor: Executor, folder: Path
) -> None:
    assert isinstance(train(executor, folder, "user_code:is_called_with")[0], Finished)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", 0),  # it returns from the function
        ("raise ValueError('in the child')", 1),
        ("sys.exit(3)", 3),
        ("sys.exit('no data')", 1),
        ("trial.report(5.0)", 1),
    ],
)
def test_a_forked_child_does_not_speak_for_its_parent(
    executor: Executor, folder: Path, body: str, code: int
) -> None:
    finished, end = train(executor, folder, "user_code:child_ends", body=body)
    assert isinstance(finished, Finished)
    assert finished.value == code
    assert end == Done(end.held, worn=False)  # type: ignore[union-attr]
    if "report" in body:
        log = (folder / "attempt" / LOG_FILE).read_text()
        assert "only the process in which the function was called can report" in log


def test_threads_report_at_the_same_time(executor: Executor, folder: Path) -> None:
    *reported, finished, _ = train(executor, folder, "user_code:threads_report")
    steps = [message.reports[NUMBER].step for message in reported if isinstance(message, Reported)]
    assert steps == list(range(1, 101))
    assert isinstance(finished, Finished)


def test_a_thread_that_is_left_reports_nothing_of_the_next_trial(
    executor: Executor, folder: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    finished, end = train(executor, folder, "user_code:leaves_a_thread", go=str(go))
    assert isinstance(finished, Finished)
    assert end == Done(end.held, worn=True)  # type: ignore[union-attr]
    go.touch()
    finished, _ = train(executor, folder, "user_code:leaves_a_thread", go=str(go))
    assert isinstance(finished, Finished)
    assert finished.value == 2.0


def test_what_a_function_changes_of_its_process_is_undone(executor: Executor, folder: Path) -> None:
    for _ in range(2):
        finished, end = train(executor, folder, "user_code:changes_its_process")
        assert isinstance(finished, Finished), finished
        assert end == Done(end.held, worn=False)  # type: ignore[union-attr]


def test_a_limit_that_cannot_be_raised_again_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    state = ProcessState()
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    assert state.restore()
    assert resource.getrlimit(resource.RLIMIT_CORE) == (soft, hard)

    def refuse(*_: Any) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(state, "_limits", {resource.RLIMIT_CORE: (soft, hard - 1)})
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert not state.restore()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (
            "threading.Thread(target=time.sleep, args=(1000,)).start(); trial.report(0.5)",
            Retrained(value=0.5),
        ),
        ("raise KeyboardInterrupt('\\udc80')", Retrained(problem=r"KeyboardInterrupt: \udc80")),
    ],
)
def test_a_bundles_function_ends_with_its_answer(
    tmp_path: Path, folder: Path, body: str, answer: Retrained
) -> None:
    code = Code(folder=folder, function="user_code:ends")
    code = code.model_copy(update={"fingerprint": source.fingerprint(code)})
    task = Task(0, 1, {"body": body}, 0, tmp_path / "1")
    cohort = Cohort(
        "s", "function", None, "", "loss", "minimize", 0, None, "auto", "cpu", 1, tmp_path, (task,),
        code,
    )  # fmt: skip
    completed = subprocess.run(
        processes.command("tuner.families.bundle.retrain"),
        input=Retrain(cohort=cohort).dumps(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Retrained.loads(completed.stdout) == answer


# Modules by any name


@pytest.mark.parametrize("name", ["random", "queue", "tuner", "psutil", "__main__", "ordinary"])
def test_a_module_may_have_any_name(executor: Executor, tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text(
        "import queue, random, tuner\nimport helper, alembic\n"
        "def train(trial):\n"
        "    assert isinstance(trial, tuner.Trial) and queue.Queue and random.Random\n"
        "    return helper.ONE + alembic.ONE\n"
    )
    (tmp_path / "helper.py").write_text("import tempfile, random\nONE = random.Random and 1.0\n")
    (tmp_path / "alembic.py").write_text("ONE = 1.0\n")  # comes before an installed one
    finished, _ = train(executor, tmp_path, f"{name}:train")
    assert isinstance(finished, Finished), finished
    assert finished.value == 2.0


@pytest.mark.parametrize("top", ["json", "ordinary"])
@pytest.mark.parametrize("is_regular", [True, False])
def test_a_package_may_have_any_name(
    executor: Executor, tmp_path: Path, top: str, is_regular: bool
) -> None:
    package = tmp_path / top
    package.mkdir()
    if is_regular:
        (package / "__init__.py").write_text("")
    (package / "part.py").write_text("ONE = 1.0\n")
    (package / "train.py").write_text(
        "import json\nfrom .part import ONE\ndef train(trial):\n    return ONE + json.loads('1')\n"
        if top == "json"
        else "from ordinary.part import ONE\ndef train(trial):\n    return 2 * ONE\n"
    )
    finished, _ = train(executor, tmp_path, f"{top}.train:train")
    assert isinstance(finished, Finished), finished
    assert finished.value == 2.0


def test_processes_that_a_function_spawns_find_the_standard_library(
    executor: Executor, tmp_path: Path
) -> None:
    for name in {*sys.stdlib_module_names, "numpy"}:
        (tmp_path / f"{name}.py").write_text("raise ImportError(__name__)\n")
    (tmp_path / "spawning.py").write_text(
        "import multiprocessing\n"
        "def double(x):\n    return 2 * x\n"
        "def train(trial):\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        return pool.map(double, [1.0])[0]\n"
    )
    finished, _ = train(executor, tmp_path, "spawning:train")
    assert isinstance(finished, Finished), finished
    assert finished.value == 2.0


def test_an_installed_module_is_uncovered_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed, own = tmp_path / "installed", tmp_path / "own"
    for place in (installed, own):
        place.mkdir()
        (place / "covered_module.py").write_text("def train(trial): ...\n")
    (own / "own_module.py").write_text("def train(trial): ...\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(installed)])
    monkeypatch.setattr(modules, "_environment", dict(os.environ))
    monkeypatch.delenv("SET_BY_OWN_CODE", raising=False)
    monkeypatch.setenv("CHANGED_BY_OWN_CODE", "before")
    monkeypatch.setitem(modules._environment, "CHANGED_BY_OWN_CODE", "before")
    for name, stays in (("covered_module", False), ("own_module", True)):
        code = Code(folder=own, function=f"{name}:train")
        code = code.model_copy(update={"fingerprint": source.fingerprint(code)})
        with modules.in_folder(code):
            modules.load(code)
        assert sys.modules[name].__file__ == str(own / f"{name}.py")
        modules.uncover_installed()
        assert (name in sys.modules) is stays
    os.environ.update(SET_BY_OWN_CODE="1", CHANGED_BY_OWN_CODE="after")
    modules.forget()  # as before other code
    assert "own_module" not in sys.modules
    assert "SET_BY_OWN_CODE" not in os.environ
    assert os.environ["CHANGED_BY_OWN_CODE"] == "before"


# The trial without a service


@pytest.mark.slow
def test_a_trial_in_a_test_ends_as_one_in_a_study(tmp_path: Path) -> None:
    trial = testing.trial(folder=tmp_path, epochs=2)
    trial.report(0.5)
    assert not trial.should_stop()
    trial.report(float("nan"))
    assert trial.should_stop()
    trial = testing.trial(folder=tmp_path, epochs=2)
    trial.report(0.5, step=3)
    assert trial.should_stop()
    assert trial.reports == []
    child = os.fork()
    if child == 0:
        try:
            testing.trial(folder=tmp_path)._send(1, 1.0, {})  # its own is fine
            trial._send(1, 1.0, {})
        except RuntimeError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
