"""Syne Tune: local backend, ASHA. `syne.py FOLDER`; it starts `syne.py` again for each trial."""

import argparse
import sys
from pathlib import Path
from typing import Any

import digits
from syne_tune import Reporter, StoppingCriterion, Tuner
from syne_tune.backend import LocalBackend
from syne_tune.config_space import choice, loguniform, uniform
from syne_tune.optimizer.baselines import ASHA


def domain(range_: Any) -> Any:
    """A parameter as Syne Tune has it."""
    if isinstance(range_, list):
        return choice(range_)
    return loguniform(*range_) if len(range_) == 2 else uniform(*range_[:2])


def trial() -> None:
    """A trial's process: its parameters are arguments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int)
    for name, range_ in digits.SPACE.items():
        parser.add_argument(f"--{name}", type=type(range_[0]))
    params = vars(parser.parse_known_args()[0])
    report = Reporter()
    for epoch, accuracy in enumerate(digits.train(params, params.pop("epochs")), 1):
        report(epoch=epoch, accuracy=accuracy)


def main(folder: str) -> None:
    """The tuning process."""
    space = {name: domain(range_) for name, range_ in digits.SPACE.items()}
    scheduler = ASHA(
        {**space, "epochs": digits.EPOCHS},
        metric="accuracy",
        do_minimize=False,
        time_attr="epoch",
        max_t=digits.EPOCHS,
        grace_period=1,
        reduction_factor=digits.REDUCTION,
    )
    Tuner(
        trial_backend=LocalBackend(entry_point=__file__),
        scheduler=scheduler,
        stop_criterion=StoppingCriterion(max_num_trials_started=digits.TRIALS),
        n_workers=digits.WORKERS,
        sleep_time=0.1,  # 5 seconds by default
        results_update_interval=60,
        print_update_interval=600,
        tuner_name=Path(folder).name,
    ).run()


if __name__ == "__main__":
    trial() if "--learning_rate" in sys.argv else main(sys.argv[1])
