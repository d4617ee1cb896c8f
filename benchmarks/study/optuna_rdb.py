"""Optuna: two processes on an RDBStorage, TPE and Hyperband. `optuna_rdb.py STORAGE_URL`."""

import multiprocessing
import sys

import digits
import optuna
from optuna.study import MaxTrialsCallback

NAME = "digits"


def suggest(trial: optuna.Trial) -> dict[str, object]:
    """The space as Optuna has it."""
    params: dict[str, object] = {}
    for name, range_ in digits.SPACE.items():
        if isinstance(range_, list):
            params[name] = trial.suggest_categorical(name, range_)
        else:
            params[name] = trial.suggest_float(name, *range_[:2], log=len(range_) == 2)
    return params


def objective(trial: optuna.Trial) -> float:
    """Train a trial, with a look at the pruner after each epoch."""
    accuracy = 0.0
    for epoch, accuracy in enumerate(digits.train(suggest(trial), seed=trial.number), 1):
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return accuracy


def work(url: str) -> None:
    """One of the processes."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=url,
        study_name=NAME,
        direction="maximize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(),
        pruner=optuna.pruners.HyperbandPruner(
            min_resource=1, max_resource=digits.EPOCHS, reduction_factor=digits.REDUCTION
        ),
    )
    # without `states` it counts complete ones alone, and would not end before 60 of these
    study.optimize(objective, callbacks=[MaxTrialsCallback(digits.TRIALS, states=None)])


if __name__ == "__main__":
    optuna.create_study(storage=sys.argv[1], study_name=NAME, direction="maximize")
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=work, args=sys.argv[1:]) for _ in range(digits.WORKERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(any(process.exitcode for process in processes))
