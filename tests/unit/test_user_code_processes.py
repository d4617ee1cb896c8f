"""Reports of what a command starts: launchers that close descriptors, several processes, ranks."""

import os
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.training import Recorder
from tests.support.user_commands import Worker, run, shell, start_executor
from tests.support.waiting import STUCK, eventually
from tuner.artifacts import LOG_FILE
from tuner.families import command
from tuner.training.cohort import Decision, FailedError
from tuner.user_code import client, ranks
from tuner.user_code.channels import MAX_PATH, ReportChannels
from tuner.user_code.ranks import Followers

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("short_graces")]

CONTINUED, STOPPED = client.CONTINUED, client.STOPPED

# Two ranks that wait for each other at every step, as in distributed training. What ends them must
# be the answer: a rank that went on alone would wait for the other one in all_reduce.
DISTRIBUTED = """
import os
import torch
import torch.distributed as dist
import tuner

dist.init_process_group("gloo")
trial = tuner.current_trial()
for step in range(1, 100):
    value = torch.tensor([float(step + dist.get_rank())])
    dist.all_reduce(value)
    trial.report(value.item(), step=step, rank=dist.get_rank())
    if trial.should_stop():
        break
with open(f"ended-{dist.get_rank()}", "w") as file:
    file.write(str(step))
dist.destroy_process_group()
"""
CHILD = """
import subprocess, sys
sys.exit(subprocess.call([sys.executable, "train.py"], close_fds=True))
"""
REPORTING = """
import tuner
trial = tuner.current_trial()
while not trial.should_stop():
    trial.report(0.5)
"""


def reported(context: Recorder) -> list[tuple[int, float]]:
    return [(report.step, report.value) for report in context.reports[7]]


# Launchers


def test_a_child_without_descriptors_reports(tmp_path: Path) -> None:
    (tmp_path / "launch.py").write_text(CHILD)
    (tmp_path / "train.py").write_text(REPORTING)
    context = run(tmp_path, "python", "launch.py", epochs=3)
    assert reported(context) == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert context.finished == {7: (0.5, None)}


def test_tuner_report_does_without_descriptors(tmp_path: Path) -> None:
    (tmp_path / "launch.py").write_text(
        CHILD.replace('[sys.executable, "train.py"]', "sys.argv[1:]")
    )
    script = "for n in 1 2 3; do tuner report $n 0.$n loss=1 || break; done; echo ended $?"
    context = run(tmp_path, "python", "launch.py", "bash", "-c", script, epochs=2)
    assert reported(context) == [(1, 0.1), (2, 0.2)]
    assert (tmp_path / "7.1" / LOG_FILE).read_text() == "ended 0\n"


@pytest.mark.parametrize(
    "words",
    [
        ["bash", "-c", "nohup python train.py"],
        ["setsid", "--wait", "python", "train.py"],
        ["bash", "-c", "exec {fd}>&- 3>&-; for fd in $(seq 3 30); do eval \"exec $fd>&-\"; done; "
         "python train.py"],
        ["bash", "-c", 'env -i PATH="$PATH" $(env | grep ^TUNER_) python train.py'],
    ],
    ids=["nohup", "setsid", "descriptors closed", "env -i with tuner's variables"],
)  # fmt: skip
def test_programs_between(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "train.py").write_text(REPORTING)
    context = run(tmp_path, *words, epochs=2)
    assert reported(context) == [(1, 0.5), (2, 0.5)]


def test_without_its_environment_a_program_runs_as_by_hand(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import tuner\ntuner.current_trial().report(1)\n")
    with pytest.raises(FailedError, match=r"without reporting anything \(a launcher that gives"):
        run(tmp_path, "bash", "-c", 'env -i PATH="$PATH" python train.py')


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("-u TUNER_SEED", "the environment lacks TUNER_SEED, which the worker set"),
        (
            "TUNER_PARAMS=/nowhere/p",
            r"cannot be read from /nowhere/p \(No such file or directory\)",
        ),
    ],
)
def test_half_an_environment_is_told(tmp_path: Path, change: str, sentence: str) -> None:
    (tmp_path / "train.py").write_text("import tuner\ntuner.current_trial().report(1)\n")
    with pytest.raises(FailedError, match=sentence):
        run(tmp_path, "env", *change.split(), "python", "train.py")


def test_torchrun_ends_with_a_pruned_trial(tmp_path: Path) -> None:
    """Both ranks report, and only rank 0's reports are stored."""
    (tmp_path / "train.py").write_text(DISTRIBUTED)
    context = Worker(decision=lambda step: Decision.PRUNE if step == 3 else Decision.GO_ON)
    run(tmp_path, "torchrun", "--standalone", "--nproc_per_node=2", "train.py", context=context)
    assert reported(context) == [(1, 3.0), (2, 5.0), (3, 7.0)]
    assert {report.metrics["rank"] for report in context.reports[7]} == {0}
    assert (context.finished, context.problems) == ({}, {})


def test_both_ranks_of_torchrun_stop_at_the_same_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By themselves: no signal ends them."""
    monkeypatch.setattr(command, "STOP_GRACE", 300.0)
    (tmp_path / "train.py").write_text(DISTRIBUTED)
    words = ["torchrun", "--standalone", "--nproc_per_node=2", "train.py"]
    context = run(tmp_path, *words, epochs=2)
    assert reported(context) == [(1, 3.0), (2, 5.0)]
    assert context.finished == {7: (3.0, None)}
    assert [(tmp_path / f"ended-{n}").read_text() for n in (0, 1)] == ["3", "3"]


def test_accelerate_launches_a_program_that_reports(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(REPORTING)
    words = ["accelerate", "launch", "--cpu", "--num_processes=1", "train.py"]
    context = run(tmp_path, *words, epochs=2)
    assert reported(context) == [(1, 0.5), (2, 0.5)]


def test_the_exception_under_torchrun_is_the_message(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import tuner\nraise ValueError('no such data')\n")
    with pytest.raises(FailedError, match=r"exited with code 1: ValueError: no such data$"):
        run(tmp_path, "torchrun", "--standalone", "--nproc_per_node=1", "train.py")


# Ranks


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, 0),
        ({"RANK": "3", "LOCAL_RANK": "0"}, 3),
        ({"RANK": "0", "SLURM_PROCID": "2"}, 0),  # torchrun inside srun
        ({"SLURM_PROCID": "2"}, 2),
        ({"OMPI_COMM_WORLD_RANK": "1"}, 1),
        ({"PMI_RANK": "1"}, 1),
        ({"LOCAL_RANK": "1"}, 1),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, 1),
        ({"RANK": ""}, 0),
        ({"RANK": "x"}, 0),
    ],
)
def test_ranks_are_what_launchers_say(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], rank: int
) -> None:
    for name in client.ALL_RANKS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert client.rank() == rank


def test_the_rank_of_a_worker_is_not_that_of_its_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "3")
    (tmp_path / "train.py").write_text(REPORTING)
    assert reported(run(tmp_path, "python", "train.py", epochs=1)) == [(1, 0.5)]


def test_a_trial_without_rank_0_has_no_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The calls are accepted all the same, and nobody waits for ever."""
    monkeypatch.setattr(ranks, "PATIENCE", 0.0)
    (tmp_path / "train.py").write_text(
        "import tuner\ntrial = tuner.current_trial()\n"
        "for _ in range(3):\n    trial.report(0.5)\n    assert not trial.should_stop()\n"
    )
    with pytest.raises(FailedError, match="only processes of other ranks than 0 have reported"):
        run(tmp_path, "env", "RANK=1", "python", "train.py")


def test_a_rank_that_never_reports_learns_when_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "STOP_GRACE", 300.0)
    (tmp_path / "other.py").write_text(
        "import tuner\ntrial = tuner.current_trial()\n"
        "while not trial.should_stop():\n    pass\nprint('stopped')\n"
    )
    script = "RANK=1 python other.py & report 1 1; report 2 1; wait"
    context = Worker(decision=lambda step: Decision.STOP if step == 2 else Decision.GO_ON)
    shell(tmp_path, script, context=context)
    assert (tmp_path / "7.1" / LOG_FILE).read_text() == "stopped\n"


class Answers:
    """Answers to the questions of one rank."""

    def __init__(self) -> None:
        self.given: list[bytes] = []

    def __call__(self, answer: bytes) -> None:
        self.given.append(answer)


def ask(all_: Followers, **message: Any) -> Answers:
    answers = Answers()
    assert all_.take({"rank": 1, **message}, answers)
    return answers


def test_other_ranks_are_told_what_rank_0_is_told_for_the_same_step() -> None:
    others = Followers()
    early = ask(others, step=1, value=0.5)
    ahead = ask(others, step=2)
    assert early.given == []
    others.follow(1, go_on=True)
    assert (early.given, ahead.given) == ([CONTINUED], [])
    others.follow(2, go_on=False)
    assert ahead.given == [STOPPED]
    assert ask(others, step=1).given == [CONTINUED]  # it is behind, and will be told at step 2
    assert ask(others, step=2).given == ask(others, step=9).given == ask(others).given == [STOPPED]


def test_a_pause_stops_those_who_wait() -> None:
    others = Followers()
    waiting, now = ask(others, step=4), ask(others)
    assert (waiting.given, now.given) == ([], [CONTINUED])
    others.stop(3)
    assert waiting.given == [STOPPED]


def test_nobody_waits_for_ever_for_rank_0(monkeypatch: pytest.MonkeyPatch) -> None:
    others = Followers()
    patient = ask(others, step=1)
    assert others.release_late() is None
    assert patient.given == []
    monkeypatch.setattr(ranks, "PATIENCE", 0.0)
    impatient = ask(others, step=1)
    note = others.release_late()
    assert note is not None
    assert note.startswith("another rank waited 0 s for rank 0's report of step 1 and continues")
    assert patient.given == impatient.given == [CONTINUED]
    assert ask(others, step=2).given == [CONTINUED]  # it has waited once
    monkeypatch.undo()
    others.follow(1, go_on=True)
    assert ask(others, step=2).given == []  # rank 0 is alive
    monkeypatch.setattr(ranks, "PATIENCE", 0.0)
    for step in (2, 3):
        others.follow(step, go_on=True)
        ask(others, step=step + 1)
        others.release_late()
    others.follow(4, go_on=True)
    assert ask(others, step=5).given == [CONTINUED]  # these ranks do not report together


def test_a_report_of_rank_0_is_an_ordinary_one() -> None:
    message = {"rank": 0, "value": 1}
    assert not Followers().take(message, Answers())
    assert message == {"value": 1}
    with pytest.raises(TypeError, match="the rank must be a number, is 'x'"):
        Followers().take({"rank": "x"}, Answers())


# The socket


def test_the_socket_is_private_and_its_path_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    for folder in (None, str(long)):
        monkeypatch.setattr("tempfile.tempdir", folder)
        ours, _theirs = socket.socketpair()
        channels = ReportChannels(ours)
        assert stat.S_IMODE(channels.folder.stat().st_mode) == 0o700
        assert channels.folder.stat().st_uid == os.getuid()
        assert len(os.fsencode(channels.path)) <= MAX_PATH
        assert channels.path.is_socket()
        channels.close()
        assert not channels.folder.exists()
        ours.close()


def test_the_socket_is_removed_however_the_trial_ends(tmp_path: Path) -> None:
    shell(tmp_path, 'dirname "$TUNER_REPORT_SOCKET" > folder; report 1 1')
    assert not Path((tmp_path / "folder").read_text().strip()).exists()
    (tmp_path / "script.sh").write_text(
        'dirname "$TUNER_REPORT_SOCKET" > aside; mv aside folder2; sleep 1000 & wait'
    )
    executor = start_executor(tmp_path)
    eventually((tmp_path / "folder2").exists)
    folder = Path((tmp_path / "folder2").read_text().strip())
    assert folder.exists()
    everyone = psutil.Process(executor.pid).children(recursive=True)
    executor.send_signal(signal.SIGKILL)
    executor.wait()
    psutil.wait_procs(everyone, timeout=STUCK)
    eventually(lambda: not folder.exists())


def test_processes_report_at_once(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import sys, tuner\ntrial = tuner.current_trial()\n"
        "for n in range(20):\n    trial.report(n, step=int(sys.argv[1]) + n)\n"
    )
    script = "for first in 100 200 300; do python train.py $first & done; wait"
    context = shell(tmp_path, script)
    expected = sorted((first + n, float(n)) for first in (100, 200, 300) for n in range(20))
    assert sorted(reported(context)) == expected


def test_lines_in_any_pieces(tmp_path: Path) -> None:
    """Other languages may talk to the socket too: a line in, a line out."""
    (tmp_path / "train.py").write_text(
        "import os, socket\n"
        "with socket.socket(socket.AF_UNIX) as s:\n"
        "    s.connect(os.environ['TUNER_REPORT_SOCKET'])\n"
        "    s.sendall(b'{\"val'); s.sendall(b'ue\": 1}\\n{\"value\": 2}\\n')\n"
        "    answers = s.makefile()\n"
        "    print(answers.readline(), answers.readline(), sep='', end='')\n"
        "    s.sendall(b'{\"value\": 3}')\n"  # without an end
    )
    context = run(tmp_path, "python", "train.py")
    assert reported(context) == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert (tmp_path / "7.1" / LOG_FILE).read_text() == "continue\ncontinue\n"


def test_what_is_no_report_ends_the_trial_over_the_socket_too(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import os, socket, time\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.connect(os.environ['TUNER_REPORT_SOCKET'])\n"
        "s.sendall(b'x' * 100_000)\ntime.sleep(1000)\n"
    )
    with pytest.raises(FailedError, match="line 1 of the reports: is longer than 65536 bytes"):
        run(tmp_path, "python", "train.py")


def test_without_the_socket_the_descriptors_serve(tmp_path: Path) -> None:
    """As in a sandbox that hides the folder."""
    (tmp_path / "train.py").write_text(REPORTING)
    context = run(tmp_path, "env", "TUNER_REPORT_SOCKET=/nowhere/s", "python", "train.py", epochs=2)
    assert reported(context) == [(1, 0.5), (2, 0.5)]


def test_where_neither_is_open_a_sentence_says_what_is_needed(tmp_path: Path) -> None:
    """A descriptor of the same number that is something else is not written to."""
    (tmp_path / "launch.py").write_text(
        "import os, subprocess, sys\n"
        "other = os.open('other', os.O_RDWR | os.O_CREAT)\n"
        "for name in ('TUNER_REPORT_FD', 'TUNER_ANSWER_FD'):\n"
        "    os.dup2(other, int(os.environ[name]))\n"
        "    os.set_inheritable(int(os.environ[name]), True)\n"
        "os.environ['TUNER_REPORT_SOCKET'] = '/nowhere/s'\n"
        "sys.exit(subprocess.call(sys.argv[1:], close_fds=False))\n"
    )
    (tmp_path / "train.py").write_text("import tuner\ntuner.current_trial().report(1)\n")
    sentence = (
        r"the worker cannot be reached at /nowhere/s \(No such file or directory\): report "
        r"on the trial's machine and as its user, or with the descriptors"
    )
    for words in (["python", "train.py"], ["tuner", "report", "1", "1"]):
        with pytest.raises(FailedError, match=sentence):
            run(tmp_path, "python", "launch.py", *words)
    assert (tmp_path / "other").read_text() == ""


def test_a_rank_that_reaches_nobody_goes_on(tmp_path: Path) -> None:
    """On another machine, say: rank 0 reports, and its end is the end of all."""
    (tmp_path / "train.py").write_text(
        "import tuner\ntrial = tuner.current_trial()\n"
        "for _ in range(3):\n    trial.report(1)\nassert not trial.should_stop()\n"
    )
    script = "RANK=1 TUNER_REPORT_SOCKET=/nowhere/s python train.py; report 1 1"
    context = shell(tmp_path, script)
    assert reported(context) == [(1, 1.0)]
    log = (tmp_path / "7.1" / LOG_FILE).read_text()
    assert log.count("tuner: rank 1 is not told when to stop: the worker cannot be reached") == 1
    assert log.count("\n") == 1
