"""Single values changed in the text of a study file."""

import pytest

from tuner.errors import SpecError
from tuner.study_file.edit import edited
from tuner.study_file.overrides import parse_configuration

TEXT = """\
# why: the old one overfits
name: a  # short
family: cnn
data: digits
search:
  dropout: 0.5   # pinned
"""


def test_comments_and_order_stay() -> None:
    text = edited(TEXT, ("budget", "trials"), 7)
    assert text == TEXT + "budget:\n  trials: 7\n"
    assert edited(text, ("budget", "trials"), 9) == TEXT + "budget:\n  trials: 9\n"


def test_what_is_emptied_goes_with_its_section() -> None:
    text = edited(edited(TEXT, ("budget", "trials"), 7), ("budget", "trials"), None)
    assert text == TEXT
    assert "search" not in edited(TEXT, ("search", "dropout"), None)
    assert edited(TEXT, ("pruner", "name"), None) == TEXT


def test_a_shorthand_is_written_out_before_a_key_inside_it_is_set() -> None:
    text = edited(TEXT, ("data", "path"), "x.csv")
    assert "data:\n  source: digits\n  path: x.csv\n" in text
    freed = edited(TEXT, ("search", "dropout", "low"), 0.1)
    assert "low: 0.1" in freed
    assert "value" not in freed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x 1\nb: *x\n", "anchors and aliases"),
        ("a: !!python/object:os.system x\n", "tags"),
        ("a: [", "is not valid YAML"),
        ("- a\n", "must consist of"),
        ("x" * 300_000, "larger than any"),
    ],
)
def test_what_is_no_study_file_is_not_edited(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        edited(text, ("name",), "b")


def test_a_configuration_is_read_from_lines() -> None:
    assert parse_configuration("lr: 1.0e-3\noptimizer: sgd\nflip: false\n") == {
        "lr": 0.001,
        "optimizer": "sgd",
        "flip": False,
    }
    with pytest.raises(SpecError, match="`lr`: must be a single value, is a list"):
        parse_configuration("lr: [1]")
    with pytest.raises(SpecError, match="must be lines"):
        parse_configuration("just words")
