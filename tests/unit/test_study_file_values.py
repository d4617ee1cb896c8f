"""Overrides, enqueued parameters, shorthands, defaults, storage and comparison of study files."""

import json
from typing import Any

import pytest
from hypothesis import given, settings

from tests.support.spaces import spaces
from tuner.errors import SpecError
from tuner.families import registry, resolve
from tuner.study_file.change import apply_changes, is_changeable
from tuner.study_file.load import from_mapping, loads
from tuner.study_file.overrides import parse_assignments
from tuner.study_file.resolve import fit_configuration
from tuner.study_file.resolved import ResolvedSpec, differences
from tuner.study_file.seeds import derived_seed, trial_seed
from tuner.study_file.space import Space
from tuner.study_file.study import Confirm

HEAD = "name: x\nfamily: cnn\ndata: digits\n"


def spec(text: str = "", *overrides: str) -> ResolvedSpec:
    return resolve(loads(HEAD + text, name="s.yaml", overrides=overrides))


def described(text: str, *overrides: str) -> dict[str, str]:
    return spec(text, *overrides).space.describe()


# What the family fills in


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("attention: luong", "luong (fixed)"),
        ("attention: [bahdanau, none]", "bahdanau, none"),
        ("optimizer: [adam, rmsprop]", "adam, rmsprop"),
    ],
)
def test_a_family_knows_more_values_than_it_searches(written: str, shown: str) -> None:
    text = f"name: x\nfamily: seq2seq\ndata: cmudict\nsearch: {{{written}}}\n"
    space = resolve(loads(text, name="s.yaml")).space
    assert space.describe()[written.split(":", maxsplit=1)[0]] == shown


def test_the_family_fills_in_what_the_file_leaves_out() -> None:
    card = registry.card("cnn")
    made = spec()

    assert made.objective.metric == card.metrics[0]
    assert made.objective.direction == "maximize"
    assert made.budget.epochs == card.epochs
    assert made.space == card.space


def test_the_file_comes_before_the_family() -> None:
    made = spec("budget: {epochs: 3}\nobjective: {metric: log_loss}")

    assert made.budget.epochs == 3
    assert (made.objective.metric, made.objective.direction) == ("log_loss", "minimize")


def test_word_vectors_change_the_default_space() -> None:
    text = "name: x\nfamily: text_cnn\ndata: {path: a.csv%s}"
    without = resolve(loads(text % "")).space.describe()
    with_vectors = resolve(loads(text % ", vectors: v.txt")).space.describe()

    assert without["embeddings"] == "random (fixed)"
    assert with_vectors["embeddings"] == "static, tuned, multichannel"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate: 0.01", "0.01 (fixed)"),
        ("learning_rate: {value: 0.01}", "0.01 (fixed)"),
        ("learning_rate: {type: fixed, value: 0.01}", "0.01 (fixed)"),
        ("learning_rate: [0.1, 0.01]", "0.1, 0.01"),
        ("learning_rate: {high: 0.01}", "0.0003 … 0.01 (float, log)"),
        ("learning_rate: {low: 1e-5}", "1e-05 … 0.1 (float, log)"),
        ("learning_rate: {log: false}", "0.0003 … 0.1 (float)"),
        ("learning_rate: {low: 0.1, high: 1, step: 0.1}", "0.1 … 1 (float, steps of 0.1)"),
        ("learning_rate: {}", "0.0003 … 0.1 (float, log)"),
        ("depth: 2", "2 (fixed)"),
        ("depth: {high: 5}", "1 … 5 (int)"),
        ("batch_size: [512, 1024]", "512, 1024"),
        ("batch_size: {low: 8, high: 64, log: true}", "8 … 64 (int, log)"),
        ("optimizer: adamw", "adamw (fixed)"),
        ("clip_norm: {low: 0.5, high: 5}", "0.5 … 5 (float)"),
        ("momentum: {low: 0.5}", "0.5 … 0.98 (float) when optimizer is sgd"),
        ("dropout: {when: {batch_norm: false}}", "0 … 0.6 (float) when batch_norm is false"),
    ],
)
def test_shorthands_and_ranges_over_the_familys(text: str, expected: str) -> None:
    assert described(f"search:\n  {text}")[text.split(":", maxsplit=1)[0]] == expected


def test_sections_may_stand_empty() -> None:
    assert spec("search:\nbudget:\nenqueue:\nforbidden:\nsampler:\n") == spec()


# Overrides


@pytest.mark.parametrize(
    ("text", "override", "name", "expected"),
    [
        ("", "search.learning_rate=0.1", "learning_rate", "0.1 (fixed)"),
        ("", "search.learning_rate.high=0.01", "learning_rate", "0.0003 … 0.01 (float, log)"),
        ("search: {learning_rate: 0.1}", "search.learning_rate.high=0.01", "learning_rate",
         "0.0003 … 0.01 (float, log)"),
        ("search: {learning_rate: {low: 0.01}}", "search.learning_rate=[0.1, 0.2]",
         "learning_rate", "0.1, 0.2"),
        ("search: {depth: [1, 2]}", "search.depth.1=3", "depth", "1, 3"),
        ("search: {depth: [1, 2]}", "search.depth.choices.0=3", "depth", "3, 2"),
        ("search: {depth: [1, 2]}", "search.depth.high=9", "depth", "1 … 9 (int)"),
    ],
)  # fmt: skip
def test_overrides_of_the_space(text: str, override: str, name: str, expected: str) -> None:
    assert described(text, override)[name] == expected


def test_overrides_of_sections() -> None:
    made = spec(
        "sampler: random\nenqueue:\n  - {depth: 1}",
        "budget.trials=7",
        "sampler.startup_trials=3",
        "data.split.test=0.25",
        "enqueue.0.depth=2",
        "name='12'",
        "seed=5",
    )

    assert made.budget.trials == 7
    assert (made.sampler.name, made.sampler.startup_trials) == ("random", 3)
    assert (made.data.source, made.data.split.test) == ("digits", 0.25)
    assert made.enqueue == ({"depth": 2},)
    assert (made.name, made.seed) == ("12", 5)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("budget.trials=two", "budget.trials: must be a whole number, is the text `two`"),
        ("budget.trails=2", "budget: unknown key `trails`; did you mean `trials`?"),
        ("budget", "must be a name, `=` and a value; write it as in `--set budget.trials=20`"),
        ("=3", "must be a name, `=` and a value; write it as in `--set budget.trials=20`"),
        ("a..b=3", "must be a name, `=` and a value; write it as in `--set budget.trials=20`"),
        ("name=[1", "the value is not valid YAML: a `,` or the closing `]` is missing"),
        ("seed=&a 1", "anchors and aliases (`&a`) are not supported; repeat the text"),
        ("search.learning_rate.low=5", "search.learning_rate.low: must be below high (0.1), is 5"),
        ("search.lerning_rate=5", "search: unknown parameter `lerning_rate`; did you mean "
         "`learning_rate`?"),
        ("enqueue.3.depth=1", "`enqueue` is a list of 1; `3` is not one of its positions, which "
         "count from 0"),
        ("enqueue.0.depth=99", "enqueue[0].depth: must be between 1 and 3, is 99"),
    ],
)  # fmt: skip
def test_bad_overrides(override: str, sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec("enqueue:\n  - {depth: 1}", override)

    assert str(caught.value) == f"--set {override}: {sentence}"


def test_another_name_is_taken_as_it_is_and_checked() -> None:
    assert loads(HEAD, rename="12").spec.name == "12"
    with pytest.raises(SpecError, match=r"^--name: name: must not contain `/`$"):
        loads(HEAD, rename="a/b")


# `tuner enqueue`


def test_assigned() -> None:
    pairs = ["a=0.1", "b=sgd", "c=true", "d='1'", "e=null", "f=x=y", "g=1e-3"]
    assert parse_assignments(pairs) == {
        "a": 0.1, "b": "sgd", "c": True, "d": "1", "e": None, "f": "x=y", "g": 1e-3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        (["a"], "`a`: must be a name, `=` and a value; write it as in `learning_rate=0.001`"),
        (["a=1", "a=2"], "`a=2`: `a` is given twice"),
        (["a=[1]"], "`a=[1]`: must be a single value, is a list"),
        ([f"a={'9' * 30}"], f"`a={'9' * 30}`: the number `{'9' * 30}` is too long"),
    ],
)
def test_badly_assigned(pairs: list[str], sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_assignments(pairs)

    assert str(caught.value) == sentence


def test_fitted() -> None:
    space = spec().space

    assert fit_configuration(space, {"depth": 2.0, "learning_rate": 0.001}) == {
        "depth": 2,
        "learning_rate": 0.001,
    }
    with pytest.raises(SpecError) as caught:
        fit_configuration(space, {"depth": 9, "dropuot": 0.1, "optimizer": 3})
    assert str(caught.value).splitlines() == [
        "depth: must be between 1 and 3, is 9",
        "unknown parameter `dropuot`; did you mean `dropout`?",
        "optimizer: must be one of sgd, adam, adamw, rmsprop, adagrad; is `3`",
    ]


# Storage and comparison

SPECS = [
    "",
    "search: {learning_rate: 0.1, depth: [1, 3], dropout: {high: 0.5}}",
    "forbidden:\n  - {optimizer: sgd, learning_rate: {above: 0.05}}\n  - {batch_norm: [true]}",
    "enqueue:\n  - {learning_rate: 0.01, batch_norm: false}\nseed: 7\nsampler: qmc\npruner: median",
    "budget: {hours: 1.5, target: 0.99, patience: 5}\ntraining: {seed: 3, early_stop: 2}",
]


@pytest.mark.parametrize("text", SPECS)
def test_a_stored_specification_comes_back_equal(text: str) -> None:
    made = spec(text)
    stored = json.loads(json.dumps(made.as_json(), sort_keys=True, allow_nan=False))
    back = ResolvedSpec.from_json(stored)

    assert back == made
    assert list(back.space.parameters) == list(made.space.parameters)  # jsonb sorts keys
    assert differences(made, back) == []


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(spaces())
def test_a_stored_space_comes_back_equal(space: Space) -> None:
    stored = json.loads(json.dumps(space.model_dump(mode="json"), sort_keys=True, allow_nan=False))
    back = Space.model_validate(stored)

    assert back == space
    assert list(back.parameters) == list(space.parameters)
    assert [repr(p) for p in back.parameters.values()] == [
        repr(p) for p in space.parameters.values()
    ]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"fused": 8}, "The study was stored by a newer tuner: this one does not know fused. "
         "Upgrade tuner to work with it."),
        ({"seed": "x"}, "The stored study cannot be read by this version of tuner: seed: must be "
         "a whole number, is the text `x`"),
    ],
)  # fmt: skip
def test_a_specification_of_another_version(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        ResolvedSpec.from_json({**spec().as_json(), **changed})

    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ("", "", []),
        ("", "budget: {trials: 50}", ["budget.trials: 40 → 50"]),
        ("budget: {hours: 1}", "", ["budget.hours: 1.0 → null"]),
        ("", "search: {depth: {high: 5}}", ["search.depth.high: 3 → 5"]),
        ("", "search: {depth: 2}", [
            "search.depth.type: int → fixed",
            "search.depth.low: 1 → not set",
            "search.depth.high: 3 → not set",
            "search.depth.log: false → not set",
            "search.depth.step: 1 → not set",
            "search.depth.value: not set → 2",
        ]),
        ("search: {kernel: [3, 5]}", "search: {kernel: [5, 3]}",
         ["search.kernel.choices: [3, 5] → [5, 3]"]),
        ("", "enqueue: [{depth: 2}]", ["enqueue: [] → not set", "enqueue[0].depth: not set → 2"]),
        ("", "forbidden: [{optimizer: sgd}]", ["forbidden[0].optimizer: not set → [sgd]"]),
        ("", "training: {seed: 1}", ["training.seed: null → 1"]),
    ],
)  # fmt: skip
def test_differences(before: str, after: str, lines: list[str]) -> None:
    assert differences(spec(before), spec(after)) == lines


def test_differences_but_for_the_budget() -> None:
    assert differences(spec(), spec("budget: {trials: 9}\nseed: 1"), ignore=["budget"]) == [
        "seed: 0 → 1"
    ]


def test_plain_values_are_read_like_files() -> None:
    given = {"name": "x", "family": "cnn", "data": "digits", "budget": {"trials": 0}}
    with pytest.raises(SpecError, match=r"^budget\.trials: must be at least 1, is `0`$"):
        from_mapping(given)


def test_a_trials_seed_is_its_own_unless_pinned() -> None:
    own = {trial_seed(spec(), number) for number in range(50)}

    assert len(own) == 50
    assert own.isdisjoint(trial_seed(spec("seed: 1"), number) for number in range(50))
    assert {trial_seed(spec("training: {seed: 9}"), number) for number in range(50)} == {9}


def test_seeds_spread() -> None:
    assert (
        len({derived_seed(0, number, redraw) for number in range(100) for redraw in range(20)})
        == 2000
    )
    assert all(0 <= derived_seed(n) < 2**31 for n in range(100))


# The confirmation


def test_a_confirmation_is_asked_for_by_its_section_alone() -> None:
    assert spec().confirm is None
    assert spec("confirm:").confirm is None
    assert spec("confirm: {}").confirm == Confirm(top=5, seeds=5, margin=None)
    assert spec("", "confirm.seeds=3").confirm == Confirm(seeds=3)


def test_a_study_that_an_older_tuner_stored_has_none_and_may_get_one() -> None:
    stored = spec().as_json()
    del stored["confirm"]
    before = ResolvedSpec.from_json(stored)
    assert before == spec()
    lines = differences(before, spec("confirm: {top: 3}"))
    assert lines == [
        "confirm.top: not set → 3",
        "confirm.seeds: not set → 5",
        "confirm.margin: not set → null",
    ]
    assert all(is_changeable(line.partition(":")[0]) for line in lines)
    assert apply_changes(before, ["confirm.seeds=3"]).confirm == Confirm(seeds=3)
    assert apply_changes(spec("confirm: {}"), ["confirm=null"]).confirm is None


def test_a_large_number_is_what_it_was_after_postgresql_has_written_its_digits() -> None:
    text = "name: s\nfamily: cnn\ndata: digits\nsearch: {learning_rate: 1e30, optimizer: sgd}\n"
    large = resolve(loads(text))
    written = json.dumps(large.as_json())
    assert "1e+30" in written
    digits = json.loads(written.replace("1e+30", str(10**30)))  # as jsonb gives it back
    assert ResolvedSpec.from_json(digits) == large
