"""The words that parameters become, judged by the parsers that programs use."""

import argparse
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tuner.errors import SpecError
from tuner.families import resolve
from tuner.study_file.arguments import argument_list
from tuner.study_file.code import Code
from tuner.study_file.load import loads
from tuner.study_file.resolved import ResolvedSpec, differences
from tuner.trials import ParamValue

HEAD = "name: x\nfamily: command\nobjective: {metric: m, direction: minimize}\n"
PARAMS: dict[str, ParamValue] = {
    "amp": True,
    "bias": False,
    "clip": None,
    "shift": -0.5,
    "mark": "-x y",
    "tag": "",
    "weight_decay": 1e-05,
}


def parse_with_argparse(words: list[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--amp", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--bias", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--clip", type=float)
    parser.add_argument("--shift", type=float)
    parser.add_argument("--mark")
    parser.add_argument("--tag")
    parser.add_argument("--weight_decay", "--weight-decay", type=float)
    return vars(parser.parse_args(words))


def parse_with_click(words: list[str]) -> dict[str, Any]:
    parsed: dict[str, Any] = {}

    @click.command()
    @click.option("--amp/--no-amp", default=False)
    @click.option("--bias/--no-bias", default=True)
    @click.option("--clip", type=float)
    @click.option("--shift", type=float)
    @click.option("--mark")
    @click.option("--tag")
    @click.option("--weight_decay", "--weight-decay", type=float)
    def main(**options: Any) -> None:
        parsed.update(options)

    CliRunner().invoke(main, words, catch_exceptions=False)
    return parsed


@pytest.mark.parametrize("parse", [parse_with_argparse, parse_with_click])
@pytest.mark.parametrize("form", ["no", "no,dashes"])
def test_every_value_arrives(parse: Any, form: str) -> None:
    words = argument_list((f"{{arguments:{form}}}",), PARAMS)
    assert parse(words) == PARAMS
    without = argument_list(("{arguments}",), PARAMS)
    assert parse(without) == {**PARAMS, "bias": True}  # the program's own default


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("{arguments}", ["--amp", "--shift=-0.5", "--mark=-x y", "--tag=", "--weight_decay=1e-05"]),
        ("{arguments:options}", argument_list(("{arguments}",), PARAMS)),
        ("{amp:options}", ["--amp"]),
        ("{bias:options}", []),
        ("{bias:no}", ["--no-bias"]),
        ("{clip:no}", []),
        ("{weight_decay:dashes}", ["--weight-decay=1e-05"]),
        ("{weight_decay:separate}", ["--weight_decay", "1e-05"]),
        ("{weight_decay:dashes,separate}", ["--weight-decay", "1e-05"]),
        ("{bias:separate}", ["--bias", "false"]),
        ("{clip:hydra}", ["clip=null"]),
        ("{inactive:options}", []),
        ("{inactive:hydra}", []),
        ("{inactive:split}", []),
        ("{clip:split}", []),
        ("{clip}{inactive}{{}}", ["null{}"]),
    ],
)
def test_forms(word: str, words: list[str]) -> None:
    assert argument_list((word,), PARAMS) == words


def test_lists_are_several_words() -> None:
    """A list is a text with blanks; argparse takes the words after an option, click repeats it."""
    params: dict[str, ParamValue] = {"layers": "64 32", "lr": 0.1}
    for_argparse = argument_list(("{arguments}", "--layers", "{layers:split}"), params)
    assert for_argparse == ["--lr=0.1", "--layers", "64", "32"]
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    parser.add_argument("--layers", type=int, nargs="+")
    assert vars(parser.parse_args(for_argparse)) == {"lr": 0.1, "layers": [64, 32]}

    for_click = argument_list(("--layers={layers:split}@{lr}", "{lr}"), params)
    assert for_click == ["--layers=64@0.1", "--layers=32@0.1", "0.1"]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (True, "x=true"),
        (None, "x=null"),
        (1e-05, "x=1e-05"),
        ("adam", "x=adam"),
        ("data/a-b.csv", "x=data/a-b.csv"),
        ("true", "x='true'"),
        ("3", "x='3'"),
        ("", "x=''"),
        ("a, [b]", "x='a, [b]'"),
        ("it's", r"x='it\'s'"),
        ("${a}", r"x='\${a}'"),
        ("a\\b\\", r"x='a\b\\'"),
    ],
)
def test_hydra_reads_text_as_text(value: ParamValue, word: str) -> None:
    assert argument_list(("{arguments:hydra}",), {"x": value}) == [word]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("{lr:optoins}", "`{lr:optoins}`: there is no form `optoins`; did you mean `options`?"),
        ("{lr:}", "there is no form ``; forms are options, no, separate, hydra, dashes, split"),
        ("{arguments:split}", "`{arguments:split}`: only a single parameter can be split"),
        ("{arguments:no,hydra}", "no, hydra cannot be combined; only `dashes` goes with another"),
        ("{arguments:hydra,dashes}", "hydra, dashes cannot be combined"),
        ("x{arguments:no}", "`{arguments:no}` must be a word by itself"),
        ("--a={lr:options}", "`{lr:options}` must be a word by itself"),
        ("{lr:split}{lr:split}", "there are 2 values to split in `{lr:split}{lr:split}`"),
        ("{lrr:no}", "there is no parameter `lrr`; did you mean `lr`?"),
    ],
)
def test_sentences_about_forms(word: str, sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolve(loads(f"{HEAD}search: {{lr: {{low: 0, high: 1}}}}\ncommand: [a, '{word}']\n"))
    assert "command[1]: " in str(caught.value)
    assert sentence in str(caught.value)


def test_studies_of_an_older_tuner_keep_their_form() -> None:
    """Their `{arguments}` was `--name value` with true, false and null written out."""
    text = f"{HEAD}search: {{lr: {{low: 0, high: 1}}}}\ncommand: [a, '{{arguments}}']\n"
    spec = resolve(loads(text))
    assert spec.code is not None
    assert argument_list(spec.code.command or (), PARAMS) == [
        "a", *argument_list(("{arguments:options}",), PARAMS),
    ]  # fmt: skip
    stored = spec.as_json()
    assert ResolvedSpec.from_json(stored) == spec
    stored["code"]["command"] = ["a", "{arguments}"]
    older = ResolvedSpec.from_json(stored)
    assert older.code is not None
    assert argument_list(older.code.command or (), {"amp": True, "clip": None}) == [
        "a", "--amp", "true", "--clip", "null",
    ]  # fmt: skip
    # the same file goes on with it, another command does not
    assert differences(older, spec) != []
    assert spec.code.in_form_of(older.code) == older.code
    other = Code(folder=spec.code.folder, command=("b", "{arguments:options}"))
    assert other.in_form_of(older.code) == other
