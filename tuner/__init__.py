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


def __getattr__(name: str) -> Any:
    """`tuner.Trial`, which most programs that import tuner do without."""
    if name == "Trial":
        from tuner.own.trial import Trial

        return Trial
    raise AttributeError(f"module `tuner` has no attribute `{name}`")
