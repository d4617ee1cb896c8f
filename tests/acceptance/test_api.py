"""tuner from Python and notebooks."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tuner
from tests.support import docstrings
from tests.support.measuring import measuring_here
from tuner import settings
from tuner.api import Study, connection
from tuner.errors import (
    AllTrialsFailedError,
    BadInputError,
    ExecutorError,
    NothingToExportError,
    SpecError,
    StudyExistsError,
    StudyNotFoundError,
    TunerError,
)
from tuner.trials import StudyState

MODULE = """
def train(trial):
    for step in range(1, 4):
        trial.report(trial.params["x"] * step, step=step)
"""
STUDY: dict[str, Any] = {
    "name": "<b>mine</b>",
    "family": "function",
    "function": "code_for_api:train",
    "objective": {"metric": "loss", "direction": "minimize"},
    "search": {"x": {"low": 0.0, "high": 1.0}},
    "budget": {"trials": 12, "epochs": 3},
    "pruner": "none",
    "resources": {"workers": 1},
}


@pytest.fixture
def here(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """This process works on the test's database, in a folder with the code."""
    (tmp_path / "code_for_api.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", measuring_here(subprocess.run))
    for key in ("TUNER_DATABASE_URL", "TUNER_HOME"):
        monkeypatch.setenv(key, environment[key])
    settings.settings.cache_clear()
    connection.database.cache_clear()
    yield tmp_path
    connection.database().close()
    connection.database.cache_clear()
    settings.settings.cache_clear()


def test_a_study_is_run_looked_at_and_exported(here: Path) -> None:
    study = tuner.run({**STUDY, "name": "mine"}, overrides=["seed=3"], workers=1)
    assert study.state is StudyState.FINISHED
    frame = study.trials
    assert list(frame["number"]) == list(range(12))
    assert set(frame["state"]) == {"complete"}
    assert frame["loss"].min() == study.best.value
    assert frame["param.x"].between(0, 1).all()
    assert study.best.params["x"] == frame.loc[study.best.number, "param.x"]
    for figure in (study.plot.history(), study.plot.curves(), study.plot.parallel()):
        assert figure.data
    assert study.plot.slices().data
    assert study.plot.importance().data
    exported = study.export(formats=["toml"])
    assert exported.folder == Path("exports/mine")
    assert (here / "exports" / "mine" / "config.toml").read_text().startswith("x = ")
    assert "12 of 12 done" in repr(study)
    assert repr(tuner.study("mine")) == repr(study)
    assert str(study.best.number) in repr(study.best)
    with pytest.raises(StudyExistsError):
        tuner.launch({**STUDY, "name": "mine"}, overrides=["seed=3"])


def test_the_examples_of_studies_run(here: Path) -> None:
    (here / "parabola.py").write_text("def train(trial): trial.report(trial.params['x'] ** 2)\n")
    (here / "parabola.yaml").write_text(
        "name: parabola\nfamily: function\nfunction: parabola:train\n"
        "objective: {metric: loss, direction: minimize}\n"
        "search: {x: {low: -1.0, high: 1.0}}\nbudget: {trials: 12}\n"
    )
    for item in (*docstrings.OF_STUDIES, *docstrings.OF_OPTUNA):
        docstrings.run_examples(item)


def test_a_run_of_which_all_trials_fail_raises_what_failed(here: Path) -> None:
    (here / "code_for_api.py").write_text("def train():\n    return 1.0\n")
    with pytest.raises(AllTrialsFailedError) as raised:
        tuner.run({**STUDY, "name": "wrong one"}, workers=1)
    assert str(raised.value) == (
        "the study `wrong one` has no complete trial, so there is no best one (2 failed); the "
        "latest failure, trial 1 (user_error): TypeError: train() takes 0 positional arguments "
        "but 1 was given. Once that is corrected, `tuner retry 'wrong one'` queues failed trials "
        "again"
    )
    (here / "code_for_api.py").write_text(MODULE)  # the call after the correction
    study = tuner.run({**STUDY, "name": "wrong one"}, workers=1)
    assert set(study.trials["state"]) == {"complete"}
    longer = tuner.run({**STUDY, "name": "mine", "seed": 3}, overrides=["budget.trials=13"])
    assert len(longer.all_trials) == 13
    confirmed = tuner.run(
        {**STUDY, "name": "mine", "seed": 3, "confirm": {"top": 2, "seeds": 2}},
        overrides=["budget.trials=13"],
    )
    assert len(confirmed.all_trials) == 13
    assert [len(tuner.study("mine-confirm").all_trials)] == [4]
    content = confirmed.export(force=True).content
    assert content["metric"]["confirmed"]["won"]
    assert content["trial"] == confirmed.best.number


def test_several_families_are_an_experiment(here: Path) -> None:
    rows = [f"{word} {number},{word}" for number in range(20) for word in ("good", "bad")]
    (here / "reviews.csv").write_text("text,label\n" + "\n".join(rows))
    definition: dict[str, Any] = {
        "name": "words",
        "family": {"tfidf": None, "bow": {"budget": {"trials": 1}}},
        "data": {"path": "reviews.csv"},
        "budget": {"trials": 2, "epochs": 1},
        "search": {"hidden": 0},
        "resources": {"workers": 1, "device": "cpu", "threads": 1},
    }
    experiment = tuner.run(definition)
    assert repr(experiment) == repr(tuner.experiment("words"))
    assert {f: len(s.all_trials) for f, s in experiment.studies.items()} == {"tfidf": 2, "bow": 1}
    assert list(experiment.trials["family"]) == ["tfidf", "tfidf", "bow"]
    assert list(experiment.comparison["trials"].sort_values()) == [1, 2]
    assert (
        experiment.best.value
        == experiment.comparison["best"][0]
        == experiment.comparison["best"].max()
    )
    assert "words-bow" in experiment._repr_html_()
    exported = experiment.export()
    assert [e.folder for e in exported] == [
        Path("exports/words-families/tfidf"), Path("exports/words-families/bow"),
    ]  # fmt: skip
    assert all((e.folder / "manifest.json").is_file() for e in exported)
    for item in docstrings.OF_EXPERIMENTS:
        docstrings.run_examples(item)
    with pytest.raises(StudyNotFoundError):
        tuner.experiment("words-bow")


def test_a_notebook_sees_it_live_and_names_run_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views: list[str] = []
    handle = SimpleNamespace(update=lambda study: views.append(study._repr_html_()))
    modules = {"IPython": ModuleType("IPython"), "IPython.display": ModuleType("display")}
    modules["IPython"].get_ipython = object  # type: ignore[attr-defined]
    modules["IPython.display"].display = lambda *_, **__: handle  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    tuner.run({**STUDY, "name": "<i>x<i>"}, overrides=["budget.trials=2"])
    assert "2 of 2 done" in views[-1]
    assert "best loss" in views[-1]
    assert "&lt;i&gt;x&lt;i&gt;" in views[-1]
    assert "<i>" not in views[-1]


def test_mistakes_are_errors_with_a_sentence(here: Path) -> None:
    with pytest.raises(SpecError, match="unknown key `tirals`; did you mean `trials`"):
        tuner.launch({**STUDY, "name": "a", "budget": {"tirals": 3}})
    with pytest.raises(BadInputError, match=r"nowhere\.yaml"):
        tuner.run("nowhere.yaml")
    with pytest.raises(StudyNotFoundError):
        tuner.study("nothing")
    empty = tuner.launch({**STUDY, "name": "empty"})
    with pytest.raises(NothingToExportError, match="has no complete trial"):
        empty.best  # noqa: B018
    with pytest.raises(TunerError):
        empty.plot.history()
    assert len(empty.trials) == 0
    assert "0 of 12 done" in empty._repr_html_()


def test_a_worker_that_cannot_start_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExecutorError, match=r"the worker ended with code 2: .*--workers: must be"):
        tuner.run({**STUDY, "name": "never"}, workers=0)


def test_without_pandas_it_is_said(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.api.studies.find_spec", lambda _: None)
    with pytest.raises(BadInputError, match=r"pip install 'tuner\[notebook\]'"):
        tuner.launch({**STUDY, "name": "b"}).trials  # noqa: B018


def test_the_notebook_of_the_documentation_runs_and_shows_what_it_says(here: Path) -> None:
    path = Path(__file__).parents[2] / "docs" / "own-function.ipynb"
    space: dict[str, Any] = {}
    compared = 0
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        body = ast.parse("".join(cell["source"])).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), str(path), "exec"), space)
        value = None if last is None else eval(compile(ast.unparse(last), str(path), "eval"), space)
        for output in cell["outputs"]:
            if output["output_type"] == "execute_result":
                assert repr(value) == "".join(output["data"]["text/plain"])
                compared += 1
    assert compared == 3


def test_numpys_values_are_taken_and_others_named_by_their_field(here: Path) -> None:
    search = {
        "x": {"low": np.float32(0.5), "high": np.int64(2)},
        "n": np.arange(2, 5),
        "flag": [np.True_, np.False_],
        "k": range(2),
    }
    study = tuner.launch({**STUDY, "name": "numpy", "folder": Path(), "search": search})
    assert isinstance(study, Study) and study.record.spec is not None
    stored = {p["name"]: p for p in study.record.spec["space"]["parameters"]}
    assert (stored["x"]["type"], stored["x"]["low"], stored["x"]["high"]) == ("float", 0.5, 2.0)
    assert stored["n"]["choices"] == [2, 3, 4]
    assert stored["flag"]["choices"] == [True, False]
    assert stored["k"]["choices"] == [0, 1]
    with pytest.raises(SpecError, match=r"^search\.x: .* is a set$"):
        tuner.launch({**STUDY, "name": "set", "search": {"x": {1, 2}}})
    with pytest.raises(BadInputError, match="path of a study file or its content, is a list"):
        tuner.launch([STUDY])  # type: ignore[arg-type]
