"""The typed door: a family's declaration is checked by the type checker and when it is imported."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.support import docstrings
from tuner.errors import BadInputError
from tuner.families import code, registry
from tuner.families.code import Models, Networks, UserCode

# only what the declaration is made of: reading all of torch would take a minute
CONFIG = """
[mypy]
strict = true
follow_imports = skip
[mypy-tuner.families.code,tuner.training.network,tuner.training.cohort,tuner.trials]
follow_imports = silent
[mypy-tuner.data.prepared]
follow_imports = silent
"""
FAMILY = """
from collections.abc import Mapping

import torch
from torch import nn

from tuner.data.prepared import PartName, PreparedData
from tuner.families.code import Networks
from tuner.training.network import Batches, load_resident
from tuner.trials import ParamValue


def build(params: Mapping[str, ParamValue], data: PreparedData) -> nn.Module:
    return nn.Identity()


def load(
    params: Mapping[str, ParamValue], data: PreparedData, name: PartName, device: torch.device
) -> Batches:
    return load_resident(params, data, name, device)


def load_too_little(params: Mapping[str, ParamValue], data: PreparedData) -> Batches:
    raise NotImplementedError


"""


def check_types(folder: Path, declarations: str) -> list[str]:
    """Run the type checker on a family's module; returns its messages."""
    (folder / "mypy.ini").write_text(CONFIG)
    (folder / "toy.py").write_text(FAMILY + declarations)
    options = ["--no-error-summary", "--hide-error-codes", "--config-file", "mypy.ini"]
    process = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--cache-dir", "cache", "toy.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stderr == ""
    return [line.partition("error: ")[2] for line in process.stdout.splitlines()]


@pytest.mark.slow
def test_a_misspelled_hook_does_not_type_check(tmp_path: Path) -> None:
    misspelled, unfit = check_types(
        tmp_path,
        "RIGHT = Networks(build, load=load)\n"
        "MISSPELLED = Networks(build, laod=load)\n"
        "UNFIT = Networks(build, load=load_too_little)\n",
    )
    assert misspelled == 'Unexpected keyword argument "laod" for "Networks"'
    assert unfit.startswith('Argument "load" to "Networks" has incompatible type')


@pytest.mark.parametrize(
    ("kind", "hooks"),
    [
        (Networks, {"build": None, "laod": None}),
        (Models, {"train": None, "measure": None, "predictons": None}),
        (UserCode, {"run": None, "in_executer": True}),
    ],
)
def test_a_misspelled_hook_does_not_import(kind: Any, hooks: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{[*hooks][-1]}'"):
        kind(**hooks)


@pytest.mark.parametrize("kind", [Networks, Models, UserCode])
def test_each_hook_is_explained_and_the_example_runs(kind: Any) -> None:
    hooks = [field.name for field in fields(kind) if field.name != "_"]
    assert docstrings.entries(docstrings.sections(kind)["Args"]) == hooks
    docstrings.run_examples(kind)


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_every_family_declares_its_code(name: str) -> None:
    card = registry.card(name)
    declared: Any = code.load_user_code(card) if card.is_user_code else code.load(card)
    is_network = isinstance(declared, Networks)
    assert is_network == (not card.is_user_code and not card.vectors)
    if not is_network:
        assert isinstance(declared, UserCode if card.is_user_code else Models)


def test_a_module_without_a_declaration_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from tuner.families import function

    monkeypatch.delattr(function, "CODE")
    with pytest.raises(BadInputError) as caught:
        code.load_user_code(registry.card("function"))
    assert str(caught.value) == (
        "the family `function` declares no code: tuner.families.function must end with "
        "`CODE = UserCode(run, in_executor=…)`"
    )


def test_a_declaration_of_another_kind_is_an_error() -> None:
    with pytest.raises(BadInputError, match=r"must end with `CODE = Networks\(build\)`"):
        code.load(registry.card("command"))
