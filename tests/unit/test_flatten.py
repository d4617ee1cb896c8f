"""A program with what it needs of tuner is one file that needs no tuner."""

import ast
import sys
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import BadInputError
from tuner.export.flatten import flatten
from tuner.export.program import predict_program
from tuner.families import registry


def test_only_what_is_used_is_taken_and_before_its_use() -> None:
    text = flatten(
        "from tuner.data.tokenizer import tokenize\nTOKENS = tokenize('Ça va', lowercase=True)\n"
    ).text
    space: dict[str, Any] = {}
    exec(text, space)
    assert space["TOKENS"] == ["ça", "va"]
    assert "build_vocabulary" not in space
    assert "import tuner" not in text
    assert "from tuner" not in text


def test_a_functions_own_names_are_not_those_of_the_module() -> None:
    text = flatten("from tuner.families.text_cnn import build\nprint(build)\n").text
    names = {n.name for n in ast.parse(text).body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
    assert {"TextCNN", "Channels", "embedding", "build"} <= names
    assert not {"train", "PreparedData", "loop"} & names


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            "from tuner.data.tokenizer import nothing\nnothing()",
            "tuner.data.tokenizer defines no nothing",
        ),
        ("import tuner.trials\ntuner.trials", "only names can be imported here"),
        ("from tuner.data.tokenizer import tokenize as t\nt()", "only names can be imported here"),
        (
            "from tuner.training.network import predict\n"
            "from tuner.families.bundle.predict.bags import run\npredict(run)",
            "both define predict",
        ),
    ],
)
def test_what_cannot_be_taken_is_told(program: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        flatten(program)


PACKAGE = {
    "acme/__init__.py": "",
    "acme/ring.py": "from acme.parts import build as _\nfrom .parts import build\n",
    "acme/parts/__init__.py": "from .gates import *\nfrom .build import build\n",
    "acme/parts/build.py": "import math\n\nfrom ..scale import SCALE\n"
    "from tuner.training.schedules import factor\n\n\n"
    "def build(step):\n    return math.floor(SCALE * factor('constant', step, 10, 0.0))\n",
    "acme/parts/gates.py": "",
    "acme/scale.py": "SCALE = 3.5\n",
    "acme/whole.py": "import acme.scale\n\n\ndef build(step):\n    return acme.scale.SCALE\n",
}


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of somebody else's."""
    for name, content in PACKAGE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])


@pytest.mark.usefixtures("acme")
def test_another_package_is_taken_along_with_its_relative_imports() -> None:
    flattened = flatten(
        "import numpy\nfrom acme.ring import build\nVALUE = build(1), numpy.pi\n", ("tuner", "acme")
    )
    space: dict[str, Any] = {}
    exec(flattened.text, space)
    assert space["VALUE"][0] == 3
    assert "acme" not in flattened.text
    assert "tuner" not in flattened.text
    assert flattened.needs == ("numpy",)
    assert not [name for name in sys.modules if name.partition(".")[0] == "acme"]


@pytest.mark.usefixtures("acme")
def test_an_import_that_cannot_be_replaced_is_told_with_its_line() -> None:
    with pytest.raises(BadInputError) as caught:
        flatten("from acme.whole import build\nbuild(1)\n", ("tuner", "acme"))
    assert str(caught.value) == (
        "acme.whole, line 1: `import acme.scale`: of the packages tuner and acme only names can be "
        "imported here, each as it is (`from package.module import name`)"
    )


def test_the_first_line_of_a_program_names_what_it_needs() -> None:
    for name, needs in (
        ("cnn", "torch"),
        ("rnn", "torch and regex"),
        ("pretrained", "torch and transformers (timm for its models)"),
        ("fasttext", "torch, gensim and regex"),
    ):
        card = registry.card(name)
        assert card.predictor_module is not None
        program = predict_program(card, card.predictor_module, f"{card.module}:build")
        line = f'"""Predicts with the bundle that it lies in; needs {needs} alone.'
        assert program.splitlines()[0] == line
