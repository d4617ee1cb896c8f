"""One file that names several families becomes a study of each, with every line kept."""

from pathlib import Path
from typing import cast

import pytest

from tuner import families
from tuner.commands import experiments
from tuner.commands.experiments import searchable_parameters
from tuner.database.engine import Database
from tuner.errors import SpecError
from tuner.settings import Settings
from tuner.study_file.load import Source, load_all
from tuner.study_file.resolved import ResolvedSpec

HEAD = "name: reviews\ndata: {path: reviews.csv}\n"


def loaded(folder: Path, text: str, *overrides: str) -> dict[str, Source]:
    file = folder / "x.yaml"
    file.write_text(text, encoding="utf-8")
    _, sources = load_all(file, overrides, parameters=searchable_parameters)
    return {source.spec.family: source for source in sources}


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        loaded(folder, text, *overrides)
    return str(caught.value).replace(f"{folder}/", "").split("\n")


def test_a_list_makes_a_study_of_each(tmp_path: Path) -> None:
    found = loaded(tmp_path, HEAD + "family: [tfidf, rnn]\nbudget: {trials: 7}\nseed: 3\n")
    assert [s.spec.name for s in found.values()] == ["reviews-tfidf", "reviews-rnn"]
    assert all(s.spec.budget.trials == 7 and s.spec.seed == 3 for s in found.values())
    assert found["rnn"].spec.data == found["tfidf"].spec.data


def test_any_other_file_is_the_study_that_it_is(tmp_path: Path) -> None:
    found = loaded(tmp_path, HEAD + "family: rnn\n")
    assert found["rnn"].spec.name == "reviews"


def test_what_differs_holds_over_what_all_share(tmp_path: Path) -> None:
    text = HEAD + (
        "family:\n  tfidf:\n  rnn:\n    budget: {epochs: 3}\n    search: {cell: lstm}\n"
        "    pruner: none\n"
        "budget: {trials: 5, epochs: 9}\nsearch: {learning_rate: 0.1}\npruner: median\n"
    )
    found = loaded(tmp_path, text, "budget.trials=6")
    rnn, tfidf = found["rnn"].spec, found["tfidf"].spec
    assert (rnn.budget.trials, rnn.budget.epochs, rnn.pruner.name) == (6, 3, "none")
    assert (tfidf.budget.trials, tfidf.budget.epochs, tfidf.pruner.name) == (6, 9, "median")
    assert rnn.search.keys() == {"learning_rate", "cell"}
    assert tfidf.search.keys() == {"learning_rate"}


def test_what_only_some_families_have_is_for_these(tmp_path: Path) -> None:
    text = HEAD + (
        "family: [tfidf, rnn]\nsearch: {cell: lstm, idf: true, dropout: 0.1, nonsense: 1}\n"
        "enqueue:\n- {idf: true}\n- {cell: lstm}\n- {dropout: 0.2}\n"
    )
    found = loaded(tmp_path, text)
    assert found["rnn"].spec.search.keys() == {"cell", "dropout", "nonsense"}
    assert found["tfidf"].spec.search.keys() == {"idf", "dropout", "nonsense"}
    assert found["rnn"].spec.enqueue == ({"cell": "lstm"}, {"dropout": 0.2})
    rnn = found["rnn"].origins
    assert [rnn["enqueue", 0], rnn["enqueue", 1]] == [
        f"{tmp_path}/x.yaml:{line}" for line in (7, 8)
    ]


def test_mistakes_have_the_lines_of_the_file(tmp_path: Path) -> None:
    assert problems(
        tmp_path,
        HEAD
        + "family:\n  tfidf:\n  rnn:\n    budget: {epochs: 0}\nbudget: {trials: x}\nseeed: 1\n",
    ) == [
        "x.yaml:6: family.rnn: budget.epochs: must be at least 1, is `0`",
        "x.yaml:7: budget.trials: must be a whole number, is the text `x`",
        "x.yaml:8: unknown key `seeed`; did you mean `seed`?",
    ]


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("[]", "x.yaml:3: family: must name at least one family"),
        ("[tfidf, 3]", "x.yaml:3: family[1]: must be the name of a family, is `3`"),
        ("[rnn, rnn]", "x.yaml:3: family[1]: `rnn` is named twice"),
        ("{rnn: 3}", "must hold what differs in this family"),
        ("{rnn: {budgett: {}}}", "unknown key `budgett`; did you mean `budget`?"),
        ("{rnn: {data: digits}}", "families are compared on the same data by the same metric"),
        ("[tfidf, command]", "brings its own data"),
    ],
)
def test_families_that_cannot_be_named_so(tmp_path: Path, family: str, expected: str) -> None:
    (found,) = problems(tmp_path, HEAD + f"family: {family}\n")
    assert expected in found


def test_a_file_is_resolved_once_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text("def train(trial):\n    return 1.0\n")
    file = tmp_path / "x.yaml"
    file.write_text(
        "name: x\nfamily: function\nfunction: own:train\nsearch: {x: [1, 2]}\n"
        "objective: {metric: loss, direction: minimize}\n"
    )
    resolved = []

    def resolve(source: Source) -> ResolvedSpec:
        resolved.append(source.name)
        return families_resolve(source)

    families_resolve = families.resolve
    monkeypatch.setattr(families, "resolve", resolve)
    # user code takes no word vectors from other studies: the database is not read
    (prepared,) = experiments.prepare(cast(Database, None), file, Settings(home=tmp_path))
    assert prepared.spec.name == "x"
    assert resolved == [str(file)]
