"""What other tools, countries and keyboards write, answered with what is written here."""

import pytest

from tuner.errors import SpecError
from tuner.families import confirm
from tuner.spec.load import loads

HEAD = "name: x\nfamily: cnn\n"
CNN = f"{HEAD}data: digits\n"
OWN = "name: x\nfamily: command\ncommand: [t]\nobjective: {metric: s, direction: maximize}\n"
QUOTES = "write a Windows path in single quotes"


def answer(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        confirm(loads(text, name="s.yaml"))
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
        ("method: bayes", "unknown key `method`; write `sampler: tpe`, `gp`, `random` or `qmc`"),
        ("parameters: {a: 1}", "unknown key `parameters`; parameters are written in `search`"),
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
        ("search:\n  learning_rate: 0,05", 5, "0.05"),
        ("budget: {hours: '1,5'}", 4, "1.5"),
    ],
)
def test_decimal_commas(search: str, line: int, number: str) -> None:
    sentence = answer(CNN + search)
    assert sentence.startswith(f"s.yaml:{line}: ")
    assert sentence.endswith(f"write it with a point: {number}")


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
