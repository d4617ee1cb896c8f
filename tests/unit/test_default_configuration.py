"""The configuration that studies of some families begin with."""

import pytest

from tuner import families
from tuner.families import registry
from tuner.families.card import Card
from tuner.study_file.load import loads

HEAD = "name: x\nfamily: seq2seq\ndata: {source: cmudict, examples: 300}\nbudget: {trials: 3}\n"
CARD = registry.card("seq2seq").first


def first(rest: str) -> dict[str, object]:
    return dict(families.default_configuration(families.resolve(loads(HEAD + rest))))


@pytest.mark.parametrize("name", ["seq2seq", "pretrained"])
def test_it_names_all_that_is_searched_by_default(name: str) -> None:
    card = registry.card(name)
    searched = {n for n, p in card.search.items() if p.type != "fixed"}
    active = {n for n in searched if card.space.is_active(n, card.first)}
    assert set(card.first) == active


@pytest.mark.parametrize("rest", ["", "sampler: gp\n", "seed: 7\n"])
def test_it_comes_first(rest: str) -> None:
    assert first(rest) == CARD
    assert CARD["cell"] == "lstm"


@pytest.mark.parametrize(
    "rest",
    [
        "sampler: random\n",
        "sampler: qmc\n",
        "sampler: {default_first: false}\n",
        "enqueue: [{hidden: 256}, {hidden: 384}, {dropout: 0.1}]\n",  # as many as trials
        f"forbidden: [{{cell: lstm, hidden: {CARD['hidden']}}}]\n",
    ],
)
def test_it_does_not(rest: str) -> None:
    assert first(rest) == {}


def test_what_a_study_does_not_search_is_left_to_it() -> None:
    configuration = first(
        "search: {hidden: [32, 64], layers: 2, learning_rate: {low: 0.01, high: 0.1}}\n"
    )
    assert configuration == {
        n: v for n, v in CARD.items() if n not in ("hidden", "layers", "learning_rate")
    }


def test_parameters_go_with_those_that_they_depend_on() -> None:
    study = "name: x\nfamily: pretrained\ndata: {path: x.csv}\nbudget: {trials: 3}\n"
    frozen = "search: {checkpoint: ./m, fine_tuning: [frozen, lora]}\n"
    configuration = families.default_configuration(families.resolve(loads(study + frozen)))
    assert not {"fine_tuning", "encoder_learning_rate", "layer_decay"} & set(configuration)
    assert configuration["optimizer"] == "adamw"
    assert configuration["weight_decay"] == registry.card("pretrained").first["weight_decay"]
    pinned = "search: {checkpoint: ./m, optimizer: adam}\n"
    configuration = families.default_configuration(families.resolve(loads(study + pinned)))
    assert "weight_decay" not in configuration


@pytest.mark.parametrize(
    "wrong", [{"cell": "tanh"}, {"dropout": 2.0}, {"attention": "bahdanau"}, {"nothing": 1}]
)
def test_a_card_cannot_begin_outside_of_its_space(wrong: dict[str, object]) -> None:
    card = registry.card("seq2seq").model_dump(mode="json")
    with pytest.raises(ValueError, match="`first` must be a configuration of `search`"):
        Card.model_validate({**card, "first": {**card["first"], **wrong}})
