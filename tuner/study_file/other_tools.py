"""Keys and values of other tools' study files, and what to write here instead.

Covers sweeps of Weights & Biases, Ray Tune, Katib and Keras Tuner, and classes of Optuna.
"""

import re
from collections.abc import Mapping
from typing import Any

Loc = tuple[str | int, ...]

_STUDY: Mapping[str, str] = {
    "method": "write `sampler: auto`, `tpe`, `gp`, `random` or `grid`",
    "algorithm": "write `sampler: auto`, `tpe`, `gp`, `random` or `grid`",
    **dict.fromkeys(
        ("parameters", "params", "space", "search_space", "hyperparameters"),
        "parameters belong in `search`",
    ),
    **dict.fromkeys(
        ("learning_rate", "lr", "batch_size", "optimizer", "weight_decay", "dropout"),
        "parameters belong in `search`",
    ),
    "metric": "write `objective: {metric: …, direction: …}`",
    "goal": "write `objective: {direction: maximize}` or `minimize`",
    "mode": "write `objective: {direction: maximize}` or `minimize`",
    "early_terminate": "write `pruner`",
    "scheduler": "write `pruner`",
    "program": "write `family: command` and `command`",
    "run_cap": "write `budget: {trials: …}`",
    "num_samples": "write `budget: {trials: …}`",
    "maxTrialCount": "write `budget: {trials: …}`",
    "parallelTrialCount": "write `resources: {max_concurrent: …}`",
}
_OBJECTIVE: Mapping[str, str] = {
    **dict.fromkeys(("goal", "type", "mode"), "write `direction: maximize` or `minimize`"),
    **dict.fromkeys(("name", "objectiveMetricName"), "write `metric`"),
}
_PARAMETER: Mapping[str, str] = {
    **dict.fromkeys(("values", "categories", "list"), "write the list alone, or as `choices`"),
    **dict.fromkeys(("min", "lower"), "write `low`"),
    **dict.fromkeys(("max", "upper"), "write `high`"),
    "q": "write `step`",
    "parameterType": "write `type: float`, `int` or `categorical`, or leave it out",
    "feasibleSpace": "write `low` and `high`, or `choices`, without a section around them",
    **dict.fromkeys(
        ("mu", "mean", "sigma", "sd"),
        "normal distributions are not searched: write `low` and `high`",
    ),
}

_CHOICES: Mapping[str, Mapping[str, str]] = {
    "sampler": {
        "bayes": "`tpe` and `gp` are Bayesian",
        "bayesian": "`tpe` and `gp` are Bayesian",
        "gridsearch": "`grid` tries every combination",
        "nsgaii": "`nsga2` is NSGA-II",
        "nsgaiii": "`nsga3` is NSGA-III",
        "cma-es": "`cmaes` is CMA-ES",
        "sobol": "`qmc` draws Sobol points",
    },
    "pruner": dict.fromkeys(
        ("asha", "halving", "successive_halving", "sha"),
        "`rungs` is asynchronous successive halving",
    ),
}


def choice(loc: Loc, value: Any) -> str | None:
    """Return what to choose instead of another tool's value; None for any other value."""
    if len(loc) == 3 and loc[0] == "search" and loc[2] == "type":
        is_distribution = any(word in str(value) for word in ("uniform", "log", "choice"))
        return _distribution(value) if is_distribution else None
    names = [part for part in loc if part != "name"]
    if names in (["sampler"], ["pruner"]) and (hint := _of_optuna(str(names[0]), value)):
        return hint
    return _CHOICES.get(str(names[0]), {}).get(str(value).lower()) if len(names) == 1 else None


def _of_optuna(role: str, value: Any) -> str | None:
    """Return how to write a class of Optuna, such as `TPESampler`; None for anything else."""
    if not re.fullmatch(r"([^\W\d]\w*\.)*\w+(Sampler|Pruner)", str(value)):
        return None
    module, _, name = str(value).rpartition(".")
    return f"a class is written as `{module or f'optuna.{role}s'}:{name}`"


def instead(loc: Loc, value: Any) -> str | None:
    """Return what to write instead of another tool's key at `loc`; None for any other key."""
    key = str(loc[-1])
    if len(loc) == 1:
        return _STUDY.get(key)
    if loc[0] == "objective" and len(loc) == 2:
        return _OBJECTIVE.get(key)
    if loc[0] == "search" and len(loc) == 3:
        return _distribution(value) if key == "distribution" else _PARAMETER.get(key)
    return None


def _distribution(value: Any) -> str:
    name = str(value)
    if name in ("categorical", "choice", "constant"):
        return "leave it out and write the list, or the value, alone"
    hints = ["write `low` and `high`"]
    if "log" in name:
        hints.append("`log: true`")
    if name.startswith("q"):
        hints.append("`step`")
    if "int" in name:
        hints.append("whole numbers as ends")
    return hints[0] + (f" with {' and '.join(hints[1:])}" if hints[1:] else " without it")
