"""tuner: a hyperparameter tuning service on Optuna and PostgreSQL."""

from __future__ import annotations

TYPE_CHECKING = False  # import nothing here: every process of tuner starts with this file
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

__all__ = [
    "Trial",
    "create_study",
    "current_trial",
    "experiment",
    "launch",
    "load_study",
    "run",
    "storage",
    "study",
]


def run(
    study: str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
    workers: int | None = None,
) -> Study | Experiment:
    """Launch a study and work on it on this machine until it is done.

    A study of the same name and definition resumes. Ctrl-C, or a notebook's Stop, pauses it; a
    notebook shows its progress live. If the file has a section `confirm`, the winner is confirmed
    afterwards. User code that the study brings may run.

    Args:
        study: Path of a study file, or its content as a mapping. Values of a mapping may be NumPy
            numbers and arrays, paths, ranges and tuples.
        overrides: Changes as in `--set`, for example `["budget.trials=20"]`.
        name: Name of the study, used instead of the file's.
        workers: Number of trials to run at the same time; `resources.workers` if None.

    Returns:
        The study; an experiment, with one study per family, if the file names several families.

    Raises:
        SpecError: The study file is wrong; one line per error.
        DataError: The data is missing or wrong.
        StudyExistsError: The name is taken by a study with another definition.
        ExecutorError: The worker failed.
        AllTrialsFailedError: Every trial failed; the message holds the latest cause.

    Example:
        With `def train(trial): trial.report(trial.params["x"] ** 2)` in `parabola.py`:

        >>> import tuner
        >>> study = tuner.run({
        ...     "name": "parabola",
        ...     "family": "function",
        ...     "function": "parabola:train",
        ...     "objective": {"metric": "loss", "direction": "minimize"},
        ...     "search": {"x": {"low": -1.0, "high": 1.0}},
        ...     "budget": {"trials": 12},
        ... }, workers=1)
        >>> study.best.value == study.best.params["x"] ** 2
        True
    """
    from tuner.api import run

    return run(study, overrides=overrides, name=name, workers=workers)


def launch(
    study: str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
) -> Study | Experiment:
    """Launch a study for workers elsewhere (`tuner worker`).

    Args:
        study: Path of a study file, or its content as a mapping. Values of a mapping may be NumPy
            numbers and arrays, paths, ranges and tuples.
        overrides: Changes as in `--set`, for example `["budget.trials=20"]`.
        name: Name of the study, used instead of the file's.

    Returns:
        The study; an experiment, with one study per family, if the file names several families.

    Raises:
        SpecError: The study file is wrong; one line per error.
        DataError: The data is missing or wrong.
        StudyExistsError: The name is taken.

    Example:
        >>> import tuner
        >>> study = tuner.launch("parabola.yaml", overrides=["budget.trials=20"], name="longer")
        >>> str(study.state)
        'active'
    """
    from tuner.api import launch

    return launch(study, overrides=overrides, name=name)


def study(name: str) -> Study:
    """Open an existing study: its trials, its best configuration, its figures.

    Args:
        name: Name of the study.

    Returns:
        The study, read from the database at every access.

    Raises:
        StudyNotFoundError: There is no study of that name.

    Example:
        >>> import tuner
        >>> study = tuner.study("parabola")
        >>> str(study.state), len(study.all_trials)
        ('finished', 12)
    """
    from tuner.api import study

    return study(name)


def experiment(name: str) -> Experiment:
    """Open an existing experiment: its studies, one per family, and how they compare.

    Args:
        name: Name of the experiment, as in the study file that names several families.

    Returns:
        The experiment, read from the database at every access.

    Raises:
        StudyNotFoundError: There is no experiment of that name.

    Example:
        >>> import tuner
        >>> sorted(tuner.experiment("words").studies)
        ['bow', 'tfidf']
    """
    from tuner.api import experiment

    return experiment(name)


def storage() -> Storage:
    """Connect to tuner's database as a storage for Optuna's own API.

    Returns:
        An `optuna.storages.BaseStorage`, to pass to Optuna as `storage=`.

    Raises:
        DatabaseError: The database cannot be reached, or its schema is another version's.

    Example:
        >>> import optuna, tuner
        >>> study = optuna.create_study(storage=tuner.storage(), study_name="by-optuna")
        >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=3)
        >>> len(study.trials)
        3
    """
    from tuner.search.storage import Storage

    return Storage()


def current_trial() -> Trial:
    """Get the trial in which this program or function runs.

    Outside a study, it is a trial without parameters whose reports go nowhere, so a program also
    runs by hand with the defaults of `trial.params.get`.

    Returns:
        The trial that the worker started.

    Raises:
        UnreachableError: A launcher between the worker and this program lost the trial's
            environment or files.

    Example:
        >>> import tuner
        >>> trial = tuner.current_trial()
        >>> trial.params.get("learning_rate", 0.01)  # run by hand: the default
        0.01
        >>> trial.report(0.9)
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
    """Import `Trial` and Optuna's studies on first use: most programs need neither."""
    if name == "Trial":
        from tuner.user_code.trial import Trial

        return Trial
    if name in ("create_study", "load_study"):
        from tuner.search import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module `tuner` has no attribute `{name}`")
