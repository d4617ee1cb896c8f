"""tuner: a hyperparameter tuning service on Optuna and PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.own.trial import Trial as Trial
    from tuner.search.storage import Storage

__version__ = "0.1.0"


def storage() -> Storage:
    """Optuna's storage on tuner's database: `optuna.create_study(storage=tuner.storage())`."""
    from tuner.search.storage import Storage

    return Storage()


def current_trial() -> Trial:
    """The trial in which this program runs, if a study of the family `command` has started it.

    Else one without parameters whose reports go nowhere, so that the program runs by hand as well.
    """
    from tuner.own.client import current_trial

    return current_trial()


def __getattr__(name: str) -> Any:
    """`tuner.Trial`, which most programs that import tuner do without."""
    if name == "Trial":
        from tuner.own.trial import Trial

        return Trial
    raise AttributeError(f"module `tuner` has no attribute `{name}`")
