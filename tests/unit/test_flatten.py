"""A program with what it needs of tuner is one file that needs no tuner."""

import ast
from typing import Any

import pytest

from tuner.export.flatten import flattened


def test_only_what_is_used_is_taken_and_before_its_use() -> None:
    text = flattened(
        "from tuner.data.tokenizer import tokenize\nTOKENS = tokenize('Ça va', lowercase=True)\n"
    )
    space: dict[str, Any] = {}
    exec(text, space)
    assert space["TOKENS"] == ["ça", "va"]
    assert "build_vocabulary" not in space
    assert "import tuner" not in text
    assert "from tuner" not in text


def test_a_functions_own_names_are_not_those_of_the_module() -> None:
    text = flattened("from tuner.families.text_cnn import build\nprint(build)\n")
    names = {n.name for n in ast.parse(text).body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
    assert {"TextCNN", "Channels", "embedding", "build"} <= names
    assert not {"train", "PreparedData", "loop"} & names


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (
            "from tuner.data.tokenizer import nothing\nnothing()",
            "tuner.data.tokenizer defines no nothing",
        ),
        ("import tuner.trials\ntuner.trials", "only names can be taken"),
        ("from tuner.data.tokenizer import tokenize as t\nt()", "only names can be taken"),
        (
            "from tuner.training.network import predict\n"
            "from tuner.families.bundle.predict.bags import run\npredict(run)",
            "both define predict",
        ),
    ],
)
def test_what_cannot_be_taken_is_told(program: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        flattened(program)
