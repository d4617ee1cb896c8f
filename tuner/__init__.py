"""tuner: a hyperparameter tuning service on Optuna and PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuner.search.storage import Storage

__version__ = "0.1.0"


def storage() -> Storage:
    """Optuna's storage on tuner's database: `optuna.create_study(storage=tuner.storage())`."""
    from tuner.search.storage import Storage

    return Storage()
