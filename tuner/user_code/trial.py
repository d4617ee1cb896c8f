"""`tuner.Trial`: what users' own code sees of the trial that it runs.

The same object is given to a function (family `function`), returned by `tuner.current_trial()` in a
program that is tuned by its command line (family `command`), and made by `tuner.testing`.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tuner.artifacts import ARTIFACTS_FOLDER, CHECKPOINT_FOLDER
from tuner.user_code.checkpoint import Checkpoint
from tuner.user_code.reported import checked_metrics, checked_step, number

ParamValue = bool | int | float | str | None
Send = Callable[[int, float, Mapping[str, float]], bool]


class Stopped(SystemExit):
    """The trial was told to stop and has reported again; ends a program quietly, with code 0."""

    def __init__(self) -> None:
        super().__init__(0)


def refuse_fork(process: int) -> None:
    """RuntimeError in a process that this one, of that id, has forked: it reports for itself."""
    if os.getpid() != process:
        raise RuntimeError(
            "only the process in which the function was called reports; a process that it has "
            "forked hands its values over, as through a multiprocessing queue"
        )


class Trial:
    """One trial of a study."""

    def __init__(
        self,
        params: Mapping[str, ParamValue],
        *,
        send: Send,
        ask: Callable[[], bool] = lambda: True,
        folder: Path,
        earlier: Sequence[Path] = (),
        number: int = 0,
        attempt: int = 1,
        seed: int = 0,
        epochs: int | None = None,
        device: str = "cpu",
        threads: int = 1,
    ) -> None:
        """`send` takes step, value and metrics and says whether to go on; for whoever runs trials.

        `ask` says so without a report, for processes that have none.
        `folder` is this attempt's, `earlier` those of the attempts before it, the latest first.
        """
        self.params: Mapping[str, ParamValue] = MappingProxyType(dict(params))
        """The parameters by name, the pinned ones among them; cannot be changed."""
        self.number = number
        """The trial's number in its study, from 0."""
        self.attempt = attempt
        """1, or more where earlier attempts were interrupted."""
        self.seed = seed
        """For everything random: follows from the study's seed and the trial's number."""
        self.epochs = epochs
        """The last step that is wanted: `budget.epochs` of the study file; None if it has none."""
        self.device = device
        """A torch device: `cpu`, or `cuda:0` as this process sees the only GPU that it may use."""
        self.threads = threads
        """CPU threads that the trial may use."""
        self.checkpoint = Checkpoint(
            folder / CHECKPOINT_FOLDER, [path / CHECKPOINT_FOLDER for path in earlier]
        )
        """What the next attempt goes on from, if this one is interrupted."""
        self._artifacts = folder / ARTIFACTS_FOLDER
        self._send = send
        self._ask = ask
        self._step = 0
        self._stopped = False
        self._lock = threading.RLock()  # a signal handler may report while a report is made
        self._process = os.getpid()

    @property
    def artifacts(self) -> Path:
        """A folder for files to keep: those of the best trials stay and are exported."""
        self._artifacts.mkdir(parents=True, exist_ok=True)
        return self._artifacts

    def report(self, value: float, step: int | None = None, **metrics: float) -> None:
        """Report the study's metric after `step` epochs, and whatever else was measured.

        Steps count up from 1; without one it is the next. NaN or an infinite value ends the trial
        as diverged. Values may be any numbers, NumPy's or a tensor's too; TypeError if one is none,
        ValueError for a step that is out of the question. Once the trial was told to stop, the next
        report raises `Stopped`, so code that never asks ends all the same. Threads may report at
        the same time.
        """
        if self._process != os.getpid():  # forked while another thread held the lock, maybe
            self._lock, self._process = threading.RLock(), os.getpid()
        sent, others = number(value, "the value"), checked_metrics(metrics)
        given = None if step is None else checked_step(step)
        with self._lock:
            if self._stopped:
                raise Stopped
            step = self._step + 1 if given is None else given
            self._step = max(step, self._step)
            self._stopped = not self._send(step, sent, others)

    def should_stop(self) -> bool:
        """Whether the trial shall end now, as answered to the last report.

        In a process of another rank than 0 that does not report, as answered to rank 0's last one.
        Then it was pruned, has gone past its last epoch, or its study was paused: save what the
        next attempt needs, if it was not saved just now, and return.
        """
        if not self._stopped and self._step == 0:
            self._stopped = not self._ask()
        return self._stopped
