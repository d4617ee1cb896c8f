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


class BudgetedStudy(optuna.Study):
    """An Optuna study whose `optimize` returns when its budget is used up or it was stopped.

    `tuner.create_study` and `tuner.load_study` return one.

    Example:
        >>> import tuner
        >>> study = tuner.create_study(study_name="queued", trials=2)
        >>> study.enqueue_trial({"x": 0.5})
        >>> trial = study.ask()
        >>> study.tell(trial, trial.suggest_float("x", -1, 1)) and None
        >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 1))
        >>> study.trials[0].value, len(study.trials)
        (0.5, 2)
    """

    _closed: tuple[StudyClosedError, ...] = ()  # one per thread

    def optimize(self, *arguments: Any, **options: Any) -> None:
        """Optimize like `optuna.Study.optimize`, until the study gives no further trial."""
        self._closed = ()
        try:
            super().optimize(*arguments, **options)
        except StudyClosedError as error:
            if error not in self._closed:  # raised by another study
                raise
        if self._closed:
            _log.warning("%s", self._closed[-1])

    def ask(self, fixed_distributions: dict[str, BaseDistribution] | None = None) -> Trial:
        """Ask for the next trial, like `optuna.Study.ask`.

        Raises:
            StudyClosedError: The study gives no further trial.
        """
        try:
            return super().ask(fixed_distributions)
        except StudyClosedError as error:
            if self._thread_local.in_optimize_loop:
                self._closed += (error,)
                self.stop()  # keeps other threads of this `optimize` from starting trials
            raise

    def enqueue_trial(self, *arguments: Any, **options: Any) -> None:
        """Queue like `optuna.Study.enqueue_trial`; logs if the budget does not reach the trial."""
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
) -> BudgetedStudy:
    """Create an Optuna study in tuner's database, with a budget.

    `optimize` returns, with one sentence, once the budget is given out or the study is paused or
    stopped; `ask` then raises `StudyClosedError`.

    Args:
        trials: Number of trials in all, of all processes together; no limit if None.
        storage: The storage; `tuner.storage()` if None.
        sampler: As in `optuna.create_study`.
        pruner: As in `optuna.create_study`.
        study_name: As in `optuna.create_study`.
        direction: As in `optuna.create_study`.
        load_if_exists: Whether to load a study of that name; it gets the budget `trials`, and
            continues if that is more than before.
        directions: As in `optuna.create_study`.

    Returns:
        The study.

    Raises:
        BadInputError: `trials` is not a whole number from 1 to 1,000,000, or a study file sets
            another budget, or `storage` is another one than tuner's.
        DuplicatedStudyError: Optuna's: the name is taken.

    Example:
        >>> import tuner
        >>> study = tuner.create_study(study_name="budgeted", trials=5)
        >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2)
        >>> len(study.trials)
        5
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
    return BudgetedStudy(created.study_name, storage, sampler, pruner)


def load_study(
    study_name: str,
    *,
    storage: Storage | None = None,
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
) -> BudgetedStudy:
    """Load a study of tuner's database as an Optuna study that ends with its budget.

    Args:
        study_name: Name of the study.
        storage: The storage; `tuner.storage()` if None.
        sampler: As in `optuna.load_study`.
        pruner: As in `optuna.load_study`.

    Returns:
        The study.

    Raises:
        KeyError: There is no study of that name.
        BadInputError: `storage` is another one than tuner's.

    Example:
        >>> import tuner
        >>> study = tuner.load_study("budgeted")
        >>> study.best_value == study.best_params["x"] ** 2
        True
    """
    return BudgetedStudy(study_name, _checked(storage), sampler, pruner)


def _budget(trials: Any) -> int:
    """Check the number of trials, which may be one of NumPy's."""
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
            "storage: must be `tuner.storage()`; Optuna's own storages have no budgets"
        )
    return storage
