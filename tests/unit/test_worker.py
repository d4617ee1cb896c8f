"""The worker's parts that need no database: messages, devices, kept weights, causes, logs."""

import math
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner import artifacts
from tuner.errors import ExecutorError
from tuner.processes import describe_exit
from tuner.settings import executor_environment
from tuner.training.causes import cause
from tuner.training.cohort import Cohort, Decision, Task
from tuner.trials import Cause, Report
from tuner.worker import devices, executor, executors, journal, messages
from tuner.worker.executors import tail
from tuner.worker.pool import Pool

COHORT = Cohort(
    study="s",
    family="cnn",
    data={"source": "digits"},
    fingerprint="f",
    metric="accuracy",
    direction="maximize",
    epochs=3,
    early_stop=None,
    precision="auto",
    device="cpu",
    threads=1,
    cache=Path("/cache"),
    tasks=(
        Task(1, 2, {"lr": 0.1, "name": "x", "flag": True, "n": 3, "none": None}, 7, Path("/f")),
    ),
)


@pytest.mark.parametrize(
    "message", [messages.Train(COHORT), messages.Decided({1: Decision.PRUNE, 2: Decision.GO_ON})]
)
def test_messages_to_the_executor_arrive_as_they_were(message: messages.FromWorker) -> None:
    here, there = Pipe()
    messages.send_to_executor(here, message)
    received = messages.receive_from_worker(there)
    assert received == message
    if isinstance(received, messages.Train):
        params = received.cohort.tasks[0].params
        assert [type(v) for v in params.values()] == [float, str, bool, int, type(None)]


@given(value=st.floats(), metric=st.floats(), step=st.integers(1, 10**6))
def test_reports_keep_every_float(value: float, metric: float, step: int) -> None:
    here, there = Pipe()
    messages.send_to_worker(here, messages.Reported({3: Report(step, value, {"loss": metric})}))
    received = messages.receive_from_executor(there)
    assert isinstance(received, messages.Reported)
    report = received.reports[3]
    for mine, theirs in ((value, report.value), (metric, report.metrics["loss"])):
        assert mine == theirs or (math.isnan(mine) and math.isnan(theirs))


@given(st.binary(max_size=200))
def test_nonsense_from_an_executor_is_refused(nonsense: bytes) -> None:
    here, there = Pipe()
    here.send_bytes(nonsense)
    with pytest.raises(ExecutorError):
        messages.receive_from_executor(there)


def test_a_message_that_is_too_long_is_refused() -> None:
    here, there = Pipe()
    writer = b"x" * 1000
    here.send_bytes(writer)
    limit, messages.MAX_BYTES = messages.MAX_BYTES, 999
    try:
        with pytest.raises(OSError, match="bad message length"):
            messages.receive_from_executor(there)
    finally:
        messages.MAX_BYTES = limit


def test_executors_do_not_get_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_DATABASE_URL", "postgresql://u:secret@h/d")
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setenv("HARMLESS", "1")
    environment = executor_environment(2, "3")
    assert "secret" not in " ".join(environment.values())
    assert environment["HARMLESS"] == "1"
    assert (environment["OMP_NUM_THREADS"], environment["CUDA_VISIBLE_DEVICES"]) == ("2", "3")
    assert executor_environment(1, None)["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_only_the_best_weights_stay(direction: str, tmp_path: Path) -> None:
    keeper = artifacts.KeptWeights()
    for value in (3, 9, 1, 7, 5, 8, 2):
        folder = tmp_path / str(value)
        folder.mkdir()
        (folder / artifacts.WEIGHTS_FILE).touch()
        keeper.add(1, [direction], [float(value)], folder)  # type: ignore[list-item]
    remaining = sorted(int(p.parent.name) for p in tmp_path.glob("*/weights.safetensors"))
    assert remaining == ([3, 5, 7, 8, 9] if direction == "maximize" else [1, 2, 3, 5, 7])


def test_weights_that_no_other_trial_beats_stay_too(tmp_path: Path) -> None:
    keeper = artifacts.KeptWeights()
    #                 worse in the first, better in the second; and one that is worse in both
    for value, cost in ((9, 9), (8, 9), (7, 9), (6, 9), (5, 9), (4, 9), (3, 2), (2, 3), (1, 1)):
        folder = tmp_path / str(value)
        folder.mkdir()
        (folder / artifacts.WEIGHTS_FILE).touch()
        keeper.add(1, ["maximize", "minimize"], [float(value), float(cost)], folder)
    remaining = sorted(int(p.parent.name) for p in tmp_path.glob("*/weights.safetensors"))
    assert remaining == [1, 3, 5, 6, 7, 8, 9]


def test_causes() -> None:
    assert cause(MemoryError()) is Cause.OUT_OF_MEMORY
    assert cause(ValueError()) is Cause.USER_ERROR


def test_endings_are_words() -> None:
    assert describe_exit(-9) == "was killed by SIGKILL"
    assert describe_exit(3) == "exited with code 3"


def test_the_tail_of_a_log_is_bounded(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"\xff" * 10_000 + b"\n".join(b"line %d" % n for n in range(100)))
    lines = (tail(log) or "").splitlines()
    assert lines[-1] == "line 99"
    assert len(lines) == 20
    assert tail(tmp_path / "none") is None


def test_a_log_that_grows_too_long_keeps_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "LOG_BYTES", 1000)
    log = tmp_path / "log.txt"
    with log.open("ab") as file:  # as the executor holds it: every write goes to the end
        file.write(b"".join(b"line %d\n" % n for n in range(1000)))
        file.flush()
        executor._shorten(log)
        file.write(b"after\n")
    lines = log.read_text().splitlines()
    assert lines[0] == "[... earlier output was dropped]"
    assert lines[-2:] == ["line 999", "after"]
    assert log.stat().st_size < 600


@pytest.fixture
def idle() -> Iterator[executors.Executor]:
    """An executor whose process does nothing."""
    here, _ = Pipe()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    slot = devices.Slot("cpu", 1)
    yield executors.Executor(slot, process, here, socket.socketpair()[0])
    process.communicate(b"\n")


@pytest.mark.slow
def test_an_executor_is_worn_after_many_cohorts(
    idle: executors.Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "MAX_COHORTS", 3)
    worn = []
    for _ in range(3):
        idle.count_cohort(1, 0)
        worn.append(idle.is_worn)
    assert worn == [False, False, True]


@pytest.mark.slow
def test_an_executor_is_worn_when_it_keeps_more_than_after_the_first_cohort(
    idle: executors.Executor,
) -> None:
    limit = executors.MAX_GROWTH["cpu"]
    for study, memory_used, is_worn in ((1, 10, False), (2, limit, False), (2, 2 * limit, False),
                                 (2, 2 * limit + 1, True)):  # fmt: skip
        idle.count_cohort(study, memory_used)  # another study has other data
        assert idle.is_worn is is_worn


@pytest.mark.slow
@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a driver")
def test_a_device_that_torch_cannot_use_ends_the_worker_before_it_claims() -> None:
    pool = Pool(lambda _, message: pytest.fail(str(message)), lambda _, said: pytest.fail(said))
    pool.start(devices.Slot("cuda:0", 1, "GPU-none", "cuda:0"))
    with pytest.raises(ExecutorError, match="work on the CPU"):
        while True:
            pool.wait(30)
    pool.kill()


MANY_DESCRIPTORS = """
import os, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
others = [os.open("/dev/null", os.O_RDONLY) for _ in range(2000)]
from tuner.user_code import source
from tuner.study_file.code import Code
from tuner.training.cohort import Cohort, Decision, Task
from tuner.worker import executors
from tuner.worker.devices import Slot
from tuner.worker.messages import *

folder = Path(sys.argv[1])
family, *words = sys.argv[2:]
code = Code(folder=folder, **{family: words[0] if family == "function" else words})
code = code.model_copy(update={"fingerprint": source.fingerprint(code)})
task = Task(0, 1, {"x": 0.5}, 7, folder / "attempt")
cohort = Cohort("s", family, None, "", "accuracy", "maximize", 2, None, "auto", "cpu", 1,
                folder, (task,), code=code)
executor = executors.start(Slot("cpu", 1), warm=False)
assert executor.leash.fileno() > 2000
while not isinstance(message := receive_from_executor(executor.connection), Done):
    match message:
        case Ready():
            executor.send(Train(cohort))
        case Reported(reports):
            print("reported", reports[0].step, reports[0].value)
            executor.send(Decided({0: Decision.GO_ON}))
        case Finished(value=value):
            print("finished", value)
        case Failed():
            print(message)
executor.kill()
print("ended", executor.process.returncode)
"""
MANY_REPORTS = """
import tuner
def train(trial):
    for epoch in (1, 2):
        trial.report(trial.params["x"] * epoch, epoch)
if __name__ == "__main__":
    train(tuner.current_trial())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits are raised as Linux does it")
@pytest.mark.parametrize("code", [("function", "code:train"), ("command", "python", "code.py")])
def test_an_executor_starts_from_a_process_with_many_descriptors(
    tmp_path: Path, code: tuple[str, ...]
) -> None:
    """Its guard and its socket keep the numbers that they have in the worker."""
    (tmp_path / "code.py").write_text(MANY_REPORTS)
    completed = subprocess.run(
        [sys.executable, "-c", MANY_DESCRIPTORS, str(tmp_path), *code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.stdout.splitlines() == [
        "reported 1 0.5", "reported 2 1.0", "finished 1.0", f"ended {-signal.SIGKILL}"
    ], completed.stderr  # fmt: skip


def test_what_attempts_have_reported_is_noted(tmp_path: Path) -> None:
    first, second = tmp_path / "0.1", tmp_path / "0.2"
    for folder, report in (
        (first, Report(1, 0.1)),
        (first, Report(2, 0.2, {"loss": math.nan})),
        (second, Report(2, 0.9)),
        (second, Report(2, 0.3, {"loss": 1.0})),  # the later one counts, as in the database
        (second, Report(3, math.inf)),
    ):
        journal.note(folder, report)
    with (first / "reports.jsonl").open("a") as file:
        file.write('{"step": 7, "va')  # the disk was full for a while
    journal.note(first, Report(7, 0.7))
    journal.note(first, Report(1, 0.1))
    with (second / "reports.jsonl").open("a") as file:
        file.write('{"step": 4, "val')  # killed in the middle
    noted = journal.noted([tmp_path / "0.3", second, first])
    assert noted == [Report(1, 0.1), Report(2, 0.3, {"loss": 1.0}), Report(3, math.inf)]
    journal.note(second / "reports.jsonl", Report(1, 0.1))  # no folder can be there: only logged
