"""Optuna studies with a budget: `tuner.create_study(…, trials=50)`, `tuner.load_study(…)`.

In Optuna a study has no end: `optimize` returns after the number of trials that its caller passes,
and exceptions of the storage escape it. Here it returns, with one sentence, when the study ends.
"""

import operator
from collections.abc import Sequence
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import Trial

from tuner.errors import BadInputError, StudyClosedError
from tuner.search.storage import Storage

MAX_TRIALS = 1_000_000  # as in study files

_log = optuna.logging.get_logger("optuna.tuner")


class Study(optuna.Study):
    """Optuna's study, whose `optimize` returns when its budget is used up or it was stopped."""

    _closed: tuple[StudyClosedError, ...] = ()  # one per thread

    def optimize(self, *arguments: Any, **options: Any) -> None:
        """Optimize as `optuna.Study.optimize` does, as long as the study gives trials."""
        self._closed = ()
        try:
            super().optimize(*arguments, **options)
        except StudyClosedError as error:
            if error not in self._closed:  # raised by another study
                raise
        if self._closed:
            _log.warning("%s", self._closed[-1])

    def ask(self, fixed_distributions: dict[str, BaseDistribution] | None = None) -> Trial:
        """Take the next trial; StudyClosedError if the study gives none."""
        try:
            return super().ask(fixed_distributions)
        except StudyClosedError as error:
            if self._thread_local.in_optimize_loop:
                self._closed += (error,)
                self.stop()  # of several threads, those that have not begun do not begin
            raise

    def enqueue_trial(self, *arguments: Any, **options: Any) -> None:
        """Queue as `optuna.Study.enqueue_trial` does; logs where the budget does not reach it."""
        super().enqueue_trial(*arguments, **options)
        assert isinstance(self._storage, Storage)
        for note in self._storage.left_waiting(self._study_id):
            _log.warning("%s", note)


def create_study(
    *,
    trials: int | None = None,
    storage: Storage | None = None,
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    study_name: str | None = None,
    direction: Literal["minimize", "maximize"] | StudyDirection | None = None,
    load_if_exists: bool = False,
    directions: Sequence[Literal["minimize", "maximize"] | StudyDirection] | None = None,
) -> Study:
    """Create an Optuna study in tuner's database, with a budget.

    Takes what `optuna.create_study` takes, and `trials`: how many trials the study has in all,
    whoever makes them and in however many processes. `optimize` returns, with one sentence, when
    they are given out or when the study is paused or stopped; `ask` raises `StudyClosedError` then.
    A study that exists, with `load_if_exists`, gets this budget, and goes on if it is larger.

    The storage is `tuner.storage()` by default. BadInputError if `trials` is no whole number from
    1 on, or if a study file has set another budget; Optuna's DuplicatedStudyError if the name is
    taken.
    """
    budget = None if trials is None else _budget(trials)
    storage = _checked(storage)
    created = optuna.create_study(
        storage=storage,
        study_name=study_name,
        direction=direction,
        load_if_exists=load_if_exists,
        directions=directions,
    )
    if budget is not None:
        storage.set_budget(created._study_id, budget)
    return Study(created.study_name, storage, sampler, pruner)


def load_study(
    study_name: str,
    *,
    storage: Storage | None = None,
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
) -> Study:
    """Load a study of tuner's database as Optuna's, with an `optimize` that ends when it does.

    `storage` is `tuner.storage()` by default. KeyError without a study of that name.
    """
    return Study(study_name, _checked(storage), sampler, pruner)


def _budget(trials: Any) -> int:
    """The number of trials, which may be NumPy's as in a mapping of a study file."""
    try:
        number = 0 if isinstance(trials, bool) else operator.index(trials)
    except TypeError:
        number = 0
    if not 1 <= number <= MAX_TRIALS:
        raise BadInputError(
            f"trials: must be a whole number from 1 to {MAX_TRIALS:,}, is {trials!r}"
        )
    return number


def _checked(storage: Any) -> Storage:
    if storage is None:
        return Storage()
    if not isinstance(storage, Storage):
        raise BadInputError(
            "storage: must be `tuner.storage()`, for Optuna's own storages know no budgets"
        )
    return storage
