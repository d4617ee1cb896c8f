"""What becomes of trials that do not end well: causes, retries, time limits, draining."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.commands import tuner
from tests.support.waiting import STUCK, eventually
from tuner.commands import changing, reading, steering
from tuner.database.engine import Database
from tuner.trials import Cause, StudyState, Trial, TrialState

STUDY = """
name: ends
family: function
function: ends:train
objective: {{metric: loss, direction: minimize}}
search:
  kind: [good, memory, raise, nan, silent, endless, slow]
  x: {{low: 0.0, high: 1.0}}
budget: {{trials: {trials}, epochs: 100000, {budget}}}
sampler: random
pruner: none
resources: {{workers: {workers}, device: cpu, {resources}}}
enqueue: [{enqueue}]
"""
MODULE = """
import signal, sys, time

def train(trial):
    kind = trial.params["kind"]
    print("this is", kind, "attempt", trial.attempt)
    if kind == "memory":
        raise MemoryError("no room for this one")
    if kind == "raise":
        raise ValueError("this is wrong")
    if kind == "nan":
        trial.report(float("nan"), 1)
    start = 0
    if trial.checkpoint.latest is not None:
        start = int((trial.checkpoint.latest / "step").read_text())
    if kind == "silent":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        while True:
            time.sleep(1)
    last = {"endless": 10**6, "slow": 40}.get(kind, 3)
    for step in range(start + 1, last + 1):
        trial.report(1 / step, step)
        if trial.should_stop():
            with trial.checkpoint.save() as folder:
                (folder / "step").write_text(str(step))
            return None
        time.sleep(0.05)
    return 0.5
"""


def write(
    folder: Path, *kinds: str, budget: str = "max_failures: 9", resources: str = "max_attempts: 2",
    workers: int = 1,
) -> Path:  # fmt: skip
    """A study whose trials end as `kinds` say, in this order."""
    (folder / "ends.py").write_text(MODULE)
    path = folder / "ends.yaml"
    path.write_text(
        STUDY.format(
            trials=len(kinds),
            budget=budget,
            resources=resources,
            workers=workers,
            enqueue=", ".join(f"{{kind: {kind}}}" for kind in kinds),
        )
    )
    return path


def trials(database: Database) -> list[Trial]:
    return reading.load_trials(database, reading.find(database, "ends"))


@contextmanager
def worker(
    environment: dict[str, str], folder: Path, *arguments: str
) -> Iterator[subprocess.Popen[str]]:
    """A worker process, started in the folder of the study's code."""
    command = [sys.executable, "-m", "tuner", "worker", "--allow-code", "--workers", "1"]
    started = subprocess.Popen(
        [*command, *arguments], env=environment, cwd=folder, stderr=subprocess.PIPE, text=True
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


WRONG = """
def train(trial):
    raise TypeError(f"no layer {trial.number} at {hex(id(trial))}")
"""
RIGHT = """
def train(trial):
    return trial.params["x"]
"""
CORRECTED = """
name: my study
family: function
function: {module}:train
objective: {{metric: loss, direction: minimize}}
search: {{x: {{low: 0.0, high: 1.0}}}}
budget: {{trials: 4}}
resources: {{workers: 1, device: cpu}}
"""
LATEST = "(user_error): TypeError: no layer 1 at 0x"


def test_code_that_always_fails_says_why_and_goes_on_when_it_is_corrected(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    module = tmp_path / "wrong.py"
    module.write_text(WRONG)
    (tmp_path / "s.yaml").write_text(CORRECTED.format(module="wrong"))
    run = {"environment": environment, "cwd": tmp_path}

    completed = tuner("run", "s.yaml", **run)
    assert completed.returncode == 1
    last = completed.stderr.splitlines()[-1]
    assert last.startswith("paused: its first 2 trials failed alike (user_error), the last: Type")
    assert " -m tuner retry 'my study'` queues" in last
    assert " -m tuner run s.yaml` continues" in last
    rows = tuner("trials", "my study", "--state", "failed", **run).stdout.splitlines()
    assert "cause       message" in rows[0]
    assert "user_error  TypeError: no layer 0 at 0x" in rows[1]

    # without a correction nothing is better; then the budget is at its end
    assert tuner("retry", "my study", **run).stderr.startswith("the study is paused; ")
    completed = tuner("run", "s.yaml", "--json", "--set", "budget.trials=2", **run)
    assert completed.returncode == 1
    answer = json.loads(completed.stdout)
    assert (answer["best"], answer["export"]) == (None, None)
    assert answer["failures"][0]["cause"] == "user_error"
    assert "TypeError: no layer 1" in answer["message"]
    assert "tuner retry 'my study'`" in answer["message"]
    assert answer["message"] in completed.stderr.splitlines()[-1]

    module.write_text(RIGHT)
    completed = tuner("run", "s.yaml", "--set", "budget.trials=2", **run)
    assert completed.returncode == 0, completed.stderr
    assert "its code changed: retrying 2 failed trials" in completed.stderr
    states = [t.state for t in reading.load_trials(database, reading.find(database, "my study"))]
    assert states == [TrialState.COMPLETE] * 2

    # what is printed in the end works as it is printed
    lines = [
        line.split("   ")[0].strip() for line in completed.stdout.split("next:")[1].splitlines()
    ]
    pasted = " && ".join(line for line in lines if line).replace(
        "python -m", f"{sys.executable} -m"
    )
    checked = subprocess.run(
        ["bash", "-c", pasted], env=environment, cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "ok     training" in checked.stdout


def test_retry_and_resume_take_code_that_was_corrected(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    """As long as no trial has a result; then they say that no worker runs it."""
    module = tmp_path / "wrong.py"
    module.write_text(WRONG)
    (tmp_path / "s.yaml").write_text(CORRECTED.format(module="wrong"))
    run = {"environment": environment, "cwd": tmp_path}
    tuner("launch", "s.yaml", **run)
    with worker(environment, tmp_path, "--until-done") as process:
        process.wait(STUCK)
    assert reading.find(database, "my study").state is StudyState.PAUSED

    module.write_text(RIGHT)
    completed = tuner("retry", "my study", **run)
    assert completed.stdout == "queued again: 0, 1\n"
    assert (
        completed.stderr
        == "the study is paused; continue it with python -m tuner resume 'my study'\n"
    )
    completed = tuner("resume", "my study", **run)
    assert (completed.returncode, completed.stderr) == (0, "")
    start = "python -m tuner worker --allow-code"
    assert completed.stdout == f"active; workers continue it ({start} starts one)\n"
    with worker(environment, tmp_path, "--until-done") as process:
        process.wait(STUCK)
    study = reading.find(database, "my study")
    states = [t.state for t in reading.load_trials(database, study)]
    assert states == [TrialState.COMPLETE] * 4

    module.write_text(WRONG)  # now there are results of other code
    changing.change(database, "my study", ["budget.trials=9"])
    steering.pause(database, "my study")
    completed = tuner("resume", "my study", **run)
    assert completed.returncode == 0
    assert "has changed since the study was launched" in completed.stderr


TWICE = """
import os, sys, time
def train(trial):
    for percent in range(0, 101, 20):
        sys.stderr.write(f"\\r{percent:3d} % of attempt {trial.attempt}")
        sys.stderr.flush()
    if trial.attempt == 1:
        os._exit(1)
    print("\\nit goes on")
    return trial.params["x"]
"""


def test_a_log_is_followed_over_attempts(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "twice.py").write_text(TWICE)
    study = CORRECTED.format(module="twice").replace("trials: 4", "trials: 1")
    (tmp_path / "s.yaml").write_text(study + "enqueue: [{x: 0.5}]\n")
    run = {"environment": environment, "cwd": tmp_path}
    assert tuner("launch", "s.yaml", **run).returncode == 0
    command = [sys.executable, "-m", "tuner", "logs", "my study", "0", "--follow"]
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as following:  # fmt: skip
        with worker(environment, tmp_path, "--until-done") as process:
            process.wait(STUCK)
        out, err = following.communicate(timeout=STUCK)
    assert following.returncode == 0
    assert out == "100 % of attempt 1\n100 % of attempt 2\nit goes on\n"
    assert err.splitlines()[-1] == "attempt 2"
    completed = tuner("logs", "my study", "0", "--attempt", "1", **run)
    assert completed.stdout == "100 % of attempt 1"


def test_every_cause_has_its_count_its_rule_and_its_last_lines(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    file = write(
        tmp_path, "raise", "memory", "nan", "silent", "endless", "good", workers=2,
        resources="timeout_seconds: 12, silence_seconds: 6",  # so that a busy machine is not silent
    )  # fmt: skip
    run: dict[str, Any] = {"environment": environment, "cwd": tmp_path}
    completed = tuner("run", str(file), **run)
    assert completed.returncode == 0, completed.stderr
    ended = trials(database)
    assert [(t.state, t.cause, t.attempt) for t in ended] == [
        (TrialState.FAILED, Cause.USER_ERROR, 1),
        (TrialState.FAILED, Cause.OUT_OF_MEMORY, 2),
        (TrialState.FAILED, Cause.DIVERGED, 1),
        (TrialState.FAILED, Cause.TIMEOUT, 1),
        (TrialState.FAILED, Cause.TIMEOUT, 1),
        (TrialState.COMPLETE, None, 1),
    ], [t.message for t in ended]
    assert ended[3].message == "there was no report for 6 s (resources.silence_seconds)"
    assert ended[4].message == "it took longer than 12 s (resources.timeout_seconds)"
    assert "this is silent" in (ended[3].log_tail or "")
    failures = json.loads(tuner("show", "ends", "--json", **run).stdout)["failures"]
    assert {f["cause"]: (f["failed"], f["again"]) for f in failures} == {
        "timeout": (2, 0),
        "user_error": (1, 0),
        "out_of_memory": (1, 1),
        "diverged": (1, 0),
    }
    page = tuner("show", "ends", **run).stdout
    assert "ValueError: this is wrong" in page
    assert "once more, alone on its device" in page
    assert "MemoryError: no room for this one" in page


def test_a_trial_that_ran_out_of_memory_is_tried_again_with_nothing_beside_it(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    file = write(tmp_path, "memory", "slow", "slow", "slow", workers=2)
    completed = tuner(
        "run", str(file), "--set", "pruner=none", environment=environment, cwd=tmp_path
    )
    assert completed.returncode == 0, completed.stderr
    ended = trials(database)
    memory = ended[0]
    assert (memory.state, memory.attempt) == (TrialState.FAILED, 2)
    assert memory.finished_at is not None
    for other in ended[1:]:
        assert other.state is TrialState.COMPLETE
        assert other.started_at is not None
        assert other.finished_at is not None
        # started_at of the second attempt is its claim; it trained only after the other had ended
        assert not other.started_at < memory.finished_at < other.finished_at


@pytest.mark.parametrize(
    ("kind", "cause"),
    [("raise", "user_error"), ("memory", "out_of_memory"), ("nan", "diverged"),
     ("silent", "timeout")],
)  # fmt: skip
def test_too_many_failures_in_a_row_pause_the_study_whatever_their_cause(
    environment: dict[str, str], database: Database, tmp_path: Path, kind: str, cause: str
) -> None:
    silence = 1 if kind == "silent" else 600
    resources = f"silence_seconds: {silence}"
    file = write(tmp_path, *[kind] * 4, budget="max_failures: 2", resources=resources)
    completed = tuner("run", str(file), environment=environment, cwd=tmp_path)
    assert completed.returncode == 1
    study = reading.find(database, "ends")
    assert study.state is StudyState.PAUSED
    assert f"2 trials in a row failed ({cause}), the last: " in (study.reason or "")
    assert sum(t.state is TrialState.FAILED for t in trials(database)) == 2


def test_executors_that_die_again_and_again_pause_the_study(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    file = write(tmp_path, "good", "good", "good", budget="max_failures: 2")
    (tmp_path / "ends.py").write_text("import os\ndef train(trial): os._exit(3)\n")
    assert tuner("run", str(file), environment=environment, cwd=tmp_path).returncode == 1
    study = reading.find(database, "ends")
    assert (study.state, [t.attempt for t in trials(database)]) == (StudyState.PAUSED, [2, 2, 0])
    assert "2 trials in a row failed (lost)" in (study.reason or "")


def test_a_worker_that_drains_lets_its_trial_write_a_checkpoint(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    assert tuner("launch", str(write(tmp_path, "endless")), environment=environment,
                 cwd=tmp_path).returncode == 0  # fmt: skip
    with worker(environment, tmp_path) as running:
        eventually(lambda: len(trials(database)[0].reports) >= 3)
        running.send_signal(signal.SIGTERM)
        assert running.wait(STUCK) == 0
    trial = trials(database)[0]
    assert (trial.state, trial.attempt) == (TrialState.WAITING, 1)
    reported = len(trial.reports)
    with worker(environment, tmp_path):
        eventually(lambda: len(trials(database)[0].reports) > reported)
        assert [r.step for r in trials(database)[0].reports][:reported] == list(
            range(1, reported + 1)
        )


@pytest.mark.parametrize("signals", [1, 2])
def test_a_trial_that_does_not_stop_is_killed_after_the_grace_time_or_the_second_signal(
    environment: dict[str, str], database: Database, tmp_path: Path, signals: int
) -> None:
    environment = {**environment, "TUNER_DRAIN_GRACE": "0.5" if signals == 1 else "600"}
    assert tuner("launch", str(write(tmp_path, "silent")), environment=environment,
                 cwd=tmp_path).returncode == 0  # fmt: skip
    with worker(environment, tmp_path) as running:
        eventually(lambda: _is_silent(environment, tmp_path))
        children = psutil.Process(running.pid).children(recursive=True)
        for _ in range(signals):
            running.send_signal(signal.SIGTERM)
            # signals of one kind that wait are one
            eventually(lambda: _is_handled(running.pid, signal.SIGTERM))
        assert running.wait(STUCK) == 0
    _, alive = psutil.wait_procs(children, timeout=STUCK)
    assert not alive
    trial = trials(database)[0]
    assert (trial.state, trial.attempt) == (TrialState.WAITING, 1)


def _is_silent(environment: dict[str, str], folder: Path) -> bool:
    return (
        "this is silent" in tuner("logs", "ends", "0", environment=environment, cwd=folder).stdout
    )


def _is_handled(pid: int, number: int) -> bool:
    """Whether no such signal is pending."""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = [int(line.split()[1], 16) for line in status.splitlines() if "Pnd:" in line]
    return not any(mask >> (number - 1) & 1 for mask in pending)


def test_a_worker_that_was_stopped_past_its_lease_leaves_its_trial_and_takes_new_work(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    environment = {**environment, "TUNER_LEASE_SECONDS": "2"}
    run: dict[str, Any] = {"environment": environment, "cwd": tmp_path}
    assert tuner("launch", str(write(tmp_path, "endless")), **run).returncode == 0
    with worker(environment, tmp_path) as stopped:
        eventually(lambda: trials(database)[0].reports)
        executor = psutil.Process(stopped.pid).children()[0]
        os.kill(stopped.pid, signal.SIGSTOP)
        with worker(environment, tmp_path) as other:
            eventually(lambda: trials(database)[0].attempt == 2)
            lost = trials(database)[0]
            os.kill(stopped.pid, signal.SIGCONT)
            executor.wait(STUCK)  # at once, though its code would have gone on
            # another trial, with an executor of its own again
            assert tuner("change", "ends", "budget.trials=2", **run).returncode == 0
            eventually(
                lambda: [
                    t.number for t in trials(database)[1:] if f":{stopped.pid}" in str(t.worker)
                ],
            )
            now = trials(database)[0]
            assert (now.attempt, now.worker) == (2, lost.worker)
            assert str(now.worker).endswith(f":{other.pid}")


def test_the_studys_gpu_seconds_stop_what_runs_and_more_of_them_let_it_go_on(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    environment = {**environment, "TUNER_LEASE_SECONDS": "1.5"}
    file = write(tmp_path, "endless", "endless", workers=2, budget="gpu_seconds: 4")
    run: dict[str, Any] = {"environment": environment, "cwd": tmp_path}
    completed = tuner("run", str(file), **run)
    assert completed.returncode == 1  # there is no complete trial to export
    study = reading.find(database, "ends")
    assert study.state is StudyState.FINISHED
    assert (study.reason or "").startswith("its 4 GPU seconds are used up")
    assert 3.6 - 0.05 <= study.seconds_issued <= 4.0  # less than a tenth is left
    assert {t.state for t in trials(database)} == {TrialState.WAITING}
    began = sum(t.attempt for t in trials(database))
    assert tuner("change", "ends", "budget.gpu_seconds=8", **run).returncode == 0
    assert tuner("run", str(file), "--set", "budget.gpu_seconds=8", **run).returncode == 1
    study = reading.find(database, "ends")
    assert 7.2 - 0.05 <= study.seconds_issued <= 8.0
    # on a busy machine an attempt may end before its first epoch has
    assert sum(t.attempt for t in trials(database)) > began
