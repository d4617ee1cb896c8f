"""Of what a failed program has printed, the line that says why: real endings of real launchers."""

import pytest

from tuner.user_code.failure_line import KILLED, find

TRACEBACK = """Traceback (most recent call last):
  File "/x/train.py", line 3, in <module>
    raise ValueError("bad")
{}
"""
TORCHRUN = """E1130 10:41:00.119000 10981 torch/elastic/api.py:1002] failed (exitcode: 1)
Traceback (most recent call last):
  File "/x/bin/torchrun", line 7, in <module>
    sys.exit(main())
             ^^^^^^
  File "/x/torch/distributed/launcher/api.py", line 383, in launch_agent
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:\x20
============================================================
train.py FAILED
------------------------------------------------------------
Failures:
  <NO_OTHER_FAILURES>
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-30_10:41:00
  host      : localhost
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 10990)\x20
  error_file: <N/A>
  traceback : {}
============================================================
"""
NO_TRACEBACK = "To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html"
ACCELERATE = """Traceback (most recent call last):
  File "/x/accelerate/commands/launch.py", line 999, in simple_launcher
    raise subprocess.CalledProcessError(returncode=process.returncode, cmd=cmd)
subprocess.CalledProcessError: Command '['/x/python', 'train.py']' returned non-zero exit status 1.
"""
MPIRUN = """--------------------------------------------------------------------------
mpirun detected that one or more processes exited with non-zero status, thus causing
the job to be terminated. The first process to do so was:

  Process name: [[8443,1],0]
  Exit code:    1
--------------------------------------------------------------------------
"""
BOX = """Usage: train.py [OPTIONS]
Try 'train.py --help' for help.
╭─ Error ──────────────────────────────╮
│ Invalid value for '--lr': 'abc' is   │
│ not a valid float.                   │
╰──────────────────────────────────────╯
"""
RICH = """╭───────── Traceback (most recent call last) ─────────╮
│ /x/train.py:4 in <module>                           │
│ ❱ 4 f(1)                                            │
╰─────────────────────────────────────────────────────╯
ValueError: bad [x]
"""
GROUP = """  + Exception Group Traceback (most recent call last):
  |   File "/x/train.py", line 10, in <module>
  |     raise ExceptionGroup("many", errors)
  | ExceptionGroup: many (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/x/train.py", line 1, in f
    | ValueError: first
    +------------------------------------
"""
CUDA = """CUDA kernel errors might be asynchronously reported at some other API call.
For debugging consider passing CUDA_LAUNCH_BLOCKING=1
"""


def traceback(exception: str, prefix: str = "") -> str:
    return "".join(prefix + line for line in TRACEBACK.format(exception).splitlines(keepends=True))


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("", ""),
        ("\n \n====\n", ""),
        ("loading\nno such file\n\n======\n", "no such file"),
        ("\x1b[1;31mfatal: no data\x1b[0m\n\x1b[0m\n", "fatal: no data"),
        ("no data\n\r 40%|███▏  | 2/5 [00:00<00:01,  2it/s]\r100%|██████| 5/5 [00:01]", "no data"),
        ("no\a data\0\n", "no\\x07 data\\x00"),
        ("no data\n3/10 [=====>....] - ETA: 0s\n", "no data"),
        ("no data\nTraining ━━━━━━━━━━╸━━━━ 50% 0:00:01\n", "no data"),
        ("=== 2 failed in 0.1 s ===\n", "=== 2 failed in 0.1 s ==="),
        (traceback("ValueError: bad\nsecond line\n\nwandb: synced"), "ValueError: bad"),
        (traceback("RuntimeError: CUDA error\n" + CUDA), "RuntimeError: CUDA error"),
        (traceback("KeyboardInterrupt"), "KeyboardInterrupt"),
        (traceback("socket.gaierror: [Errno -2] no"), "socket.gaierror: [Errno -2] no"),
        (traceback("E: 1") + "\nDuring handling …\n\n" + traceback("my.Bad: 2"), "my.Bad: 2"),
        (traceback("E: caught") + "epoch\n" * 20 + "no data\n", "no data"),
        (GROUP, "ValueError: first"),
        (RICH, "ValueError: bad [x]"),
        (BOX, "Invalid value for '--lr': 'abc' is not a valid float."),
        (traceback("ValueError: bad") + MPIRUN, "ValueError: bad"),
        (traceback("ValueError: bad", "[1,0]<stderr>:") + MPIRUN, "ValueError: bad"),
        (traceback("ValueError: bad") + TORCHRUN.format(NO_TRACEBACK), "ValueError: bad"),
        (traceback("ValueError: bad", "[rank1]: ") + TORCHRUN.format("?"), "ValueError: bad"),
        (traceback("ValueError: bad", "[default0]:") + TORCHRUN.format("?"), "ValueError: bad"),
        (
            traceback("ValueError: bad")
            + traceback("torch.distributed.DistBackendError: [1] is gone")
            + traceback("RuntimeError: [../gloo/pair.cc:547] Connection closed by peer [::1]:1")
            + TORCHRUN.format(NO_TRACEBACK),
            "ValueError: bad",
        ),
        (
            TORCHRUN.format("Traceback (most recent call last):\n    File 1\n  E: bad\n  2"),
            "E: bad",
        ),
        (
            "train.py: error: unrecognized arguments: --y\n" + TORCHRUN.format(NO_TRACEBACK),
            "train.py: error: unrecognized arguments: --y",
        ),
        ("epoch 1\n" + TORCHRUN.format(NO_TRACEBACK), "one of its processes exited with code 1"),
        (
            "epoch 1\n" + TORCHRUN.format(f"{KILLED} received by PID 10990"),
            f"one of its processes was killed: {KILLED}",
        ),
        (traceback("ValueError: bad") + ACCELERATE, "ValueError: bad"),
        ("train.py: error: no --y\n" + ACCELERATE, "train.py: error: no --y"),
        ("epoch 1\n" + ACCELERATE, ACCELERATE.splitlines()[-1]),
    ],
)  # fmt: skip
def test_the_line_that_says_why(output: str, line: str) -> None:
    assert find(output) == line


def test_a_line_is_not_endless() -> None:
    assert find("x" * 100_000) == "x" * 300
