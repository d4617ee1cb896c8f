"""How often a parameter without effect seems to matter, and one with an effect does.

    python -m benchmarks.importance                      # every objective, 10 to 300 trials
    python -m benchmarks.importance --sizes 40 --studies 50 --objective strong

Each simulated study has a parameter that the objective never reads: in turn a number, a number on a
log scale, a choice and a whole number. It is drawn at random or by Optuna's TPE, which draws it
near lucky values. For each objective, sampler and size, one line shows in how many studies that
parameter, and those that matter, are above their baselines. The full run takes hours, most of them
in TPE.
"""

import argparse
import math
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import optuna

from tuner.search.effects import effects, kernel_of_choices, kernel_of_numbers
from tuner.search.importances import SAMPLE

SIZES = (10, 20, 40, 100, 300)
SAMPLERS = ("random", "tpe")
Objective = Callable[[Mapping[str, float], float], float]

OBJECTIVES: dict[str, tuple[tuple[str, ...], Objective]] = {
    "strong": (("a",), lambda x, e: (x["a"] - 0.3) ** 2 + 0.02 * e),
    "interaction": (("a", "b"), lambda x, e: 4 * (x["a"] - 0.5) * (x["b"] - 0.5) + 0.2 * e),
    "noise": (("a",), lambda x, e: x["a"] + 0.5 * e),
    "skewed": (
        ("a", "b"),
        lambda x, e: math.exp(4 * abs(x["a"] - 0.7) + 2 * abs(x["b"] - 0.2)) + 0.1 * e,
    ),
    "nine": (("a", "b"), lambda x, e: (x["a"] - 0.3) ** 2 + 0.5 * x["b"] + 0.1 * e),
    "nothing": ((), lambda x, e: e),
}
IDLE = {"nine": 6}  # further parameters without effect


def simulate(name: str, sampler: str, trials: int, seed: int) -> dict[str, bool]:
    """Whether each parameter of one study is above its baseline; `null` is never read."""
    _, objective = OBJECTIVES[name]
    draws = np.random.default_rng(seed)
    names = ["a", "b", *(f"c{i}" for i in range(IDLE.get(name, 0)))]
    kind = ("number", "log", "choice", "whole")[seed % 4]

    def evaluate(trial: optuna.Trial) -> float:
        x = {key: trial.suggest_float(key, 0, 1) for key in names}
        match kind:
            case "number":
                trial.suggest_float("null", 0, 1)
            case "log":
                trial.suggest_float("null", 1e-3, 1, log=True)
            case "choice":
                trial.suggest_categorical("null", ["a", "b", "c", "d"])
            case _:
                trial.suggest_int("null", 1, 4)
        return objective(x, draws.standard_normal())

    samplers = optuna.samplers
    chosen = samplers.TPESampler if sampler == "tpe" else samplers.RandomSampler
    study = optuna.create_study(sampler=chosen(seed=seed))
    study.optimize(evaluate, n_trials=trials)
    judged = study.trials
    if trials > SAMPLE:
        judged = random.Random(seed).sample(judged, SAMPLE)
    columns = {key: [t.params[key] for t in judged] for key in (*names, "null")}
    kernels = [
        kernel_of_choices(column) if kind == "choice" and key == "null" else
        kernel_of_numbers(np.array(column, float))
        for key, column in columns.items()
    ]  # fmt: skip
    clear = effects(kernels, np.array([t.value for t in judged]))
    return {key: effect.is_clear for key, effect in zip(columns, clear, strict=True)}


def lines(arguments: argparse.Namespace) -> Iterator[str]:
    """One line per objective, sampler and size."""
    with ProcessPoolExecutor(arguments.processes, initializer=_quiet) as pool:
        for trials in arguments.sizes:
            for name in arguments.objective:
                for sampler in arguments.samplers:
                    run = partial(simulate, name, sampler, trials)
                    done = list(pool.map(run, range(arguments.studies)))
                    share = {key: np.mean([d[key] for d in done]) for key in done[0]}
                    matter = ", ".join(f"{key} {share[key]:.0%}" for key in OBJECTIVES[name][0])
                    never = f"never read {share['null']:.1%}"
                    yield f"{trials:4} trials  {sampler:7} {name:12} {never:18} {matter}"


def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--objective", nargs="+", choices=OBJECTIVES, default=list(OBJECTIVES))
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=SAMPLERS)
    parser.add_argument("--processes", type=int, default=None)
    for line in lines(parser.parse_args()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
