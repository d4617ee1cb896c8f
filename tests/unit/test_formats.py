"""A configuration in other forms is read by those who know them as what it is."""

import json
import shlex
import tomllib
from typing import Any

import optuna
import pytest
import yaml

from tuner.export import FORMATS, yaml_text
from tuner.study_file.values import Value

PARAMS: dict[str, Any] = {
    "learning_rate": 1e-05,
    "batch_size": 64,
    "optimizer": "adamw",
    "nesterov": True,
    "clip_norm": 0.0,
    "schedule": "constant",
    "warmup": 0.1,
    "odd.name": 'a "quote", a\ttab, ${braces} \x7f',
    "weight_decay": 3e20,
}


def written(form: str, params: dict[str, Value] | None = None) -> str:
    return FORMATS[form][1](params or PARAMS)


def test_json_and_toml() -> None:
    assert json.loads(written("json")) == PARAMS
    assert tomllib.loads(written("toml")) == PARAMS
    assert tomllib.loads(written("toml", {"a": None, "b": 1})) == {"b": 1}


def test_python() -> None:
    space: dict[str, Any] = {}
    exec(written("python"), space)
    assert space["PARAMS"] == PARAMS


def test_flags_are_words_of_a_shell() -> None:
    words = shlex.split(written("flags"))
    assert words[0] == "--learning_rate=1e-05"
    assert words[3] == "--nesterov"
    assert f"--odd.name={PARAMS['odd.name']}" in words
    assert written("flags", {"amp": False, "clip": None, "b": 1}) == "--b=1\n"


def test_hydra_is_yaml_without_interpolations() -> None:
    text = written("hydra")
    assert text.startswith("# @package _global_\n")
    found = yaml.safe_load(text)
    assert found.pop("odd.name") == PARAMS["odd.name"].replace("${", "\\${")
    assert found == {k: v for k, v in PARAMS.items() if k != "odd.name"}


def test_optuna_tries_it_next() -> None:
    space: dict[str, Any] = {}
    exec(written("optuna"), space)
    study = optuna.create_study()
    space["enqueue"](study)
    assert study.ask().suggest_float("learning_rate", 1e-6, 1e-1, log=True) == 1e-05


def test_transformers_knows_the_arguments() -> None:
    space: dict[str, Any] = {}
    exec(written("transformers"), space)
    arguments = space["arguments"]
    assert arguments.learning_rate == 1e-05
    assert arguments.per_device_train_batch_size == 64
    assert arguments.optim == "adamw_torch"
    assert arguments.lr_scheduler_type == "constant_with_warmup"
    assert arguments.get_warmup_steps(50) == 5
    assert "# nesterov=True" in written("transformers")


def test_yaml_of_both_versions() -> None:
    assert yaml.safe_load(yaml_text(PARAMS)) == PARAMS


@pytest.mark.parametrize("name", FORMATS)
def test_every_form_has_a_file_of_its_own(name: str) -> None:
    assert [file for file, _ in FORMATS.values()].count(FORMATS[name][0]) == 1
