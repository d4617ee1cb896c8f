"""tuner: a hyperparameter tuning service on Optuna and PostgreSQL."""

from __future__ import annotations

TYPE_CHECKING = False  # nothing is imported here: a process of tuner's begins with this file
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from tuner.api import Experiment, Study
    from tuner.search.notebook import create_study as create_study
    from tuner.search.notebook import load_study as load_study
    from tuner.search.storage import Storage
    from tuner.user_code.trial import Trial as Trial

__version__ = "0.1.0"


def run(
    study: str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
    workers: int | None = None,
) -> Study | Experiment:
    """Launch a study, a file or its content, and work on it here until it is done.

    Of a file that names several families, an experiment: a study of each. As `tuner run`: what
    is there already by that name goes on; Ctrl-C (a notebook's Stop) pauses it. In a notebook its
    progress is shown live. `overrides` are those of `--set`. AllTrialsFailedError where every trial
    fails, with the latest message.
    """
    from tuner.api import run

    return run(study, overrides=overrides, name=name, workers=workers)


def launch(
    study: str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
) -> Study | Experiment:
    """Launch a study, a file or its content, for workers elsewhere (`tuner worker`)."""
    from tuner.api import launch

    return launch(study, overrides=overrides, name=name)


def study(name: str) -> Study:
    """A study that is there: its trials, its best, its figures; StudyNotFoundError without one."""
    from tuner.api import study

    return study(name)


def experiment(name: str) -> Experiment:
    """An experiment that is there: its studies, how they compare; StudyNotFoundError without."""
    from tuner.api import experiment

    return experiment(name)


def storage() -> Storage:
    """Optuna's storage on tuner's database: `optuna.create_study(storage=tuner.storage())`."""
    from tuner.search.storage import Storage

    return Storage()


def current_trial() -> Trial:
    """The trial in which this program or function runs, if a study has started it.

    Else one without parameters whose reports go nowhere, so that the program runs by hand as well.
    """
    import os
    import sys

    # a script called `random.py` must not be run again where the standard one is imported
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    folder = os.path.dirname(os.path.realpath(script)) if script else None  # noqa: PTH120
    hidden = sys.path[:1] if folder in sys.path[:1] else []
    del sys.path[: len(hidden)]
    try:
        from tuner.user_code.client import current_trial

        return current_trial()
    finally:
        sys.path[:0] = hidden


def __getattr__(name: str) -> Any:
    """What most programs that import tuner do without: `Trial`, and Optuna's studies."""
    if name == "Trial":
        from tuner.user_code.trial import Trial

        return Trial
    if name in ("create_study", "load_study"):
        from tuner.search import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module `tuner` has no attribute `{name}`")
