"""The JSON schema and the loader agree on what a study file may say."""

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tuner.commands.experiments import searchable_parameters
from tuner.errors import SpecError
from tuner.families import resolve
from tuner.study_file.document import parse
from tuner.study_file.load import load_all, loads, loads_all
from tuner.study_file.schema import study_schema

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))
VALIDATOR = Draft202012Validator(study_schema())

GOOD = [
    "",
    "budget: {trials: 3, epochs: 2, hours: 0.5, target: 0.9, patience: 4, max_failures: 2}",
    "budget: {trials: 1e3, epochs: null}",
    "objective: {metric: log_loss}",
    "objective: {metric: log_loss, direction: minimize}",
    "objective: {metric: [accuracy, latency], direction: [maximize, minimize]}",
    "objective: {metric: [accuracy]}",
    "sampler: random",
    "sampler: {name: gp, startup_trials: 0}",
    "sampler: {startup_trials: 3}",
    "pruner: none",
    "pruner: {name: median, min_epochs: 2}",
    "search:\nbudget:\nenqueue:\nforbidden:\nsampler:\npruner:\ntraining:\nresources:\nseed:\n",
    "search: {learning_rate: 0.1}",
    "search: {learning_rate: [0.1, 0.2]}",
    "search: {learning_rate: {low: 0.001}}",
    "search: {learning_rate: {low: 1, high: 2, log: false, step: null}}",
    "search: {learning_rate: {type: float, low: 0.001, high: 0.1, log: true}}",
    "search: {learning_rate: {type: fixed, value: 0.1}}",
    "search: {learning_rate: {value: 0.1}}",
    "search: {learning_rate: {choices: [0.1], type: categorical}}",
    "search: {learning_rate: {value: 0.1, low: null}}",
    "search: {learning_rate: {}}",
    "search: {optimizer: adamw, batch_norm: true}",
    "search: {dropout: {when: {optimizer: sgd, batch_norm: [true, false]}}}",
    "search: {depth: {high: 9, structural: true}}",
    "forbidden: [{optimizer: sgd, learning_rate: {above: 0.01}}, {depth: [1, 2]}]",
    "forbidden: []",
    "enqueue: [{learning_rate: 0.01, batch_norm: true}, {}]",
    "training: {early_stop: 3, precision: bfloat16, seed: 0}",
    "resources: {workers: 2, threads: 1, device: cpu, max_attempts: 1}",
    "seed: 2147483647",
    "sampler: {name: nsga2, options: {population_size: 30, crossover: sbx}}",
    "sampler: {class: 'optuna.samplers:TPESampler', options: {multivariate: true, x: {y: [1]}}}",
    "sampler: 'mine:Own'",
    "sampler: {class: 'optunahub:samplers/auto_sampler'}",
    "pruner: {class: 'optuna.pruners:PercentilePruner', options: {percentile: 25.0}}",
]
BAD = [
    "budgett: 3",
    "budget: 3",
    "budget: {trials: 0}",
    "budget: {trials: 2.5}",
    "budget: {trials: '3'}",
    "budget: {trials: true}",
    "budget: {trials: null}",
    "budget: {epochs: 0}",
    "budget: {hours: 0}",
    "budget: {patience: 0}",
    "budget: {trails: 3}",
    "objective: accuracy",
    "objective: {direction: up}",
    "objective: {metric: []}",
    "objective: {metric: [accuracy, 3]}",
    "objective: {direction: [maximize, up], metric: [accuracy, latency]}",
    "sampler: nsga9",
    "sampler: {name: nsga2, options: {points: 3}}",
    "sampler: {class: 'optuna.samplers.TPESampler'}",
    "sampler: {class: 'optuna.samplers:TPESampler', name: tpe}",
    "sampler: 'optuna samplers:TPESampler'",
    "pruner: {name: median, options: {n: 3}}",
    "pruner: {options: {n: 3}}",
    "sampler: {options: {points: 3}}",
    "sampler: {name: grid, options: {points: 0}}",
    "sampler: {name: nsga9}",
    "sampler: {startup_trials: -1}",
    "pruner: asha",
    "pruner: {reduction: 1}",
    "search: 3",
    "search: [1]",
    "search: {learning_rate: null}",
    "search: {learning_rate: []}",
    "search: {learning_rate: [[1]]}",
    "search: {learning_rate: {choices: []}}",
    "search: {learning_rate: {low: a}}",
    "search: {learning_rate: {low: 0, log: true}}",
    "search: {learning_rate: {low: -1, high: 1, log: true}}",
    "search: {learning_rate: {lo: 1}}",
    "search: {learning_rate: {value: 1, low: 1}}",
    "search: {learning_rate: {value: 1, type: float}}",
    "search: {learning_rate: {choices: [1], high: 1}}",
    "search: {learning_rate: {choices: [1], value: 1}}",
    "search: {learning_rate: {choices: [0.1], type: float}}",
    "search: {learning_rate: {type: categorical, low: 1}}",
    "search: {learning_rate: {type: fixed}}",
    "search: {learning_rate: {type: real}}",
    "search: {learning_rate: {log: 1}}",
    "search: {dropout: {when: 3}}",
    "search: {dropout: {when: {optimizer: []}}}",
    "forbidden: {}",
    "forbidden: [{}]",
    "forbidden: [3]",
    "forbidden: [{depth: []}]",
    "forbidden: [{depth: {abov: 3}}]",
    "enqueue: {depth: 1}",
    "enqueue: [{depth: [1]}]",
    "enqueue: [3]",
    "training: {precision: fp16}",
    "training: {early_stop: 0}",
    "training: {seed: -1}",
    "resources: {device: gpu}",
    "resources: {workers: 0}",
    "seed: -1",
    "seed: 2147483648",
]
GOOD_DATA = [
    "{source: digits}",
    "{source: digits, path: null}",
    "{source: digits, split: {validation: 0.2, test: 0.2, seed: 1}}",
    "{source: images, path: pictures, image_size: [32, 32]}",
    "{source: images, path: pictures, skip_damaged: true, min_class: 5}",
    "{path: a.NPZ, test_path: b.npz}",
]
BAD_DATA = [
    "",
    "3",
    "digitz",
    "[]",
    "{}",
    "{source: images}",
    "{source: images, path: null}",
    "{source: digits, path: x}",
    "{path: x.bmp}",
    "{path: s3://bucket/x.npz}",
    "{source: images, path: pictures, test_path: https://example.org/test}",
    "{source: images, path: pictures, skip_damaged: 1}",
    "{source: digits, min_class: 1}",
    "{path: 3}",
    "{source: images, path: x, image_size: 3}",
    "{source: images, path: x, image_size: [0, 3]}",
    "{source: images, path: x, image_size: [1, 2, 3]}",
    "{source: digits, split: {validation: 1}}",
    "{source: digits, split: {validation: 0}}",
    "{source: digits, vocabulary: 3}",
    "{source: digits, lowercase: 1}",
    "{source: digits, max_length: 1}",
    "{source: digits, text: null}",
    "{source: digits, colour: red}",
]
GOOD_NAMES = ["a b", "a.b", "Größe", "'12'", "n" * 100, "a-"]
BAD_NAMES = ["''", "' '", "'a '", "' a'", ".a", "-a", "a/b", r"'a\b'", "n" * 101, "12", "[a]", ""]


OBJECTIVE = "objective: {metric: m, direction: minimize}\n"
SEARCH = "search: {x: {low: 0, high: 1}}\n"
GOOD_OWN = [
    "family: function\nfunction: a:b\n",
    "family: function\nfunction: a.b.c:d_e\nfolder: ../src\n",
    "family: function\nfunction: a:b\ndata:\ncommand:\nbudget: {epochs: null}\n",
    "family: command\ncommand: [python, train.py, '{x}', 3, 0.5]\n",
    "family: command\ncommand: ['{arguments}']\nfolder: /\n",
]
BAD_OWN = [
    "family: command\n",
    "family: command\ncommand: python train.py\n",
    "family: command\ncommand: []\n",
    "family: command\ncommand: [a, [b]]\n",
    "family: command\ncommand: [a, null]\n",
    "family: command\ncommand: [a]\nfunction: a:b\n",
    "family: function\ncommand: [a]\n",
    "family: function\n",
    "family: function\nfunction:\n",
    "family: function\nfunction: a:b\ndata: digits\n",
    "family: function\nfunction: a:b\ncommand: [a]\n",
    "family: function\ndata: digits\n",
    "family: cnn\ndata: digits\nfunction: a:b\n",
    "family: cnn\ndata: digits\nfolder: .\n",
]


def by_loader(text: str) -> bool:
    try:
        resolve(loads(text))
    except SpecError:
        return False
    return True


def all_by_loader(text: str) -> bool:
    try:
        loads_all(text, parameters=searchable_parameters)
    except SpecError:
        return False
    return True


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ("encoding: cp1252", True),
        ("separator: tab", True),
        ("separator: ';'", True),
        ("separator: '|', min_class: 2", True),
        ("separator: ''", False),
        ("separator: ab", False),
        ("separator: 7", False),
        ("separator: 'x'", False),
    ],
)
@pytest.mark.parametrize("path", ["a.csv", "b.CSV.GZ", "c.json", "d.tsv.gz", "e.jsonl.gz"])
def test_both_know_how_tables_are_read(path: str, changes: str, right: bool) -> None:
    text = f"name: x\nfamily: bow\ndata: {{path: {path}, {changes}}}\n"
    assert by_loader(text) == by_schema(text) == right


def by_schema(text: str) -> bool:
    data: Any = parse(text).data
    return bool(VALIDATOR.is_valid(data))


def whole(*, name: str = "x", data: str = "digits", rest: str = "") -> str:
    return f"name: {name}\nfamily: cnn\ndata: {data}\n{rest}"


GOOD_TEXTS = [
    *(whole(rest=text) for text in GOOD),
    *(whole(data=text) for text in GOOD_DATA),
    *(f"name: x\n{text}{OBJECTIVE}{SEARCH}" for text in GOOD_OWN),
    *(whole(name=text) for text in GOOD_NAMES),
]
BAD_TEXTS = [
    *(whole(rest=text) for text in BAD),
    *(whole(data=text) for text in BAD_DATA),
    *(f"name: x\n{text}{OBJECTIVE}{SEARCH}" for text in BAD_OWN),
    *(whole(name=text) for text in BAD_NAMES),
    "family: cnn\ndata: digits",
    "name: x\ndata: digits",
    "name: x\nfamily: cnn",
    "name: x\nfamily:\ndata: digits",
    "- a",
    "3",
]


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(study_schema())


@pytest.mark.parametrize("text", GOOD_TEXTS)
def test_both_accept(text: str) -> None:
    assert by_loader(text)
    assert by_schema(text)


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_both_refuse(text: str) -> None:
    assert not by_loader(text)
    assert not by_schema(text)


FAMILIES = [
    ("[cnn, pretrained]", True),
    ("[cnn]", True),
    ("{cnn: }", True),
    ("{cnn: {budget: {epochs: 3}, search: {depth: 2}, pruner: none}, pretrained: {}}", True),
    ("[]", False),
    ("{}", False),
    ("[cnn, cnn]", False),
    ("[cnn, 3]", False),
    ("[cnn, function]", False),
    ("{cnn: {data: digits}}", False),
    ("{cnn: {budget: {epochs: 0}}}", False),
    ("{cnn: 3}", False),
]


@pytest.mark.parametrize(("families", "is_good"), FAMILIES)
def test_both_agree_on_experiments(families: str, is_good: bool) -> None:
    text = f"name: x\nfamily: {families}\ndata: digits\n"
    assert all_by_loader(text) is by_schema(text) is is_good


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_studies(path: Path) -> None:
    _, sources = load_all(path, parameters=searchable_parameters)
    for source in sources:
        resolve(source)

    assert by_schema(path.read_text(encoding="utf-8"))


def test_every_setting_of_a_section_says_what_it_is() -> None:
    definitions = study_schema()["$defs"]
    silent = [
        f"{section}.{name}"
        for section in ("Budget", "Training", "Objective")
        for name, field in definitions[section]["properties"].items()
        if "description" not in field
    ]

    assert silent == []
