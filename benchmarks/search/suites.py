"""What is measured: suites of studies, and the goals that tuner's searches are to meet.

A goal compares tuner's default with a peer. Constants of the search may be tuned on the tables of
`tables.TUNING`; the other tables judge it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.search import tables
from benchmarks.search.study import HORIZON, TRIALS, Mode, Study

Measure = Literal[
    "time to 1 %", "time to 0.1 %", "trials to 1 %", "equivalents at 80", "hypervolume at 100"
]

DEFAULT = "tuner auto + rungs"
DEFAULT_FULL = "tuner auto"
DEFAULT_TWO = "tuner auto, two objectives"
RANDOM = "tuner random + rungs"

# model-based peers that take seconds per trial get less simulated time
SLOW = {"Syne Tune MOBSTER": 1.0, "Syne Tune HyperTune": 1.0}


@dataclass(frozen=True)
class Goal:
    """The default is to be so many times as good as a peer.

    Args:
        peer: Name of a method.
        measure: What is compared: the peer's time or trials by the default's, or the default's
            equivalents or hypervolume by the peer's.
        factor: The goal.
        workers: For which it holds; any, if it is empty.

    """

    peer: str
    measure: Measure
    factor: float
    workers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Suite:
    """Studies of several methods on several tables, and the goals.

    Args:
        title: For people.
        mode: Of the studies.
        tables: On which methods are judged together.
        default: The method of tuner that goals are about.
        methods: All.
        workers: At the same time.
        goals: Of the default.
        by_table: Whether goals hold for each table by itself.
        trials: Finished ones, without curves.

    """

    title: str
    mode: Mode
    tables: tuple[str, ...]
    default: str
    methods: tuple[str, ...]
    workers: tuple[int, ...]
    goals: tuple[Goal, ...]
    by_table: bool = False
    trials: int = TRIALS

    def studies(self, seeds: int, workers: int) -> Iterator[Study]:
        """All studies at so many workers, seed by seed."""
        for seed in range(seeds):
            for table in self.tables:
                for method in self.methods:
                    horizon = SLOW.get(method, HORIZON) if self.mode == "curves" else 0.0
                    trials = 0 if self.mode == "curves" else self.trials
                    yield Study(self.mode, method, table, seed, workers, horizon, trials)

    def narrowed(
        self,
        *,
        tables: tuple[str, ...] = (),
        methods: tuple[str, ...] = (),
        workers: tuple[int, ...] = (),
    ) -> "Suite":
        """The same with other tables, methods or workers, where there are any."""
        return replace(
            self,
            tables=tables or self.tables,
            methods=methods or self.methods,
            workers=workers or self.workers,
        )


JUDGED = tuple(name for name in tables.CURVES if name not in tables.TUNING)
FAST_PEERS = (
    *("Optuna TPE", "Optuna TPE + Hyperband"),
    *("Syne Tune ASHA, promotion", "Syne Tune ASHA, stopping"),
)
SLOW_PEERS = ("Syne Tune BOHB", "Syne Tune MOBSTER", "Syne Tune HyperTune")
NO_CURVES = ("phoneme", "vehicle", "kc1", "segment", "slice_localization", "protein_structure")
WARM_TABLES = ("phoneme", "vehicle", "kc1", "segment", "cifar10", "cifar100", "imagenet")

_NEVER_WORSE = (Goal(RANDOM, "time to 1 %", 0.9),)
_CURVES_GOALS = (
    Goal("Optuna TPE", "time to 1 %", 5.0),
    Goal("Optuna TPE", "time to 0.1 %", 5.0),
    Goal("Optuna TPE + Hyperband", "time to 1 %", 3.0),
    Goal("Optuna TPE + Hyperband", "time to 0.1 %", 4.0),
    Goal("Syne Tune ASHA, promotion", "time to 1 %", 3.0),
    Goal("Syne Tune ASHA, promotion", "time to 0.1 %", 4.0),
)

SUITES: dict[str, Suite] = {
    "curves": Suite(
        "With learning curves",
        "curves",
        JUDGED,
        DEFAULT,
        (DEFAULT, RANDOM, "tuner tpe + rungs", *FAST_PEERS),
        (16,),
        _CURVES_GOALS,
    ),
    "tuning": Suite(
        "With learning curves, on the tables that constants were tuned on",
        "curves",
        tables.TUNING,
        DEFAULT,
        (DEFAULT, RANDOM, "tuner tpe + rungs", *FAST_PEERS),
        (16,),
        _CURVES_GOALS,
    ),
    "models": Suite(
        "With learning curves, against searches by models",
        "curves",
        JUDGED,
        DEFAULT,
        (DEFAULT, *SLOW_PEERS),
        (16,),
        tuple(
            Goal(peer, measure, 1.5)
            for peer in SLOW_PEERS
            for measure in ("time to 1 %", "time to 0.1 %")
        ),
    ),
    "workers": Suite(
        "With learning curves, at other numbers of workers",
        "curves",
        JUDGED,
        DEFAULT,
        (DEFAULT, RANDOM, "tuner tpe + rungs"),
        (1, 4, 64),
        (Goal("tuner tpe + rungs", "time to 1 %", 2.5),),
    ),
    "pending": Suite(
        "Without curves, many evaluations pending",
        "trials",
        NO_CURVES,
        DEFAULT_FULL,
        (DEFAULT_FULL, "tuner tpe", "tuner random", "Optuna TPE", "Optuna GP"),
        (16, 64),
        (
            Goal("Optuna TPE", "equivalents at 80", 8.0, (16,)),
            Goal("Optuna TPE", "equivalents at 80", 3.0, (64,)),
        ),
        trials=80,
    ),
    "conditional": Suite(
        "A conditional space, without curves",
        "trials",
        tables.CONDITIONAL_TABLES,
        "tuner gp",  # `auto` may choose it there once it is shown to win
        ("tuner gp", "tuner tpe", "tuner random", "Optuna TPE", "Optuna TPE, group"),
        (16,),
        (
            Goal("Optuna TPE, group", "time to 1 %", 1.5),
            Goal("Optuna TPE, group", "equivalents at 80", 1.5),
        ),
    ),
    "two objectives": Suite(
        "Two objectives",
        "trials",
        (
            *("cifar10", "cifar100", "imagenet", "slice_localization", "protein_structure"),
            *("estimators on digits", "mnist"),
        ),
        DEFAULT_TWO,
        (
            DEFAULT_TWO,
            "tuner tpe, two objectives",
            "Optuna TPE, two objectives",
            "Optuna NSGA-II, two objectives",
            "Optuna random, two objectives",
        ),
        (16,),
        (
            Goal("Optuna NSGA-II, two objectives", "hypervolume at 100", 1.0),
            Goal("Optuna TPE, two objectives", "hypervolume at 100", 1.0),
        ),
        by_table=True,
    ),
    "related history": Suite(
        "Warm start from related studies",
        "trials",
        WARM_TABLES,
        "tuner auto, related history",
        ("tuner auto, related history", DEFAULT_FULL),
        (16,),
        (Goal(DEFAULT_FULL, "trials to 1 %", 2.0),),
        trials=80,
    ),
    "inverted history": Suite(
        "Warm start from misleading studies",
        "trials",
        WARM_TABLES,
        "tuner auto, inverted history",
        ("tuner auto, inverted history", DEFAULT_FULL),
        (16,),
        (Goal(DEFAULT_FULL, "trials to 1 %", 0.9), Goal(DEFAULT_FULL, "equivalents at 80", 0.9)),
        trials=80,
    ),
    "noise": Suite(
        "Noise",
        "curves",
        tables.NOISY,
        DEFAULT,
        (DEFAULT, RANDOM, "tuner tpe + rungs", *FAST_PEERS),
        (16,),
        _NEVER_WORSE,
    ),
    "adversarial": Suite(
        "Adversarial tables",
        "curves",
        tables.ADVERSARIAL,
        DEFAULT,
        (DEFAULT, RANDOM),
        (16,),
        _NEVER_WORSE,
        by_table=True,
    ),
    "each": Suite(
        "Every real table by itself",
        "curves",
        (*tables.CURVES, *tables.NOISY),
        DEFAULT,
        (DEFAULT, RANDOM),
        (16,),
        _NEVER_WORSE,
        by_table=True,
    ),
}
