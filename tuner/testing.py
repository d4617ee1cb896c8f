"""Run and test a function that is to be tuned, without a service.

if __name__ == "__main__":
    print(train(tuner.testing.trial(learning_rate=0.01)))
"""

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tuner.study_file.plain import plain
from tuner.user_code.trial import ParamValue, Trial, refuse_fork

__all__ = ["FakeTrial", "trial"]


class FakeTrial(Trial):
    """A trial that remembers its reports and has no study.

    As in a study, a report that is not finite ends the trial, and so does one beyond `epochs`,
    which does not count.

    Attributes:
        reports: Step, value and metrics of each report.
        constraints: The latest value of each constraint, by name.

    Example:
        >>> import tuner.testing
        >>> trial = tuner.testing.trial(epochs=1)
        >>> trial.report(0.5, step=1)
        >>> trial.report(0.6, step=2)  # beyond the last epoch: does not count
        >>> trial.reports, trial.should_stop()
        ([(1, 0.5, {})], True)
    """

    def __init__(
        self,
        params: Mapping[str, ParamValue],
        *,
        folder: Path,
        seed: int = 0,
        epochs: int | None = None,
        fidelities: Sequence[float] = (),
        stop_at: int | None = None,
    ) -> None:
        """`stop_at`: the step whose report is answered by telling the trial to stop."""
        self.reports: list[tuple[int, float, Mapping[str, float]]] = []
        self.constraints: dict[str, float] = {}
        self._stop_at = stop_at
        self._created_in = os.getpid()
        super().__init__(
            params,
            send=self._remember,
            constrain=self.constraints.__setitem__,
            folder=folder,
            seed=seed,
            epochs=len(fidelities) or epochs,
            fidelities=fidelities,
        )

    def _remember(self, step: int, value: float, metrics: Mapping[str, float]) -> bool:
        refuse_fork(self._created_in)
        if self.epochs is not None and step > self.epochs:
            return False
        self.reports.append((step, value, metrics))
        return math.isfinite(value) and (self._stop_at is None or step < self._stop_at)


def trial(
    *,
    folder: Path | None = None,
    seed: int = 0,
    epochs: int | None = None,
    fidelities: Sequence[float] = (),
    stop_at: int | None = None,
    **params: ParamValue,
) -> FakeTrial:
    """Create a trial with these parameters.

    Args:
        folder: Folder of its checkpoints and artifacts; a temporary one if None.
        seed: Its `seed`.
        epochs: Its last step, as `budget.epochs`; None if it has none.
        fidelities: The levels of its `fidelity`, as from `budget.fidelity`; empty if it has none.
        stop_at: Step whose report tells the trial to stop, as a pruner does; None for never.
        **params: Its parameters, by name.

    Returns:
        The trial; `reports` holds what was reported.

    Raises:
        BadInputError: The value of a parameter is none that a study file can hold.

    Example:
        >>> import tuner.testing
        >>> trial = tuner.testing.trial(learning_rate=0.01, seed=3)
        >>> trial.params["learning_rate"], trial.seed
        (0.01, 3)
    """
    folder = folder or Path(tempfile.mkdtemp(prefix="tuner-trial-"))
    return FakeTrial(
        plain(params),
        folder=folder,
        seed=seed,
        epochs=epochs,
        fidelities=fidelities,
        stop_at=stop_at,
    )
