"""Which sampler `auto` is."""

import pytest

from tuner.families import resolve
from tuner.study_file.auto import choose, describe
from tuner.study_file.dump import dump
from tuner.study_file.load import loads
from tuner.study_file.parameters import CategoricalParameter, FloatParameter, IntParameter
from tuner.study_file.resolved import ResolvedSpec, differences
from tuner.study_file.space import Space
from tuner.study_file.study import Budget, Pruner, Sampler

X = {"x": FloatParameter(low=0, high=1)}
RANGE = Space(parameters=X)
SMALL = Space(parameters={"n": IntParameter(low=1, high=12)})
LARGER = Space(parameters={"n": IntParameter(low=1, high=31)})
TREE = Space(
    parameters={
        "kind": CategoricalParameter(choices=("a", "b")),
        "rate": FloatParameter(low=0, high=1, when={"kind": ("b",)}),
    }
)
NONE, RUNGS = Pruner(name="none"), Pruner()
FEW = "it learns the most from few trials, pruned and running ones included"


@pytest.mark.parametrize(
    ("space", "objectives", "trials", "pruner", "repeat", "choice"),
    [
        (RANGE, 1, 40, RUNGS, False, ("gp", FEW)),
        (RANGE, 1, 100_000, NONE, False, ("gp", FEW)),
        (RANGE, 1, 5, RUNGS, False, ("gp", FEW)),
        (RANGE, 2, 1_000, NONE, False, ("gp", FEW)),
        (
            RANGE, 2, 1_001, NONE, False,
            ("nsga2", "with 2 metrics, generations improve throughout 1,001 trials"),
        ),
        (RANGE, 2, 1_001, RUNGS, False, ("gp", FEW)),  # NSGA-II learns from complete trials only
        (
            SMALL, 1, 12, RUNGS, False,
            ("grid", "the space has 12 configurations, and the budget is 12 trials"),
        ),
        (SMALL, 1, 11, RUNGS, False, ("gp", FEW)),
        (LARGER, 1, 40, RUNGS, False, ("gp", FEW)),
        (SMALL, 1, 12, RUNGS, True, ("gp", FEW)),
        (TREE, 1, 40, RUNGS, False, ("gp", FEW)),
    ],
)  # fmt: skip
def test_the_first_rule_that_fits_chooses(
    space: Space,
    objectives: int,
    trials: int,
    pruner: Pruner,
    repeat: bool,
    choice: tuple[str, str],
) -> None:
    assert choice == choose(
        space, objectives=objectives, budget=Budget(trials=trials), pruner=pruner, repeat=repeat
    )


@pytest.mark.parametrize("limit", ["hours", "total_epochs", "gpu_seconds", "target", "patience"])
def test_where_a_study_may_end_early_the_best_come_first(limit: str) -> None:
    budget = Budget.model_validate({"trials": 12, limit: 100})

    assert choose(SMALL, objectives=1, budget=budget, pruner=RUNGS) == ("gp", FEW)


def study(more: str = "") -> ResolvedSpec:
    return resolve(loads(f"name: x\nfamily: cnn\ndata: digits\n{more}"))


@pytest.mark.parametrize("more", ["", "sampler: auto", "sampler: {name: auto}", "sampler: {}"])
def test_auto_is_the_default_and_is_settled_by_the_launch(more: str) -> None:
    sampler = study(more).sampler

    assert (sampler.name, sampler.startup_trials, sampler.reason) == ("gp", 10, FEW)


def test_what_the_file_says_beside_the_name_is_kept() -> None:
    sampler = study("sampler: {startup_trials: 4, default_first: false, repeat: true}").sampler

    assert (sampler.startup_trials, sampler.default_first, sampler.repeat) == (4, False, True)
    assert sampler.reason is not None


@pytest.mark.parametrize("name", ["tpe", "random", "gp", "qmc"])
def test_a_sampler_that_is_named_is_not_replaced(name: str) -> None:
    sampler = study(f"sampler: {name}").sampler

    assert (sampler.name, sampler.reason) == (name, None)


def test_a_stored_study_that_names_no_sampler_has_tpe() -> None:
    stored = study().as_json()
    stored["sampler"] = {}

    assert ResolvedSpec.from_json(stored).sampler == Sampler(name="tpe")


def test_a_choice_is_stored_with_its_reason() -> None:
    spec = study()

    assert ResolvedSpec.from_json(spec.as_json()) == spec


def test_the_file_of_a_study_names_what_was_chosen() -> None:
    assert dump(study())["sampler"] == {"name": "gp"}


def test_a_reason_is_no_difference() -> None:
    assert differences(study(), study("sampler: gp")) == []


@pytest.mark.parametrize(
    ("name", "reason", "phrase"),
    [
        ("gp", None, "Gaussian process"),
        ("gp", FEW, f"Gaussian process, chosen automatically: {FEW}"),
        ("package.module:Sampler", None, "package.module:Sampler"),
    ],
)
def test_a_choice_is_described_in_a_phrase(name: str, reason: str | None, phrase: str) -> None:
    assert describe(name, reason) == phrase
