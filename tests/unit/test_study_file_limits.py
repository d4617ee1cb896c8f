"""What a family's parameter can be at all: the mistake is told at the launch, with its line."""

import pytest

from tuner.errors import SpecError
from tuner.families import registry, resolve
from tuner.study_file.limits import outside
from tuner.study_file.load import loads

DATA = {"images": "digits", "text": "{path: a.csv}", "corpus": "lee", "pairs": "cmudict"}


def refusal(family: str, search: str) -> str:
    data = DATA[registry.card(family).data[0]]
    with pytest.raises(SpecError) as caught:
        resolve(loads(f"name: x\nfamily: {family}\ndata: {data}\nsearch:\n  {search}\n"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("family", "search", "expected"),
    [
        ("cnn", "dropout: 1.5", "dropout: must be at least 0 and below 1, is `1.5`"),
        ("cnn", "dropout: {high: 1}", "dropout.high: must be at least 0 and below 1, is `1`"),
        ("cnn", "dropout: [0.1, -0.1]", "dropout[1]: must be at least 0 and below 1, is `-0.1`"),
        ("cnn", "learning_rate: 0", "learning_rate: must be above 0, is `0`"),
        ("cnn", "weight_decay: -1e-3", "weight_decay: must be at least 0, is `-0.001`"),
        ("rnn", "hidden: 0", "hidden: must be at least 1, is `0`"),
        ("seq2seq", "teacher_forcing: 2", "must be at least 0 and at most 1, is `2`"),
        ("seq2seq", "beam: 0", "beam: must be at least 1, is `0`"),
        ("pretrained", "layer_decay: 0", "layer_decay: must be above 0 and at most 1, is `0`"),
        ("word2vec", "batch_words: 20000", "must be at least 1 and at most 10000, is `20000`"),
        ("word2vec", "alpha: 3", "alpha: must be above 0 and at most 1, is `3`"),
    ],
)
def test_impossible_values_are_refused(family: str, search: str, expected: str) -> None:
    assert refusal(family, search).startswith("study:5: search.")
    assert expected in refusal(family, search)


def test_a_card_has_limits_of_its_own() -> None:
    text = "name: x\nfamily: tfidf\ndata: {path: a.csv}\nsearch: {hidden: 0}\n"
    assert resolve(loads(text)).space.parameters["hidden"].structural


def test_a_card_knows_choices_that_it_does_not_search() -> None:
    assert "1-1" not in registry.card("tfidf").search["word_ngrams"].choices
    text = "name: x\nfamily: tfidf\ndata: {path: a.csv}\nsearch: {word_ngrams: [1-1, 1-2]}\n"
    assert resolve(loads(text)).space.parameters["word_ngrams"].choices == ("1-1", "1-2")
    said = refusal("tfidf", "word_ngrams: 1-4")
    assert "word_ngrams: must be one of 1-2, 1-3, 1-1; is the text `1-4`" in said


def test_user_code_knows_best() -> None:
    text = (
        "name: x\nfamily: function\nfunction: a:b\nsearch: {dropout: 1.5}\n"
        "objective: {metric: accuracy}\n"
    )
    assert resolve(loads(text)).space.complete({}) == {"dropout": 1.5}


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_the_default_spaces_are_within(name: str) -> None:
    card = registry.card(name)
    for parameter, space in (*card.search.items(), *card.search_with_vectors.items()):
        if parameter in card.hard_limits:
            assert not list(outside(space, card.hard_limits[parameter]))


@pytest.mark.parametrize(
    "name", [n for n in registry.BUILT_IN if not registry.card(n).is_user_code]
)
def test_every_number_has_a_limit(name: str) -> None:
    card = registry.card(name)
    numbers = {
        parameter
        for parameter, space in card.search.items()
        if any(map(_is_size, getattr(space, "choices", ()))) or hasattr(space, "low")
    }
    assert numbers - card.hard_limits.keys() <= {"sg", "hs", "ns_exponent"}


def _is_size(choice: object) -> bool:
    return isinstance(choice, int | float) and not isinstance(choice, bool)
