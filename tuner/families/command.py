"""The family of users' command lines, in any language: each trial is a process of its own.

The command gets its parameters as arguments, as environment variables and as a JSON file. It
reports in lines of JSON on a descriptor or a socket (`user_code/client.py` is the other end). Its
output goes to the trial's log. A guard of its own runs it, so nothing of it outlives the trial.
"""

import contextlib
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tuner import files, guard, processes
from tuner.artifacts import ARTIFACTS_FOLDER, CHECKPOINT_FOLDER, LOG_FILE
from tuner.families.code import UserCode
from tuner.families.parts.outcome import Outcome
from tuner.settings import command_environment
from tuner.study_file.arguments import argument_list, as_text
from tuner.study_file.code import Code, variable
from tuner.study_file.messages import quoted
from tuner.training.causes import cause_of_line
from tuner.training.cohort import Cohort, Context, Decision, FailedError, Task
from tuner.trials import Cause
from tuner.user_code import client, failure_line, program, reported, source
from tuner.user_code.channels import MAX_LINE, ReportChannels, ReportLine
from tuner.user_code.ranks import Followers

PARAMS_FILE = "params.json"
TICK = 0.2  # seconds between checks whether the worker wants it to stop
STOP_GRACE = 5.0  # seconds from the answer `stop` to SIGTERM: time to save a checkpoint
TERM_GRACE = 5.0  # seconds from SIGTERM to SIGKILL
TAIL = 65_536  # bytes of a command's output that are searched for the reason of a failure
OUT_OF_MEMORY = (-9, 137)  # SIGKILL from the kernel, directly or as a shell reports it

SILENT = (
    "the code has ended without reporting anything (a launcher that gives its programs another "
    "environment must pass on the TUNER_ variables)"
)
OTHERS_ALONE = "only processes of other ranks than 0 have reported; the one of rank 0 must"


def run(cohort: Cohort, context: Context) -> bool:
    """Run the command once per trial of the cohort."""
    assert cohort.code is not None
    for task in cohort.tasks:
        source.check(cohort.code)
        with _Command(task, cohort, cohort.code, context) as command:
            command.run()
    return False  # each trial was a process of its own


class _Command:
    """One trial's command: its guard, its reports and the answers to them."""

    def __init__(self, task: Task, cohort: Cohort, code: Code, context: Context) -> None:
        self._task = task
        self._context = context
        self._last_step = cohort.last_step
        self._outcome = Outcome(task, cohort, context)
        self._lines = self._reports = 0
        self._step = 0
        self._was_told = False  # to stop, in the answer to a report
        self._stopping = False  # the worker wants it to end
        self._followers = Followers()
        self._terminate_at: float | None = None  # monotonic clock, as the next
        self._kill_at: float | None = None
        name, *words = argument_list(code.command or (), task.params)
        words = [program.find(code.folder, name), *words]
        with contextlib.ExitStack() as stack:
            self._leash, leash = socket.socketpair()
            stack.enter_context(leash)
            stack.callback(self._leash.close)
            self._channels = ReportChannels(self._leash)  # readable with the guard's end
            stack.callback(self._channels.close)
            self._guard = subprocess.Popen(
                processes.guarded(leash.fileno(), words, self._channels.folder),
                cwd=code.folder,
                env=_environment(task, cohort, self._channels),
                pass_fds=(self._channels.reports, self._channels.answers, leash.fileno()),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
            )
            self._channels.close_theirs()
            leash.close()
            stack.pop_all()

    def __enter__(self) -> "_Command":
        return self

    def __exit__(self, *_: object) -> None:
        self._leash.close()  # the guard kills what still runs
        self._guard.wait()
        self._channels.close()

    def run(self) -> None:
        """Serve the command until it has ended; FailedError if it failed."""
        ended = False
        while not ended:
            lines, ended = self._channels.wait(TICK)
            for line in lines:
                self._take(line)
            self._look_after()
        for line in self._channels.drain():
            self._take(line)
        self._conclude(self._guard.wait())

    def _look_after(self) -> None:
        """Tell the command to stop if the worker wants that, and enforce it."""
        now = time.monotonic()
        if (note := self._followers.release_late()) is not None:
            print(f"tuner: {note}", file=sys.stderr)  # to the trial's log
        is_stopping = self._context.asked_to_stop()
        if is_stopping and not self._outcome.is_over and not self._stopping:
            self._stopping = True  # a report on its way counts: a checkpoint may follow it
            self._followers.stop(self._step + 1)
            self._terminate_at = now  # between reports: there is no answer to wait for
        with contextlib.suppress(OSError):
            if self._kill_at is not None and now >= self._kill_at:
                self._leash.shutdown(socket.SHUT_WR)
            elif self._kill_at is None and now >= (self._terminate_at or math.inf):
                self._leash.send(guard.TERMINATE)
                self._kill_at = now + TERM_GRACE

    def _take(self, line: ReportLine) -> None:
        self._lines += 1
        if not line.text.strip():
            return
        try:
            if len(line.text) > MAX_LINE:
                raise ValueError(f"is longer than {MAX_LINE} bytes")
            message = _json(line.text)
            if self._followers.take(message, line.answer):
                return
            if (constraints := reported.parse_constraints(message)) is not None:
                for name, constraint in constraints.items():
                    self._outcome.constrain(name, constraint)
                line.answer(client.STOPPED if self._outcome.is_over else client.CONTINUED)
                return
            step, value, metrics = reported.parse(message, self._step + 1)
        except (TypeError, ValueError) as error:
            if self._outcome.is_over or self._stopping:
                return
            excerpt = quoted(line.text[:200].decode("utf-8", "replace"))
            sentence = f"line {self._lines} of the reports: {error}: {excerpt}"
            raise FailedError(Cause.USER_ERROR, sentence) from None
        if self._outcome.is_over:
            line.answer(client.STOPPED)
            return
        self._reports += 1
        self._step = max(step, self._step)
        go_on = self._outcome.report(step, value, metrics)
        line.answer(client.CONTINUED if go_on else client.STOPPED)
        self._followers.follow(step, go_on=go_on)
        if not go_on and not self._was_told:
            self._was_told = True
            # a paused trial may save a checkpoint; a pruned or diverged one needs nothing more
            paused = self._outcome.decision in (Decision.STOP, Decision.PAUSE)
            grace = STOP_GRACE if paused or not self._outcome.is_over else 0.0
            self._terminate_at = time.monotonic() + grace

    def _conclude(self, code: int) -> None:
        is_whole = code == 0 and 0 < self._last_step <= self._step
        if self._outcome.is_over or (self._stopping and not is_whole):
            if self._outcome.is_over:
                self._outcome.end(None)
            return
        if code == 0 or self._was_told:  # past its last epoch, it may end as it likes
            if not self._reports:
                raise FailedError(Cause.USER_ERROR, OTHERS_ALONE if self._lines else SILENT)
            self._outcome.end(None)
            return
        failure = failure_line.find(_tail(self._task.folder / LOG_FILE))
        # it was killed itself, or its launcher says so
        killed = code in OUT_OF_MEMORY or failure_line.KILLED in failure
        why = Cause.OUT_OF_MEMORY if killed else cause_of_line(failure)
        hint = "; the kernel does that where memory runs out" if killed else ""
        ending = f"the command {processes.describe_exit(code)}{hint}"
        raise FailedError(why, ending + (f": {failure}" if failure else ""))


def _environment(task: Task, cohort: Cohort, channels: ReportChannels) -> dict[str, str]:
    """Return the command's environment; writes its parameter file and creates its folders."""
    params, artifacts = task.folder / PARAMS_FILE, task.folder / ARTIFACTS_FOLDER
    files.write(params, json.dumps(dict(task.params), indent=2) + "\n")
    artifacts.mkdir(parents=True, exist_ok=True)
    return {
        # a trial is a program of its own, not a rank of the job in which its worker runs
        **{k: v for k, v in command_environment().items() if k not in client.ALL_RANKS},
        **{variable(name): as_text(value) for name, value in task.params.items()},
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(cohort.threads)),
        "TUNER_STUDY": cohort.study,
        "TUNER_TRIAL": str(task.number),
        "TUNER_ATTEMPT": str(task.attempt),
        "TUNER_SEED": str(task.seed),
        **({"TUNER_EPOCHS": str(cohort.last_step)} if cohort.last_step else {}),
        **_levels(task, cohort),
        "TUNER_DEVICE": cohort.device,
        "TUNER_THREADS": str(cohort.threads),
        "TUNER_PARAMS": str(params),
        "TUNER_CHECKPOINT": str(_checkpoint(task)),
        "TUNER_ARTIFACTS": str(artifacts),
        client.SOCKET: str(channels.path),
        client.REPORTS: str(channels.reports),
        client.ANSWERS: str(channels.answers),
    }


def _levels(task: Task, cohort: Cohort) -> dict[str, str]:
    """Return the levels of fidelity, and how many of them earlier attempts have reported."""
    if not cohort.fidelities:
        return {}
    return {
        client.FIDELITIES: ",".join(map(str, cohort.fidelities)),
        client.LEVEL: str(task.level),
    }


def _checkpoint(task: Task) -> Path:
    """Return the attempt's own checkpoint folder, a copy of the previous attempt's."""
    folder = task.folder / CHECKPOINT_FOLDER
    checkpoints = (path / CHECKPOINT_FOLDER for path in task.earlier)
    if (
        not folder.is_dir()
        and (source := next((p for p in checkpoints if p.is_dir()), None)) is not None
    ):
        with files.whole_folder(folder, replace=False) as aside:
            shutil.copytree(source, aside, symlinks=True, dirs_exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None


def _tail(log: Path) -> str:
    """Read the end of the command's output."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        return file.read().decode("utf-8", "replace")


CODE = UserCode(run, in_executor=False)
