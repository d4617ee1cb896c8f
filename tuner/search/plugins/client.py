"""The worker's end of the conversation with the process of a class.

The process is never told anything while it works on a question: it would not read, and the worker
would wait for it. What has changed in the meantime is sent before the next question.
"""

import contextlib
import logging
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

from optuna.trial import FrozenTrial

from tuner import processes
from tuner.database.readers.columns import Columns, Reports
from tuner.errors import ExecutorError
from tuner.search.history import History
from tuner.search.plugins.messages import (
    Begin,
    FromProcess,
    Judge,
    Propose,
    Ready,
    TrialState,
    Unusable,
    Update,
    receive_from_process,
    send_to_process,
)
from tuner.search.record import Record, Space
from tuner.settings import executor_environment
from tuner.study_file.seeds import derived_seed

MAX_DEATHS = 3  # in a row
BATCH = 500  # trials per message

_log = logging.getLogger(__name__)


class Feed:
    """Which trials have changed since they were last sent; a watcher of the study's history."""

    def __init__(self, history: History, fits: Callable[[Space], bool]) -> None:
        """`fits` tells which distributions are the study's."""
        self._history = history
        self._fits = fits
        self._changed: dict[int, bool] = {}  # number → whether its parameters are the study's
        self.undrawn: dict[int, Record] = {}  # running trials without parameters

    def load(self, finished: Columns, space: Space, reports: Reports) -> None:
        """Take note of many finished trials."""
        fits = self._fits(space)
        for number in finished.numbers.tolist():
            self._changed[number] = fits
            self.undrawn.pop(number, None)

    def note(self, record: Record) -> None:
        """Take note of a trial."""
        self._changed[record.number] = self._fits(record.space)
        if record.row.state == "running" and not record.space:
            self.undrawn[record.number] = record
        else:
            self.undrawn.pop(record.number, None)

    @property
    def drawn(self) -> int:
        """How many trials have parameters."""
        return sum(bool(trial.params) for trial in self._history.trials)

    def all_again(self) -> None:
        """Send all trials next: the process is new."""
        for trial in self._history.trials:
            self._changed.setdefault(trial.number, self._fits(trial.distributions))

    def take(self) -> list[TrialState]:
        """Return the trials that have changed."""
        changed, self._changed = self._changed, {}
        return [
            _state_of(trial, has_params=changed[trial.number])
            for trial in self._history.select(sorted(changed))
            if trial.number not in self.undrawn
        ]


def _state_of(trial: FrozenTrial, *, has_params: bool) -> TrialState:
    started, ended = trial.datetime_start, trial.datetime_complete
    return TrialState(
        number=trial.number,
        state=int(trial.state),
        params=dict(trial.params) if has_params else {},
        values=None if trial.values is None else list(trial.values),
        reports=dict(trial.intermediate_values),
        user_attrs=dict(trial.user_attrs),
        system_attrs=dict(trial.system_attrs),
        started=None if started is None else started.timestamp(),
        ended=None if ended is None else ended.timestamp(),
    )


class Client:
    """Starts the process when it is first needed, and again if it dies."""

    def __init__(self, begin: Begin, feed: Feed) -> None:
        self._begin = begin
        self._feed = feed
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._leash: socket.socket | None = None
        self._is_ready = False
        self._deaths = 0
        self.is_asked = False  # a question is not answered yet
        self.unusable: str | None = None  # why it cannot be used

    @property
    def is_idle(self) -> bool:
        """Whether it can be asked."""
        return self._is_ready and not self.is_asked

    def start(self) -> None:
        """Start the process if there is none."""
        if self._connection is not None or self.unusable is not None:
            return
        ours, theirs = socket.socketpair()
        leash, guards = socket.socketpair()
        command = processes.command("tuner.search.plugins.process", str(theirs.fileno()))
        try:
            self._process = subprocess.Popen(
                processes.guarded(guards.fileno(), command),
                pass_fds=(guards.fileno(), theirs.fileno()),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=executor_environment(1, None),
            )
        except OSError as error:
            ours.close()
            leash.close()
            raise ExecutorError(f"the process of {self._begin.path}: {error}") from error
        finally:
            theirs.close()
            guards.close()
        self._connection, self._leash = Connection(ours.detach()), leash
        self._feed.all_again()
        self._send(self._begin_message())

    def _begin_message(self) -> Begin:
        """Return what the process starts with.

        A sampler that is made anew gets another seed: with its first one, it would draw the first
        configurations of the study again.
        """
        drawn = self._feed.drawn if self._begin.role == "sampler" else 0
        if not drawn:
            return self._begin
        return replace(self._begin, seed=derived_seed(self._begin.seed, drawn))

    def ask(self, question: Propose | Judge) -> None:
        """Ask, after telling what has changed."""
        trials = self._feed.take()
        for start in range(0, len(trials), BATCH):
            self._send(Update(trials[start : start + BATCH]))
        self.is_asked = True
        self._send(question)

    def poll(self, seconds: float = 0.0) -> FromProcess | None:
        """Wait up to so many seconds for the next answer; None if there is none."""
        until = time.monotonic() + seconds
        while self._connection is not None:
            if not wait([self._connection], max(0.0, until - time.monotonic())):
                return None
            try:
                message = receive_from_process(self._connection)
            except (EOFError, OSError, ExecutorError) as error:
                self._note_death(str(error))
                return None
            match message:
                case Ready():
                    self._is_ready = True
                    return None
                case Unusable(reason):
                    self.unusable = reason
                    self.close()
                case _:
                    self._deaths = 0
                    self.is_asked = False
                    return message
        return None

    def kill(self, reason: str) -> None:
        """End a process that does not answer."""
        self._note_death(reason)

    def close(self) -> None:
        """End the process."""
        if self._connection is not None:
            self._connection.close()
        if self._leash is not None:
            self._leash.close()  # its guard kills it
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        self._process = self._connection = self._leash = None
        self._is_ready = self.is_asked = False

    def _send(self, message: Begin | Update | Propose | Judge) -> None:
        assert self._connection is not None
        with contextlib.suppress(OSError):  # `poll` finds out
            send_to_process(self._connection, message)

    def _note_death(self, reason: str) -> None:
        self.close()
        self._deaths += 1
        role, path = self._begin.role, self._begin.path
        _log.warning("the process of the %s %s ended: %s", role, path, reason or "no answer")
        if self._deaths >= MAX_DEATHS:
            self.unusable = f"{role} {path}: its process ended {self._deaths} times without answer"


def begin_message(role: str, study: str, spec: Any, directions: Any, seed: int) -> Begin:
    """Return what the process of a study's sampler or pruner starts with."""
    section = getattr(spec, role)
    options: Mapping[str, Any] = section.options
    return Begin(
        study=study,
        directions=list(directions),
        space=spec.space.model_dump(mode="json"),
        seed=seed,
        path=section.class_name,
        options=dict(options),
        role="sampler" if role == "sampler" else "pruner",
        code=spec.classes.get(role),
    )
