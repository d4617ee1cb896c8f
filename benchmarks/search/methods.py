"""What is compared: tuner's searches and those of its peers, by name.

Peers run in an environment of their own, so that tuner depends on none of them and their versions
stay what they were measured with (`environment.py`).
"""

import importlib
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.search.simulation import Method, Table

Environment = Literal["tuner", "peers"]

PEERS = ("optuna:Optuna", "syne_tune:SyneTune")  # drivers that need the peers' environment


@dataclass(frozen=True)
class Spec:
    """How a method is made.

    Args:
        driver: Module and class under `drivers`.
        options: Of the class.
        is_full: Whether every trial runs to its end.

    """

    driver: str
    options: dict[str, Any] = field(default_factory=dict)
    is_full: bool = False

    @property
    def environment(self) -> Environment:
        return "peers" if self.driver in PEERS else "tuner"


def _tuner(sampler: Any, pruner: Any = "none", **options: Any) -> Spec:
    values = {"sampler": sampler, "pruner": pruner, **options}
    return Spec("tuner:Tuner", values, is_full=pruner == "none")


def _warm(history: str) -> Spec:
    return Spec("warm_start:WarmTuner", {"sampler": "auto", "history": history}, is_full=True)


def _optuna(sampler: str, **options: Any) -> Spec:
    values = {"sampler": sampler, **options}
    return Spec("optuna:Optuna", values, is_full=not options.get("hyperband"))


def _syne_tune(scheduler: str, **options: Any) -> Spec:
    return Spec("syne_tune:SyneTune", {"scheduler": scheduler, "options": options})


_QUIET = {"debug_log": False}
_MODEL = {
    # of the model's fits, which otherwise take most of an hour per study
    "search_options": {
        **_QUIET,
        **{"opt_nstarts": 1, "opt_maxiter": 20, "opt_skip_init_length": 100, "opt_skip_period": 10},
    }
}
_GROUP = {"multivariate": True, "group": True}

_ADAPTIVE = {"name": "rungs", "min_epochs": "auto", "reduction": "auto"}
_PROMOTION = {"name": "rungs", "resume": True}

METHODS: dict[str, Spec] = {
    "tuner auto + rungs": _tuner("auto", "rungs"),
    "tuner auto + promotion": _tuner("auto", _PROMOTION),
    "tuner auto": _tuner("auto"),
    "tuner auto, two objectives": _tuner("auto", second=True),
    "tuner gp + rungs": _tuner("gp", "rungs"),
    "tuner tpe + rungs": _tuner("tpe", "rungs"),
    "tuner random + rungs": _tuner("random", "rungs"),
    "tuner gp + promotion": _tuner("gp", _PROMOTION),
    "tuner random + promotion": _tuner("random", _PROMOTION),
    "tuner gp + curves": _tuner("gp", "curves"),
    "tuner random + curves": _tuner("random", "curves"),
    "tuner gp + adaptive rungs": _tuner("gp", _ADAPTIVE),
    "tuner random + adaptive rungs": _tuner("random", _ADAPTIVE),
    "tuner gp + hyperband": _tuner("gp", "hyperband"),
    "tuner random + hyperband": _tuner("random", "hyperband"),
    "tuner gp": _tuner("gp"),
    "tuner tpe": _tuner("tpe"),
    "tuner random": _tuner("random"),
    "tuner gp, two objectives": _tuner("gp", second=True),
    "tuner tpe, two objectives": _tuner("tpe", second=True),
    "tuner auto, related history": _warm("related"),
    "tuner auto, inverted history": _warm("inverted"),
    "Optuna TPE": _optuna("TPESampler"),
    "Optuna TPE + Hyperband": _optuna("TPESampler", hyperband=True),
    "Optuna TPE, group": _optuna("TPESampler", options=_GROUP),
    "Optuna GP": _optuna("GPSampler"),
    "Optuna random": _optuna("RandomSampler"),
    "Optuna TPE, two objectives": _optuna("TPESampler", second=True),
    "Optuna NSGA-II, two objectives": _optuna("NSGAIISampler", second=True),
    "Optuna GP, two objectives": _optuna("GPSampler", second=True),
    "Optuna random, two objectives": _optuna("RandomSampler", second=True),
    "Syne Tune ASHA, promotion": _syne_tune("ASHA", type="promotion", search_options=_QUIET),
    "Syne Tune ASHA, stopping": _syne_tune("ASHA", type="stopping", search_options=_QUIET),
    "Syne Tune MOBSTER": _syne_tune("MOBSTER", type="promotion", **_MODEL),
    "Syne Tune HyperTune": _syne_tune("HyperTune", **_MODEL),
    "Syne Tune BOHB": _syne_tune("BOHB"),
}


def make(name: str, table: Table, seed: int) -> Method:
    """Make a method, fresh for one study."""
    spec = METHODS[name]
    module, _, cls = spec.driver.partition(":")
    driver = getattr(importlib.import_module(f"benchmarks.search.drivers.{module}"), cls)
    method: Method = driver(table, seed, **spec.options)
    return method
