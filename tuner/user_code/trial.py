"""`tuner.Trial`: the trial that user code runs in.

A function (family `function`) receives it as its argument, a program that is tuned by its command
line (family `command`) gets it from `tuner.current_trial()`, and a test from `tuner.testing`.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tuner.artifacts import ARTIFACTS_FOLDER, CHECKPOINT_FOLDER
from tuner.user_code.checkpoint import Checkpoint
from tuner.user_code.reported import checked_constraints, checked_metrics, checked_step, number

ParamValue = bool | int | float | str | None
Send = Callable[[int, float, Mapping[str, float]], bool]


class Stopped(SystemExit):
    """Raised by a report after the trial was told to stop; ends a program quietly, with code 0."""

    def __init__(self) -> None:
        super().__init__(0)


def refuse_fork(process: int) -> None:
    """RuntimeError unless this is the process of that id: a forked one must not report."""
    if os.getpid() != process:
        raise RuntimeError(
            "only the process in which the function was called can report; pass values from "
            "forked processes to it, for example through a multiprocessing queue"
        )


class Trial:
    """One trial of a study.

    Attributes:
        params: Parameters by name, including pinned ones; read-only.
        number: Number of the trial in its study, from 0.
        attempt: 1, or more if earlier attempts were interrupted.
        seed: Seed for everything random; derived from the study's seed and the trial's number.
        epochs: Last step to report: `budget.epochs` of the study file, or the number of levels of
            `budget.fidelity`; None if it sets neither.
        device: Torch device: `cpu`, or `cuda:0` as the process sees the only GPU it may use.
        threads: Number of CPU threads that the trial may use.
        checkpoint: What the next attempt resumes from if this one is interrupted.

    Example:
        >>> import tuner
        >>> def train(trial: tuner.Trial) -> None:
        ...     loss = 1.0
        ...     for epoch in range(1, 4):
        ...         loss *= 1 - trial.params["learning_rate"]
        ...         trial.report(loss, step=epoch)
        ...         if trial.should_stop():
        ...             return
        ...     (trial.artifacts / "loss.txt").write_text(str(loss))
        >>> import tuner.testing
        >>> trial = tuner.testing.trial(learning_rate=0.5)
        >>> train(trial)
        >>> [value for _, value, _ in trial.reports]
        [0.5, 0.25, 0.125]
        >>> (trial.artifacts / "loss.txt").read_text()
        '0.125'
    """

    def __init__(
        self,
        params: Mapping[str, ParamValue],
        *,
        send: Send,
        ask: Callable[[], bool] = lambda: True,
        constrain: Callable[[str, float], None] = lambda name, value: None,
        folder: Path,
        earlier: Sequence[Path] = (),
        number: int = 0,
        attempt: int = 1,
        seed: int = 0,
        epochs: int | None = None,
        fidelities: Sequence[float] = (),
        level: int = 0,
        device: str = "cpu",
        threads: int = 1,
    ) -> None:
        """Called by what runs trials, never by user code.

        `send` takes step, value and metrics and returns whether to continue; `ask` returns that
        without a report, for processes that make none; `constrain` takes the name and value of a
        constraint. `folder` is this attempt's, `earlier` are
        those of the attempts before it, latest first.
        """
        self.params: Mapping[str, ParamValue] = MappingProxyType(dict(params))
        self.number = number
        self.attempt = attempt
        self.seed = seed
        self.epochs = epochs
        self._fidelities = tuple(fidelities)
        self.device = device
        self.threads = threads
        self.checkpoint = Checkpoint(
            folder / CHECKPOINT_FOLDER, [path / CHECKPOINT_FOLDER for path in earlier]
        )
        self._artifacts = folder / ARTIFACTS_FOLDER
        self._send = send
        self._ask = ask
        self._step = level
        self._stopped = False
        self._constrain = constrain
        self._lock = threading.RLock()  # a signal handler may report while a report is made
        self._process = os.getpid()

    @property
    def artifacts(self) -> Path:
        """Folder for files to keep; those of the best trials stay and are exported."""
        self._artifacts.mkdir(parents=True, exist_ok=True)
        return self._artifacts

    @property
    def fidelity(self) -> float | None:
        """Level of `budget.fidelity` to train at for the next report; None if the study sets none.

        It rises with each report, from the lowest level to the whole. A later attempt of the trial
        begins at the level after the last one that was reported. Only the report at the whole
        counts as the trial's result.

        Example:
            >>> import tuner
            >>> def train(trial: tuner.Trial) -> None:
            ...     while not trial.should_stop():
            ...         examples = round(1000 * trial.fidelity)
            ...         trial.report(1 / examples)
            >>> import tuner.testing
            >>> trial = tuner.testing.trial(fidelities=[0.1, 1])
            >>> train(trial)
            >>> [(step, value) for step, value, _ in trial.reports]
            [(1, 0.01), (2, 0.001)]
        """
        if not self._fidelities:
            return None
        return self._fidelities[min(self._step, len(self._fidelities) - 1)]

    def report(self, value: float, step: int | None = None, **metrics: float) -> None:
        """Report the study's metric after `step` epochs, and other metrics.

        NaN or an infinite value ends the trial as diverged. Threads may report at the same time.

        Args:
            value: The study's metric on the validation part: any number, also of NumPy or a tensor
                with one element.
            step: Number of finished epochs, from 1; one more than the latest if None.
            **metrics: Other metrics to record, by name.

        Raises:
            TypeError: A value or the step is not a number.
            ValueError: The step is out of range.
            Stopped: The trial was told to stop earlier; so code that never calls `should_stop`
                ends as well.

        Example:
            >>> import tuner.testing
            >>> trial = tuner.testing.trial()
            >>> trial.report(0.9, step=1, loss=0.3)
            >>> trial.reports
            [(1, 0.9, {'loss': 0.3})]
        """
        if self._process != os.getpid():  # another thread may have held the lock at the fork
            self._lock, self._process = threading.RLock(), os.getpid()
        value, metrics = number(value, "the value"), checked_metrics(metrics)
        step = None if step is None else checked_step(step)
        with self._lock:
            if self._stopped:
                raise Stopped
            step = self._step + 1 if step is None else step
            self._step = max(step, self._step)
            self._stopped = not self._send(step, value, metrics)
            # another round would be the most expensive one, in vain
            self._stopped |= 0 < len(self._fidelities) <= step

    def constraint(self, name: str, value: float) -> None:
        """Set the value of a constraint, which is kept at 0 or less, as in Optuna.

        A trial that violates a constraint is never the best. If that is known at a rung, the trial
        ranks behind all others there, so call this as soon as you know the value. The latest value
        counts.

        Args:
            name: Its name, such as `size`.
            value: By how much it is violated if above 0.

        Raises:
            TypeError: The value is not a number.
            ValueError: The name is not short, printable text, or the value is NaN.

        Example:
            >>> import tuner.testing
            >>> trial = tuner.testing.trial()
            >>> trial.constraint("size", 7.5 - 8.0)  # at most 8 MB
            >>> trial.constraints
            {'size': -0.5}
        """
        checked = checked_constraints({name: value})
        with self._lock:
            self._constrain(name, checked[name])

    def should_stop(self) -> bool:
        """Whether to end the trial now, as of the latest report.

        The trial was pruned, has reached its last epoch, or its study was paused. Save what the
        next attempt needs, unless it was saved just now, and return. In a process of a rank other
        than 0 that does not report, it is the answer to rank 0's latest report.

        Returns:
            True if the trial has to end.

        Example:
            >>> import tuner.testing
            >>> trial = tuner.testing.trial(stop_at=2)
            >>> trial.report(0.5)
            >>> trial.should_stop()
            False
            >>> trial.report(0.6)
            >>> trial.should_stop()
            True
        """
        if not self._stopped and self._step == 0:
            self._stopped = not self._ask()
        return self._stopped
