"""The families that are installed, by name; imports no family's code."""

from functools import cache
from importlib.resources import files

from tuner.families.card import Card
from tuner.study_file.document import parse

NAMES = (
    "cnn",
    "text_cnn",
    "rnn",
    "transformer",
    "bow",
    "tfidf",
    "pretrained",
    "seq2seq",
    "word2vec",
    "fasttext",
    "function",
    "command",
)


@cache
def card(name: str) -> Card:
    """The card of a family; KeyError if there is none of that name."""
    if name not in NAMES:
        raise KeyError(name)
    text = files("tuner.families").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return Card.model_validate({"name": name, **parse(text).data})
