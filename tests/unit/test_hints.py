"""What other tools, countries and keyboards write, answered with what is written here."""

import pytest

from tuner.errors import SpecError
from tuner.families import resolve
from tuner.study_file.load import loads

HEAD = "name: x\nfamily: cnn\n"
CNN = f"{HEAD}data: digits\n"
OWN = "name: x\nfamily: command\ncommand: [t]\nobjective: {metric: s, direction: maximize}\n"
QUOTES = "write a Windows path in single quotes"


def answer(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        resolve(loads(text, name="s.yaml"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("parameter", "hint"),
    [
        ("values: [1, 2]", "unknown key `values`; write the list alone, or as `choices`"),
        ("min: 1", "unknown key `min`; write `low`"),
        ("max: 1", "unknown key `max`; write `high`"),
        ("q: 1", "unknown key `q`; write `step`"),
        ("distribution: uniform", "`distribution`; write `low` and `high` without it"),
        ("distribution: log_uniform_values", "write `low` and `high` with `log: true`"),
        ("distribution: q_log_uniform", "write `low` and `high` with `log: true` and `step`"),
        ("distribution: int_uniform", "write `low` and `high` with whole numbers as ends"),
        ("distribution: categorical", "leave it out and write the list, or the value, alone"),
        ("parameterType: double", "write `type: float`, `int` or `categorical`"),
        ("feasibleSpace: {min: 1}", "write `low` and `high`, or `choices`, without a section"),
        ("mu: 0", "normal distributions are not searched: write `low` and `high`"),
        ("hihg: 1", "unknown key `hihg`; did you mean `high`?"),
    ],
)
def test_parameters_in_the_words_of_other_tools(parameter: str, hint: str) -> None:
    assert hint in answer(f"{OWN}search: {{n: {{{parameter}}}}}")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        (
            "method: bayes",
            "unknown key `method`; write `sampler: auto`, `tpe`, `gp`, `random` or `grid`",
        ),
        ("parameters: {a: 1}", "unknown key `parameters`; parameters belong in `search`"),
        ("metric: {goal: minimize}", "`metric`; write `objective: {metric: …, direction: …}`"),
        ("objective: {goal: maximize}", "`goal`; write `direction: maximize` or `minimize`"),
        ("early_terminate: {}", "unknown key `early_terminate`; write `pruner`"),
        ("run_cap: 10", "unknown key `run_cap`; write `budget: {trials: …}`"),
    ],
)
def test_sections_in_the_words_of_other_tools(line: str, hint: str) -> None:
    assert hint in answer(f"{CNN}{line}")


@pytest.mark.parametrize("file", ["reviews.csv", "data/reviews.csv", "./reviews", "x.parquet"])
def test_the_name_of_a_file_is_no_source(file: str) -> None:
    assert answer(f"{HEAD}data: {file}") == (
        f"s.yaml:3: data: `{file}` is the name of a file: write `data: {{path: {file}}}`"
    )


def test_a_misspelt_source_is_no_file() -> None:
    assert "did you mean `digits`?" in answer(f"{HEAD}data: digit")


@pytest.mark.parametrize(
    ("search", "line", "number"),
    [
        ("search: {learning_rate: {low: 0,001, high: 0.1}}", 4, "0.001"),
        ("search: {learning_rate: {low: '0,001', high: 0.1}}", 4, "0.001"),
        ("search: {learning_rate: {low: 1,5e-3, high: 0.1}}", 4, "1.5e-3"),
        ("search: {dropout: {low: -0,5, high: 0.1}}", 4, "-0.5"),
        ("search:\n  learning_rate: 0,05", 5, "0.05"),
        ("budget: {hours: '1,5'}", 4, "1.5"),
    ],
)
def test_decimal_commas(search: str, line: int, number: str) -> None:
    sentence = answer(CNN + search)
    assert sentence.startswith(f"s.yaml:{line}: ")
    assert sentence.endswith(f"write it with a decimal point: {number}")


@pytest.mark.parametrize(
    ("budget", "hint"),
    [
        ("{trials: 1,000}", "write 1000 without the comma, or 1.000 with a decimal point"),
        ("{trials: '1,000'}", "write 1000 without the comma, or 1.000 with a decimal point"),
        ("{trials: '1,000,000'}", "write it without commas: 1000000"),
    ],
)
def test_commas_between_thousands(budget: str, hint: str) -> None:
    assert answer(f"{CNN}budget: {budget}").endswith(hint)


def test_decimal_commas_in_a_list_make_twice_as_many_values() -> None:
    sentence = answer(f"{CNN}search: {{learning_rate: [0,5, 0,1]}}")
    assert sentence.endswith("0 appears twice; decimals are written with a point, as 0.5")
    assert answer(f"{CNN}search: {{batch_size: [16, 16]}}").endswith("16 appears twice")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("epochs: 3", "unknown key `epochs`; it belongs in `budget`"),
        ("workers: 3", "unknown key `workers`; it belongs in `resources`"),
        ("batch_size: 3", "unknown key `batch_size`; parameters belong in `search`"),
        ("sampler: bayes", "`bayes`; `tpe` and `gp` are Bayesian"),
        ("sampler: {name: GridSearch}", "is the text `GridSearch`; `grid` tries every combination"),
        ("pruner: asha", "`asha`; `rungs` is asynchronous successive halving"),
        ("objective: {direction: max}", "is the text `max`; did you mean `maximize`?"),
        ("search: {lr: 0.1}", "unknown parameter `lr`; did you mean `learning_rate`?"),
        ("search: {dropout: {type: loguniform, low: 0.1, high: 0.2}}", "with `log: true`"),
        ("search: {depth: {type: choice, choices: [1, 2]}}", "write the list, or the value, alone"),
    ],
)
def test_what_belongs_elsewhere_or_has_another_name(line: str, hint: str) -> None:
    assert hint in answer(f"{CNN}{line}")


@pytest.mark.parametrize(
    "path", [r"C:\data\x.csv", r"C:\temp\new.csv", r"C:\Users\me.csv", r"C:\x.csv", r"D:\bin\a.npz"]
)
def test_windows_paths_in_double_quotes(path: str) -> None:
    sentence = answer(f'{HEAD}data: {{path: "{path}"}}')
    assert sentence.startswith("s.yaml:3: ")
    assert QUOTES in sentence
    assert loads(f"{HEAD}data: {{path: '{path}'}}").spec.data is not None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (f"{CNN}search: {{λ: 0.1}}", "`λ` (`λ` is GREEK SMALL LETTER LAMDA); the family has"),
        (
            f"{CNN}search: {{le\u0430rning_rate: 0.1}}",
            "did you mean `learning_rate`? (`\u0430` is CYRILLIC SMALL LETTER A)",
        ),
        (
            f"{CNN}bud\u0261et: {{}}",
            "did you mean `budget`? (`\u0261` is LATIN SMALL LETTER SCRIPT G)",
        ),
        (
            f"{OWN}search: {{λ: [1, 2]}}",
            "the name `λ` must be written in the letters a to z (`λ` is GREEK SMALL LETTER LAMDA)",
        ),
    ],
)
def test_letters_that_look_like_others_are_named(text: str, hint: str) -> None:
    assert hint in answer(text)
