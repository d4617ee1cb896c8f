"""Ray Tune: OptunaSearch and ASHA, actors reused. `ray_tune.py FOLDER`."""

import sys
from collections.abc import Iterator
from typing import Any

import digits
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch


class Digits(tune.Trainable):  # type: ignore[misc, unused-ignore]
    """A trial; its process goes on with the next one, which a function's would not."""

    def setup(self, config: dict[str, Any]) -> None:
        self.epochs: Iterator[float] = digits.train(config)

    def step(self) -> dict[str, float]:
        return {"accuracy": next(self.epochs)}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True


def domain(range_: Any) -> Any:
    """A parameter as Ray has it."""
    if isinstance(range_, list):
        return tune.choice(range_)
    return tune.loguniform(*range_) if len(range_) == 2 else tune.uniform(*range_[:2])


if __name__ == "__main__":
    ray.init(num_cpus=digits.WORKERS, include_dashboard=False, log_to_driver=False)
    tune.Tuner(
        Digits,
        param_space={name: domain(range_) for name, range_ in digits.SPACE.items()},
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=digits.TRIALS,
            max_concurrent_trials=digits.WORKERS,
            reuse_actors=True,
            search_alg=OptunaSearch(),
            scheduler=ASHAScheduler(
                max_t=digits.EPOCHS, grace_period=1, reduction_factor=digits.REDUCTION
            ),
        ),
        run_config=tune.RunConfig(
            storage_path=sys.argv[1], stop={"training_iteration": digits.EPOCHS}, verbose=0
        ),
    ).fit()
