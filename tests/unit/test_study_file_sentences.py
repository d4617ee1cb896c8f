"""What a user reads when a study file is wrong: one line a problem, with file, line and field."""

from pathlib import Path

import pytest

from tuner.data.prepared import PreparedData
from tuner.errors import BadInputError, DataError, SpecError
from tuner.families import check_data, registry, resolve
from tuner.study_file.load import load, loads

HEAD = "name: x\nfamily: cnn\ndata: digits\n"  # what follows starts in line 4
OPTIMIZERS = "sgd, adam, adamw, rmsprop, adagrad"


def said(text: str, **given: object) -> str:
    """What the user reads about a study file."""
    with pytest.raises(SpecError) as caught:
        resolve(loads(text, name="s.yaml", **given))  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty; a study needs `name`, `family` and `data`"),
        ("# only a comment\n", "is empty; a study needs `name`, `family` and `data`"),
        ("- a", "must consist of `key: value` lines, is a list"),
        ("abc", "must consist of `key: value` lines, is the text `abc`"),
    ],
)
def test_no_study(text: str, sentence: str) -> None:
    assert said(text) == f"s.yaml: {sentence}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pruner: {reduction: 1}", "pruner.reduction: must be auto, or at least 2, is `1`"),
        (
            "pruner: {min_epochs: Auto}",
            "pruner.min_epochs: must be auto, or a whole number, is the text `Auto`; did you mean "
            "`auto`?",
        ),
        ("resources: {per_gpu: 17}", "resources.per_gpu: must be auto, or at most 16, is `17`"),
        (
            "sampler: {default_first: maybe}",
            "sampler.default_first: must be true or false, is the text `maybe`",
        ),
    ],
)
def test_a_word_or_a_number_is_one_problem(text: str, sentence: str) -> None:
    assert said(HEAD + text) == f"s.yaml:4: {sentence}"


def test_brackets_need_the_number_of_epochs() -> None:
    text = (
        "name: x\nfamily: function\nfunction: own:train\nobjective: {metric: mse}\n"
        "search: {x: {low: 0.0, high: 1.0}}\npruner: hyperband\n"
    )

    assert said(text) == ("s.yaml:6: pruner: needs `budget.epochs`, from which its brackets follow")


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("name: x\n\tfamily: cnn", 2, "is not valid YAML: there is a tab; indent with spaces"),
        ("a: 1\nb: [x\nc: 1", 2, "is not valid YAML: a `,` or the closing `]` is missing"),
        (
            "a: 1\nb: 'x\nc: 1\n",
            2,
            "is not valid YAML: a quotation mark is opened and never closed",
        ),
        (
            "a: b: c",
            1,
            "is not valid YAML: there is a second `:` here, or the indentation is wrong",
        ),
        ("a: @x", 1, "is not valid YAML: text that starts with `@` must be in quotes"),
        ("a: &x 1", 1, "anchors and aliases (`&x`) are not supported; repeat the text"),
        ("a: !!python/none x", 1, "tags (`!!python/none`) are not supported; remove it"),
        ("a: 1\n---\nb: 2", 2, "has a second document after `---`"),
        ("a: 1\na: 2", 2, "the key `a` appears twice (first in line 1)"),
        ("1: 2", 1, "the key `1` must be text; put it in quotes"),
        ("[a]: 2", 1, "a list or section cannot be a key"),
        ("a: \x1b[31m", 1, "there is a control character, U+001B"),
        ('a: "\\x1b[31m"', 1, "there is a control character, U+001B"),
        (f"a: {'9' * 5000}", 1, f"the number `{'9' * 59}…` is too long"),
        ("[" * 30 + "]" * 30, 1, "is nested more than 20 levels deep"),
        ("a: [" + "1," * 20_001 + "]", 1, "has more than 20000 values"),
    ],
)
def test_yaml(text: str, line: int, sentence: str) -> None:
    assert said(text) == f"s.yaml:{line}: {sentence}"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a/b", "must not contain `/`"),
        (r"'a\b'", r"must not contain `\`"),
        (r'"a\nb"', "must not contain the control character U+000A"),
        (r'"a\u202eb"', "must not contain the control character U+202E"),
        ("n" * 300, "has 300 characters; 100 are allowed"),
        (".hidden", "must not start with `.`"),
        ("--rm", "must not start with `-`"),
        ("''", "must not be empty"),
        ("'  '", "must not be empty"),
        ("' a'", "must not start or end with a space"),
        ("12", "must be text, is `12`; put it in quotes"),
        ("true", "must be text, is `true`; put it in quotes"),
        ("[a]", "must be text, is a list"),
        ("", "is missing"),
    ],
)
def test_names(name: str, sentence: str) -> None:
    assert said(f"name: {name}\nfamily: cnn\ndata: digits") == f"s.yaml:1: name: {sentence}"


@pytest.mark.parametrize("name", ["x", "cnn on digits (2)", "Größe-β", "a.b", "学習", "e=mc²"])
def test_good_names(name: str) -> None:
    assert loads(f"name: {name}\nfamily: cnn\ndata: digits").spec.name == name


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("budgett: 3", "unknown key `budgett`; did you mean `budget`?"),
        ("budget: {trails: 2}", "budget: unknown key `trails`; did you mean `trials`?"),
        ("confirm: {seeds: 1}", "confirm.seeds: must be at least 2, is `1`"),
        ("confirm: {margin: -0.1}", "confirm.margin: must be at least 0, is `-0.1`"),
        ("confirm: {seed: 3}", "confirm: unknown key `seed`; did you mean `seeds`?"),
        ("budget: {trials: 0}", "budget.trials: must be at least 1, is `0`"),
        ("budget: {trials: two}", "budget.trials: must be a whole number, is the text `two`"),
        ("budget: {trials: '2'}", "budget.trials: must be a whole number, is the text `2`"),
        ("budget: {trials: true}", "budget.trials: must be a whole number, is `true`"),
        ("budget: {trials: 2.5}", "budget.trials: must be a whole number, is `2.5`"),
        ("budget: {epochs: 0}", "budget.epochs: must be at least 1, is `0`"),
        ("budget: {hours: 0}", "budget.hours: must be above 0, is `0`"),
        ("budget: {hours: .inf}", "budget.hours: must be a finite number, is `inf`"),
        ("budget: {target: .nan}", "budget.target: must be a finite number, is `nan`"),
        ("budget: 7", "budget: must be a section of `key: value` lines, is `7`"),
        ("objective: {direction: up}", "objective.direction: must be one of minimize, maximize; "
         "is the text `up`"),
        ("objective: {metric: acuracy}", "objective.metric: must be one of accuracy, "
         "balanced_accuracy, f1_macro, f1_micro, precision_macro, recall_macro, roc_auc, log_loss, "
         "rmse, mae, r2; is the text `acuracy`; did you mean `accuracy`?"),
        ("sampler: nsga9", "sampler: must be one of auto, tpe, random, gp, qmc, grid, cmaes, "
         "nsga2, nsga3; is the text `nsga9`; did you mean `nsga3`?"),
        ("sampler: {name: tpee}", "sampler.name: must be one of auto, tpe, random, gp, qmc, grid, "
         "cmaes, nsga2, nsga3; is the text `tpee`; did you mean `tpe`?"),
        ("sampler: TPESampler", "sampler: must be one of auto, tpe, random, gp, qmc, grid, cmaes, "
         "nsga2, nsga3; is the text `TPESampler`; a class is written as "
         "`optuna.samplers:TPESampler`"),
        ("sampler: my.code.OwnSampler", "sampler: must be one of auto, tpe, random, gp, qmc, grid, "
         "cmaes, nsga2, nsga3; is the text `my.code.OwnSampler`; a class is written as "
         "`my.code:OwnSampler`"),
        ("sampler: 5", "sampler: must be a name, a class or a section, is `5`"),
        ("sampler: {name: auto, options: {group: true}}", "sampler.options: belong to one sampler, "
         "and `auto` chooses it: name it beside them"),
        ("pruner: [rungs]", "pruner: must be a name, a class or a section, is a list"),
        ("pruner: {min_epochs: 100}", "pruner.min_epochs: must be at most budget.epochs (27), "
         "is 100"),
        ("resources: {device: gpu}", "resources.device: must be one of auto, cpu, cuda, "
         "mps; is the text `gpu`; did you mean `cpu`?"),
        ("training: {seed: -1}", "training.seed: must be at least 0, is `-1`"),
        ("search: [1]", "search: must be a section of `key: value` lines, is a list"),
        ("forbidden: {a: 1}", "forbidden: must be a list, is a section"),
        ("enqueue: 3", "enqueue: must be a list, is `3`"),
    ],
)  # fmt: skip
def test_sections(text: str, sentence: str) -> None:
    assert said(HEAD + text) == f"s.yaml:4: {sentence}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("learning_rte: 1", ": unknown parameter `learning_rte`; did you mean `learning_rate`?"),
        ("learning_rate:", ".learning_rate: is empty; give a value, a list of choices or a range"),
        ("learning_rate: fast", ".learning_rate: must be a number, is the text `fast`"),
        ("learning_rate: {low: slow}", ".learning_rate.low: must be a number, is the text `slow`"),
        ("learning_rate: {low: 1, high: 0.1}", ".learning_rate.low: must be below high (0.1), "
         "is 1"),
        ("learning_rate: {low: 0.5}", ".learning_rate.low: must be below high (0.1), is 0.5"),
        ("learning_rate: {low: 0.1, high: 0.1}", ".learning_rate.low: must be below high (0.1); "
         "to pin it, give the value alone"),
        ("learning_rate: {low: 0}", ".learning_rate.low: must be above 0 with `log: true`, is 0"),
        ("learning_rate: {low: -1, high: 1, log: true}", ".learning_rate.low: must be above 0 "
         "with `log: true`, is -1"),
        ("learning_rate: {low: 0.1, high: 1, log: true, step: 0.1}", ".learning_rate.step: cannot "
         "be combined with `log: true`; remove one of them"),
        ("learning_rate: {low: 0, high: 1, step: 2}", ".learning_rate.step: must be at most "
         "high - low, is 2"),
        ("learning_rate: {low: 0, high: 1e30, step: 1e-5}", ".learning_rate.step: is too small: "
         "0 to 1e+30 has too many steps"),
        ("learning_rate: {value: 0.1, low: 0.2}", ".learning_rate.low: `value` pins the "
         "parameter, so this has no meaning; remove it"),
        ("learning_rate: {type: real}", ".learning_rate.type: must be one of float, int, "
         "categorical; is the text `real`"),
        ("depth: 2.5", ".depth: must be a whole number, is `2.5`"),
        ("depth: {low: 0.5}", ".depth.low: must be a whole number, is `0.5`"),
        ("depth: {type: float}", ".depth.type: must be int; the family takes whole numbers"),
        ("depth: {high: 1e300}", ".depth.high: is too large: whole numbers up to 2^53 can be "
         "searched"),
        ("optimizer: sdg", f".optimizer: must be one of {OPTIMIZERS}; is the text `sdg`; "
         "did you mean `sgd`?"),
        ("optimizer: [adam, lion]", f".optimizer[1]: must be one of {OPTIMIZERS}; "
         "is the text `lion`"),
        ("optimizer: {choices: []}", ".optimizer.choices: must have at least one value"),
        ("optimizer: []", ".optimizer: must have at least one value"),
        ("optimizer: {low: 1}", f".optimizer.low: has no meaning here; the values are "
         f"{OPTIMIZERS}"),
        ("batch_size: [16, 16]", ".batch_size[1]: 16 appears twice"),
        ("batch_size: [16, -16]", ".batch_size[1]: must be above 0, is `-16`"),
        ("batch_size: {low: 8}", ".batch_size.high: is missing"),
        ("batch_norm: 1", ".batch_norm: must be one of true, false; is `1`"),
        ("depth: {when: {depht: 1}}", ".depth.when: unknown parameter `depht`; "
         "did you mean `depth`?"),
        ("depth: {when: {optimizer: sgdd}}", f".depth.when.optimizer: must be one of {OPTIMIZERS};"
         " is the text `sgdd`; did you mean `sgd`?"),
        ("dropout: {when: {depth: 9}}", ".dropout.when.depth: must be between 1 and 3, is 9"),
        ("dropout: {when: {depth: [9, 10]}}", ".dropout.when.depth: must be between 1 and 3, is 9"),
        ("depth: {when: {optimizer: []}}", ".depth.when.optimizer: must have at least one value"),
        ("depth: {when: {depth: 2}}", ".depth.when: the conditions form a circle: "
         "`depth` → `depth`"),
        ("momentum: 0.9\n  optimizer: adam", ".momentum: has no meaning where optimizer is adam; "
         "it is searched when optimizer is sgd"),
        ("optimizer: {when: {momentum: 0.9}}", ".optimizer.when: the conditions form a circle: "
         "`optimizer` → `momentum` → `optimizer`"),
    ],
)  # fmt: skip
def test_search(text: str, sentence: str) -> None:
    assert said(f"{HEAD}search:\n  {text}") == f"s.yaml:5: search{sentence}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{}", "[0]: must name at least one parameter"),
        ("{optimzer: sgd}", "[0]: unknown parameter `optimzer`; did you mean `optimizer`?"),
        ("{optimizer: sgdd}", f"[0].optimizer: must be one of {OPTIMIZERS}; is the text `sgdd`; "
         "did you mean `sgd`?"),
        ("{optimizer: []}", "[0].optimizer: must have at least one value"),
        ("{optimizer: {above: 3}}", "[0].optimizer: `optimizer` is not a number, so `above` and "
         "`below` have no meaning"),
        ("{depth: {above: 3, below: 1}}", "[0].depth.above: must be below 1, is 3"),
        ("{depth: {abov: 3}}", "[0].depth: unknown key `abov`; did you mean `above`?"),
        ("{depth: {}}", "[0].depth: must have `above`, `below` or both"),
        ("{depth: big}", "[0].depth: must be a whole number, is the text `big`"),
    ],
)  # fmt: skip
def test_forbidden(text: str, sentence: str) -> None:
    assert said(f"{HEAD}forbidden:\n  - {text}") == f"s.yaml:5: forbidden{sentence}"


def test_forbidding_everything() -> None:
    everything = HEAD + "forbidden:\n  - {learning_rate: {above: 0}}"

    assert said(everything) == (
        "s.yaml:4: forbidden: forbids everything: none of 10,000 random draws was allowed"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{learning_rate: 5}", "[0].learning_rate: must be between 0.0003 and 0.1, is 5"),
        ("{learning_rat: 5}", "[0]: unknown parameter `learning_rat`; did you mean "
         "`learning_rate`?"),
        ("{depth: 2.5}", "[0].depth: must be a whole number, is `2.5`"),
        ("{depth: [1]}", "[0].depth: must be a single value (a number, text, true or false), "
         "is a list"),
        ("{batch_size: 17}", "[0].batch_size: must be one of 16, 32, 64, 128, 256; is `17`"),
        ("{clip_norm: 1}", "[0].clip_norm: is pinned to 0; is `1`"),
        ("{optimizer: adam, momentum: 0.9}", "[0].momentum: has no meaning where optimizer is "
         "adam; it is searched when optimizer is sgd"),
        ("3", "[0]: must be a section of `key: value` lines, is `3`"),
    ],
)  # fmt: skip
def test_enqueue(text: str, sentence: str) -> None:
    assert said(f"{HEAD}enqueue:\n  - {text}") == f"s.yaml:5: enqueue{sentence}"


def test_enqueueing_something_forbidden() -> None:
    text = HEAD + "forbidden:\n  - {optimizer: sgd}\nenqueue:\n  - {optimizer: sgd, depth: 1}"

    assert said(text) == "s.yaml:7: enqueue[0]: is one of the forbidden combinations"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("", ": is missing"),
        ("digitz", ": must be one of digits, mnist5k, lee, cmudict, images, npz, text, corpus, "
         "pairs; is the text `digitz`; did you mean `digits`?"),
        ("{source: images}", ".path: is missing; `source: images` needs it"),
        ("{source: digits, path: x}", ".path: has no meaning with `source: digits`; remove it"),
        ("{path: x.bmp}",
         ".source: is missing; must be one of digits, mnist5k, lee, cmudict, images, npz, text, "
         "corpus, pairs"),
        ("{path: x.csv, lable: y}", ": unknown key `lable`; did you mean `label`?"),
        ("{source: text, path: 3}", ".path: must be the path of a file or folder, is `3`"),
        ("{source: text, path: ~nobody-of-that-name/x}",
         ".path: there is no user `~nobody-of-that-name`"),
        ("{source: digits, split: {validation: 0.9, test: 0.2}}", ".split: validation + test must "
         "be below 1 to leave something to train on, are 1.1"),
        ("{source: images, path: x, image_size: 3}",
         ".image_size: must be a list of height and width, is `3`"),
    ],
)  # fmt: skip
def test_data(data: str, sentence: str) -> None:
    assert said(f"name: x\nfamily: cnn\ndata: {data}") == f"s.yaml:3: data{sentence}"


@pytest.mark.parametrize(
    ("family", "sentence"),
    [
        ("ccn", "unknown family `ccn`; did you mean `cnn`?"),
        ("bayes", f"unknown family `bayes`; allowed are {', '.join(registry.BUILT_IN)}"),
        ("3", "must be text, is `3`; put it in quotes"),
    ],
)
def test_families(family: str, sentence: str) -> None:
    assert said(f"name: x\nfamily: {family}\ndata: digits") == f"s.yaml:2: family: {sentence}"


def test_every_problem_has_its_line_in_the_order_of_the_file() -> None:
    text = HEAD + (
        "enqueue:\n  - {depth: 9}\nsearch:\n  depht: 2\n  learning_rate:\n    low: 5\n"
        "objective:\n  metric: speed\n"
    )

    assert [line.split(": ")[0] for line in said(text).splitlines()] == [
        "s.yaml:5", "s.yaml:7", "s.yaml:9", "s.yaml:11",
    ]  # fmt: skip


def test_many_problems_are_not_all_listed() -> None:
    lines = said(HEAD + "".join(f"k{n}: 1\n" for n in range(50))).splitlines()

    assert len(lines) == 21
    assert lines[-1] == "… and 30 more problems"


def test_hostile_text_is_quoted_in_one_short_line() -> None:
    lines = said(f'{HEAD}"a\\tb\\nc{"d" * 999}": 1').splitlines()

    assert len(lines) == 1
    assert len(lines[0]) < 300


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: x\nfamily: é".encode("latin-1"))
    (tmp_path / "large.yaml").write_text("#" * 300_000)
    cases = {
        "none.yaml": ": there is no such file",
        ".": ": is a folder, not a study file",
        "a\0b": ": is not the name of a file",
        "latin.yaml": ":2: is not UTF-8 text: byte 0xe9 at position 16",
        "large.yaml": ": is larger than 250 kB, more than a study file may be",
        "latin.yaml/x": ": cannot be read: not a directory",
    }
    for name, sentence in cases.items():
        with pytest.raises(SpecError) as caught:
            load(tmp_path / name)
        assert str(caught.value).endswith(sentence)
        assert "\0" not in str(caught.value)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode())

    assert load(path).spec.name == "x"


def test_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("name: x\nfamily: text_cnn\ndata: {path: a.csv, vectors: ../v.txt}\n")

    spec = load(path, ["data.test_path=b.csv"]).spec

    assert spec.data.path == tmp_path / "a.csv"
    assert spec.data.test_path == tmp_path / "b.csv"
    assert spec.data.vectors == tmp_path / ".." / "v.txt"


def test_an_error_of_the_data_gets_the_sections_line() -> None:
    source = loads(HEAD, name="s.yaml")
    with pytest.raises(DataError, match=r"^s\.yaml:3: data: x\.csv: is empty$"):  # noqa: SIM117
        with source.locating("data"):
            raise DataError("x.csv: is\nempty")


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(OSError, match=r"^boom$"), loads(HEAD).locating("data"):
        raise OSError("boom")


@pytest.mark.parametrize(
    ("kind", "family", "data", "sentence"),
    [
        ("images", "text_cnn", "digits", "family `text_cnn` needs text; `data: digits` are images"),
        ("text", "cnn", "{path: a.csv}", "family `cnn` needs images; `data: text` is text"),
    ],
)
def test_data_of_another_kind(kind: str, family: str, data: str, sentence: str) -> None:
    source = loads(f"name: x\nfamily: {family}\ndata: {data}", name="s.yaml")
    prepared = PreparedData(
        kind=kind,  # type: ignore[arg-type]
        folder=Path(),
        fingerprint="",
        classes=("a", "b"),
        sizes={},
        input_shape=(1, 8, 8),
    )
    with pytest.raises(BadInputError) as caught, source.locating("family"):
        check_data(resolve(source), prepared)

    assert str(caught.value) == f"s.yaml:2: family: {sentence}"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("aa", "the data has no class `aa`; did you mean `a`?"),
        ("", "names no class; allowed are a, b"),
    ],
)
def test_a_constraint_on_a_class_that_the_data_does_not_have(name: str, sentence: str) -> None:
    text = f"{HEAD}constraints: {{accuracy_class_{name}: {{above: 0.5}}}}\n"
    source = loads(text, name="s.yaml")
    prepared = PreparedData(
        kind="images", folder=Path(), fingerprint="", classes=("a", "b"), sizes={}
    )
    with pytest.raises(SpecError) as caught, source.locating("family"):
        check_data(resolve(source), prepared)

    assert str(caught.value) == f"s.yaml:4: constraints.accuracy_class_{name}: {sentence}"


def test_a_condition_on_a_range_holds_for_one_of_its_values() -> None:
    spec = resolve(loads(f"{HEAD}search:\n  dropout: {{when: {{depth: [2, 9]}}}}\n"))
    assert spec.space.parameters["dropout"].when == {"depth": (2, 9)}
