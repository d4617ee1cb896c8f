"""A trial without a service: run and test a function that is to be tuned.

if __name__ == "__main__":
print(train(tuner.testing.trial(learning_rate=0.01)))
"""

import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tuner.study_file.plain import plain
from tuner.user_code.trial import ParamValue, Trial, refuse_fork

__all__ = ["FakeTrial", "trial"]


class FakeTrial(Trial):
    """A trial that remembers its reports in `reports`: step, value and metrics of each.

    As in a study, one that is not finite ends the trial, and so does one beyond `epochs`, which
    does not count.
    """

    def __init__(
        self,
        params: Mapping[str, ParamValue],
        *,
        folder: Path,
        seed: int = 0,
        epochs: int | None = None,
        stop_at: int | None = None,
    ) -> None:
        """`stop_at`: the step whose report is answered by telling the trial to stop."""
        self.reports: list[tuple[int, float, Mapping[str, float]]] = []
        self._stop_at = stop_at
        self._tested_in = os.getpid()
        super().__init__(params, send=self._remember, folder=folder, seed=seed, epochs=epochs)

    def _remember(self, step: int, value: float, metrics: Mapping[str, float]) -> bool:
        refuse_fork(self._tested_in)
        if self.epochs is not None and step > self.epochs:
            return False
        self.reports.append((step, value, metrics))
        return math.isfinite(value) and (self._stop_at is None or step < self._stop_at)


def trial(
    *,
    folder: Path | None = None,
    seed: int = 0,
    epochs: int | None = None,
    stop_at: int | None = None,
    **params: ParamValue,
) -> FakeTrial:
    """A trial with these parameters; its files go to `folder`, by default a temporary one."""
    folder = folder or Path(tempfile.mkdtemp(prefix="tuner-trial-"))
    return FakeTrial(plain(params), folder=folder, seed=seed, epochs=epochs, stop_at=stop_at)
