"""How trials were proposed: what the search says of its draws, and what is stored of that."""

import json
import math

import pytest
from optuna.trial import TrialState

from tests.unit.test_proposer import GRID, XY, bowl, proposer, trial
from tuner.origin import Origin, OriginKind
from tuner.search.history import History
from tuner.study_file.origins import describe

TOO_FEW = "the model needs 5 trials to learn from and had {}"


def origins(sampler: str, trials: int) -> list[Origin]:
    """The origins of trials that are trained one after another, of which the model needs five."""
    history = History(1)
    proposes = proposer(XY, sampler, history=history)
    drawn = []
    for number in range(trials):
        proposal = proposes.propose(number)
        drawn.append(proposal.origin)
        history.put(trial(proposes, number, proposal.params, bowl(proposal.params)))
    return drawn


def test_tpe_says_how_many_trials_it_has_learned_from() -> None:
    assert origins("tpe", 7) == [
        *(
            Origin(kind="random", sampler="tpe", reason=TOO_FEW.format(number))
            for number in range(5)
        ),
        Origin(kind="model", sampler="tpe", learned_from=5),
        Origin(kind="model", sampler="tpe", learned_from=6),
    ]


def test_the_gaussian_process_starts_with_quasi_random_points() -> None:
    drawn = origins("gp", 7)

    assert drawn[:5] == [
        Origin(kind="quasi-random", sampler="gp", reason=TOO_FEW.format(number))
        for number in range(5)
    ]
    assert [(each.kind, each.sampler, each.learned_from) for each in drawn[5:]] == [
        ("model", "gp", 5),
        ("model", "gp", 6),
    ]


@pytest.mark.parametrize(
    ("sampler", "kind"), [("random", OriginKind.RANDOM), ("qmc", OriginKind.QUASI_RANDOM)]
)
def test_samplers_that_do_not_learn_need_no_reason(sampler: str, kind: OriginKind) -> None:
    assert origins(sampler, 2) == [Origin(kind=kind, sampler=sampler)] * 2


def test_what_is_left_open_of_an_enqueued_trial_is_drawn() -> None:
    proposes = proposer(XY, "random")

    assert proposes.propose(0, {"x": 1.0, "y": 2.0}).origin == Origin(kind="enqueued")
    assert proposes.propose(0, {"x": 1.0}).origin == Origin(kind="enqueued", sampler="random")


def test_the_rest_of_a_small_space_says_why_it_is_drawn_at_random() -> None:
    history = History(1)
    proposes = proposer(GRID, "random", history=history)
    for number in range(64):
        proposal = proposes.propose(number)
        history.put(trial(proposes, number, proposal.params, None, TrialState.RUNNING))

    assert proposal.origin == Origin(
        kind="random", sampler="random", reason="the first draws were forbidden or tried before"
    )


@pytest.mark.parametrize(
    ("origin", "phrase"),
    [
        (Origin(kind="random", sampler="random"), "random draw"),
        (
            Origin(kind="quasi-random", sampler="gp", reason=TOO_FEW.format(3)),
            "quasi-random draw: the model needs 5 trials to learn from and had 3",
        ),
        (Origin(kind="model", sampler="tpe", learned_from=1), "TPE, from 1 trial"),
        (
            Origin(
                kind="model",
                sampler="gp",
                learned_from=64,
                thompson=True,
                predicted=0.91237,
                gain=0.00041,
            ),
            "Gaussian process, from 64 trials, by Thompson sampling; predicted 0.9124, "
            "expected gain 0.00041",
        ),
        (Origin(kind="model", sampler="pkg.module:Sampler"), "pkg.module:Sampler"),
        (Origin(kind="model"), "a model"),
        (Origin(kind="grid", sampler="grid"), "next configuration of the grid"),
        (Origin(kind="imported"), "imported from Optuna"),
        (Origin(kind="enqueued"), "enqueued"),
        (
            Origin(kind="enqueued", sampler="tpe", learned_from=12),
            "enqueued; what it left open was drawn by TPE, from 12 trials",
        ),
        (Origin(kind="default"), "default configuration"),
        (Origin(kind="repeated", study="digits", trial=7), "repetition of trial 7 of digits"),
        (Origin(kind="repeated", trial=7), "repetition of trial 7"),
        (Origin(kind="portfolio", study="digits", trial=7), "portfolio: trial 7 of digits"),
        (Origin(kind="oracle", reason="it spoke"), "oracle: it spoke"),
    ],
)
def test_an_origin_is_described_in_a_phrase(origin: Origin, phrase: str) -> None:
    assert describe(origin) == phrase


def test_an_origin_is_read_as_it_was_stored() -> None:
    origin = Origin(
        kind=OriginKind.PORTFOLIO,
        sampler="gp",
        reason="why",
        learned_from=12,
        predicted=0.5,
        gain=0.25,
        thompson=True,
        study="earlier",
        trial=7,
    )

    assert Origin.from_json(json.loads(json.dumps(origin.as_json()))) == origin
    assert Origin(kind="random").as_json() == {"kind": "random"}


def test_what_is_not_finite_is_not_known() -> None:
    origin = Origin(kind="model", predicted=math.nan, gain=math.inf)

    assert origin.as_json() == {"kind": "model"}


def test_what_a_later_version_stores_survives() -> None:
    stored = {"kind": "oracle", "sampler": "delphi", "gain": "much", "smoke": [1, {"a": None}]}

    origin = Origin.from_json(stored)

    assert origin == Origin(kind="oracle", sampler="delphi", more={"smoke": [1, {"a": None}]})
    assert origin.as_json() == {"kind": "oracle", "sampler": "delphi", "smoke": [1, {"a": None}]}


@pytest.mark.parametrize("stored", [None, {}, {"kind": None}, {"sampler": "tpe"}])
def test_a_trial_without_an_origin_has_none(stored: dict[str, str | None] | None) -> None:
    assert Origin.from_json(stored) is None
