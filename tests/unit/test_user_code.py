"""What user code receives: trials, checkpoints, its files; and what it may report."""

import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tuner
from tests.support.training import Recorder
from tuner import testing
from tuner.errors import SpecError, TunerError
from tuner.families import function
from tuner.study_file.code import Code
from tuner.study_file.load import loads
from tuner.training.causes import cause
from tuner.training.cohort import Cohort, Decision, FailedError, Task
from tuner.trials import Cause, Study, StudyState
from tuner.user_code import reported, source
from tuner.user_code.checkpoint import Checkpoint
from tuner.user_code.trial import Stopped
from tuner.worker.consent import Consent

MODULE = """
import os, sys
import helper

def train(trial):
    trial.report(trial.params["x"], loss=1)
    return helper.twice(trial.params["x"])

def silent(trial):
    pass

def endless(trial):
    while True:
        trial.report(0.5)

def raising_once_stopped(trial):
    while not trial.should_stop():
        trial.report(0.5)
    raise ValueError("that was it")

def ends_by(trial):
    sys.exit(trial.params["code"])

def returns(trial):
    return eval(trial.params["expression"])

def reports(trial):
    trial.report(eval(trial.params["expression"]))

def leaves_a_child(trial):
    import subprocess
    return subprocess.Popen(["sleep", "1000"]).pid

def where(trial):
    assert os.getcwd() == trial.params["folder"], os.getcwd()
    return 1.0

def deep(trial):
    import tuner
    tuner.current_trial().report(trial.params["x"])
    assert tuner.current_trial() is trial

NUMBER = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a user's module."""
    (tmp_path / "user_code.py").write_text(MODULE)
    (tmp_path / "helper.py").write_text("def twice(x):\n    return 2 * x\n")
    return tmp_path


def code(folder: Path, name: str) -> Code:
    user_code = Code(folder=folder, function=f"user_code:{name}")
    return user_code.model_copy(update={"fingerprint": source.fingerprint(user_code)})


def call(own: Code, context: Recorder | None = None, *, epochs: int = 0, **params: Any) -> Recorder:
    """Run a function as an executor does."""
    context = context or Recorder()
    task = Task(number=7, attempt=1, params=params, seed=3, folder=own.folder / "7.1")
    cohort = Cohort(
        study="s",
        family="function",
        data=None,
        fingerprint="",
        metric="loss",
        direction="minimize",
        epochs=epochs,
        early_stop=None,
        precision="auto",
        device="cpu",
        threads=1,
        cache=own.folder,
        tasks=(task,),
        code=own,
    )
    function.run(cohort, context)
    return context


# The function in an executor


def test_what_a_function_returns_is_the_result(folder: Path) -> None:
    context = call(code(folder, "train"), x=0.25)
    assert context.finished == {7: (0.5, None)}
    (report,) = context.reports[7]
    assert (report.step, report.value, report.metrics) == (1, 0.25, {"loss": 1.0})


def test_the_current_trial_of_a_function_is_its_own(folder: Path) -> None:
    assert call(code(folder, "deep"), x=0.25).finished == {7: (0.25, None)}
    assert tuner.current_trial().params == {}  # behind it, as in a program that is run by hand


def test_a_function_works_in_its_folder(folder: Path) -> None:
    before = Path.cwd(), list(sys.path)
    assert call(code(folder, "where"), folder=str(folder)).finished
    assert (Path.cwd(), sys.path) == before


def test_the_best_report_is_the_result_of_a_function_that_returns_nothing(folder: Path) -> None:
    context = call(code(folder, "endless"), epochs=5)
    assert context.finished == {7: (0.5, None)}
    assert [report.step for report in context.reports[7]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("decision", [Decision.PRUNE, Decision.PAUSE, Decision.STOP])
@pytest.mark.parametrize("name", ["endless", "raising_once_stopped"])
def test_a_function_that_was_stopped_has_no_result(
    folder: Path, name: str, decision: Decision
) -> None:
    saved = folder / "7.1" / "checkpoint" / "000001"
    saved.mkdir(parents=True)
    context = Recorder(lambda _, report: decision if report.step == 3 else Decision.GO_ON)
    call(code(folder, name), context)
    assert (context.finished, context.problems) == ({}, {})
    assert context.paused_trials == ([7] if decision is Decision.PAUSE else [])
    assert len(context.reports[7]) == 3
    assert saved.exists()  # the worker removes it once a pruned trial's end is stored


@pytest.mark.parametrize(
    ("name", "params", "sentence"),
    [
        ("silent", {}, "the code has ended without reporting anything"),
        ("ends_by", {"code": 3}, r"the function called exit\(3\)"),
        ("ends_by", {"code": 0}, "the code has ended without reporting anything"),
        ("returns", {"expression": "{}"}, "what the function returns must be a number, is a dict"),
        ("returns", {"expression": "'0.5'"}, "must be a number, is '0.5'; return the metric, or"),
        ("NUMBER", {}, "`user_code:NUMBER` is no function"),
    ],
)
def test_failures_are_told(
    folder: Path, name: str, params: Mapping[str, Any], sentence: str
) -> None:
    with pytest.raises(FailedError, match=sentence) as caught:
        call(code(folder, name), **params)
    assert caught.value.cause is Cause.USER_ERROR


@pytest.mark.parametrize("name", ["returns", "reports"])
@pytest.mark.parametrize("value", ["float('nan')", "float('inf')", "-10**400"])
def test_what_is_not_finite_has_diverged(folder: Path, name: str, value: str) -> None:
    context = call(code(folder, name), expression=value)
    assert context.finished == {}
    assert context.problems.keys() == {7}


@pytest.mark.slow
def test_processes_that_a_function_leaves_are_killed(folder: Path) -> None:
    ((pid, _),) = call(code(folder, "leaves_a_child")).finished.values()
    assert not Path(f"/proc/{int(pid)}").exists()


def test_changed_code_is_refused_and_new_code_is_imported(folder: Path) -> None:
    before = code(folder, "train")
    assert call(before, x=1.0).finished == {7: (2.0, None)}
    (folder / "helper.py").write_text("def twice(x):\n    return 2 * x + 1\n")
    module = folder / "user_code.py"
    module.write_text(MODULE + "# changed\n")
    after = code(folder, "train")
    assert call(after, x=1.0).finished == {7: (3.0, None)}
    with pytest.raises(TunerError, match="has changed since the study was launched"):
        call(before, x=1.0)


def test_code_of_the_same_size_corrected_at_once_is_not_run_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's cache knows a source by its size and the second of its change."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    module = folder / "user_code.py"
    for loss in (1, 2):
        module.write_text(MODULE.replace("loss=1", f"loss={loss}"))
        os.utime(module, (1_000_000, 1_000_000))
        (report,) = call(code(folder, "train"), x=1.0).reports[7]
        assert report.metrics == {"loss": loss}
    assert not (folder / "__pycache__").exists()
    assert not sys.dont_write_bytecode


# Its files


def test_the_fingerprint_covers_a_package(tmp_path: Path) -> None:
    package = tmp_path / "pack"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__.py", "a.py", "inner/b.py"):
        (package / name).write_text("def f(): ...\n")
    own = Code(folder=tmp_path, function="pack.a:f")
    fingerprints = {source.fingerprint(own)}
    (package / "inner" / "b.py").write_text("def f(): pass\n")
    fingerprints.add(source.fingerprint(own))
    (tmp_path / "other.py").write_text("def f(): pass\n")
    fingerprints.add(source.fingerprint(own))
    assert len(fingerprints) == 2


@pytest.mark.parametrize(
    ("text", "function", "sentence"),
    [
        ("x = 1", "trian", "`user_code` defines no `trian`; it defines x"),
        ("def train(): ...", "trian", "defines no `trian`; did you mean `train`?"),
        ("def f(:\n", "f", "user_code.py:1: invalid syntax"),
    ],
)
def test_functions_that_are_not_there(
    tmp_path: Path, text: str, function: str, sentence: str
) -> None:
    (tmp_path / "user_code.py").write_text(text)
    with pytest.raises(SpecError) as caught:
        source.fingerprint(Code(folder=tmp_path, function=f"user_code:{function}"))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("train.py:train", "; did you mean `train:train`?"),
        ("./src/train.py", "; did you mean `src.train:train`?"),
        ("src/train:fit", "; did you mean `src.train:fit`?"),
        ("train", ""),
        ("train:fit()", ""),
        ("a:b:c", ""),
    ],
)
def test_functions_are_written_as_python_imports_them(value: str, hint: str) -> None:
    head = "name: x\nfamily: function\nobjective: {metric: accuracy}\nsearch: {x: 1}\n"
    with pytest.raises(SpecError) as caught:
        loads(f"{head}function: {value}\n", name="s.yaml")
    sentence = f"must be written as `module:function`, is the text `{value}`{hint}"
    assert str(caught.value) == f"s.yaml:5: function: {sentence}"


def test_modules_are_looked_for_in_the_folder_alone(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"there is no module `os` in "):
        source.fingerprint(Code(folder=tmp_path, function="os:system"))


@pytest.mark.parametrize(
    "text",
    [
        "def f(): ...",
        "async def f(): ...",
        "class f: ...",
        "f = print",
        "from os import path as f",
        "import f.g",
        "try:\n    from a import f\nexcept ImportError:\n    f = None",
        "from a import *",
        "if True:\n    f: int = 3",
    ],
)
def test_names_are_found_however_they_are_defined(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.py").write_text(text)
    assert source.fingerprint(Code(folder=tmp_path, function="m:f"))


def test_a_worker_does_not_serve_a_study_of_other_code(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = Study("mine", StudyState.ACTIVE, ("minimize",), ("loss",), "function", {}, 9)
    own, consent = code(folder, "train"), Consent(allow_code=True)
    assert consent.has_code(study, own)
    (folder / "user_code.py").write_text(MODULE + "# changed\n")
    logging.getLogger("tuner").propagate = True  # a command line in this process has configured it
    assert [consent.has_code(study, own) for _ in range(3)] == [False] * 3
    (message,) = caplog.messages  # not once a second
    assert message.startswith("mine is not served: the code in ")
    (folder / "user_code.py").unlink()
    assert not consent.has_code(study, own)
    assert "cannot be run here: function: there is no module `user_code`" in caplog.messages[-1]


# Trials and what they report


def test_a_trial_without_a_service(tmp_path: Path) -> None:
    trial = testing.trial(folder=tmp_path, stop_at=3, seed=5, lr=0.1, name="x")
    assert isinstance(trial, tuner.Trial)
    assert (trial.params, trial.seed) == ({"lr": 0.1, "name": "x"}, 5)
    with pytest.raises(TypeError):
        trial.params["lr"] = 1  # type: ignore[index]
    trial.report(np.float32(0.5), loss=torch.tensor(2.0))
    trial.report(1)
    assert not trial.should_stop()
    trial.report(0.25, step=3)
    assert trial.should_stop()
    with pytest.raises(Stopped) as caught:
        trial.report(0.1)
    assert caught.value.code == 0
    assert trial.reports == [(1, 0.5, {"loss": 2.0}), (2, 1.0, {}), (3, 0.25, {})]
    assert trial.artifacts.is_dir()


@pytest.mark.parametrize(
    ("value", "step", "error", "sentence"),
    [
        ("0.5", 1, TypeError, "the value must be a number, is '0.5'"),
        (True, 1, TypeError, "the value must be a number, is True"),
        (None, 1, TypeError, "is a NoneType"),
        (np.zeros(3), 1, TypeError, r"is a ndarray of shape \(3,\)"),
        (torch.zeros(2, 2), 1, TypeError, r"is a Tensor of shape \(2, 2\)"),
        (1.0, -1, ValueError, r"the step must be between 0 and 2\^53, is -1"),
        (1.0, 10**20, ValueError, r"the step must be between 0 and 2\^53"),
        (1.0, 1.5, TypeError, "the step must be a whole number, is 1.5"),
        (1.0, math.nan, TypeError, "the step must be a whole number, is nan"),
    ],
)
def test_wrong_reports(
    tmp_path: Path, value: Any, step: Any, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        testing.trial(folder=tmp_path).report(value, step)


def test_names_of_metrics_are_printable(tmp_path: Path) -> None:
    trial = testing.trial(folder=tmp_path)
    with pytest.raises(ValueError, match="the name of a metric"):
        trial.report(1.0, **{"a\0b": 1.0})
    with pytest.raises(ValueError, match="at most 100 metrics"):
        trial.report(1.0, **{f"m{n}": 1.0 for n in range(101)})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
LINE = st.fixed_dictionaries(
    {}, optional={"step": JSON, "value": JSON, "metrics": JSON, "other": JSON}
)


@given(JSON | LINE)
def test_a_line_is_a_report_or_has_a_sentence_of_what_is_wrong(line: Any) -> None:
    try:
        step, value, metrics = reported.parse(line, 4)
    except (TypeError, ValueError) as error:
        assert 0 < len(str(error)) < 300
    else:
        assert 0 <= step <= 2**53
        assert all(isinstance(v, float) for v in (value, *metrics.values()))
        json.dumps([step, value, metrics]).encode()


# Checkpoints


def test_checkpoints_appear_whole_and_the_newest_counts(tmp_path: Path) -> None:
    saving = Checkpoint(tmp_path / "2", [tmp_path / "1"])
    assert saving.latest is None
    with Checkpoint(tmp_path / "1").save() as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a").write_text("first attempt")
    assert saving.latest == tmp_path / "1" / "000001"
    for number in range(1, 12):
        with saving.save() as folder:
            (folder / "a").write_text(str(number))
            assert (saving.latest or tmp_path).parent == tmp_path / ("1" if number == 1 else "2")
    assert saving.latest is not None
    assert (saving.latest / "a").read_text() == "11"
    with pytest.raises(RuntimeError), saving.save() as folder:
        (folder / "a").write_text("half")
        raise RuntimeError
    assert (saving.latest / "a").read_text() == "11"
    assert [path.name for path in (tmp_path / "2").iterdir()] == ["000011"]


# What is loaded


@pytest.mark.slow
def test_user_code_loads_neither_torch_nor_pydantic() -> None:
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            "import tuner, tuner.testing, sys; tuner.Trial; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"torch", "numpy", "pydantic", "optuna"} & set(process.stdout.split())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("OutOfMemoryError", Cause.OUT_OF_MEMORY),
        ("ResourceExhaustedError", Cause.OUT_OF_MEMORY),
        ("ValueError", Cause.USER_ERROR),
    ],
)
def test_frameworks_out_of_memory_are_known_by_name(name: str, expected: Cause) -> None:
    assert cause(type(name, (Exception,), {})("x: MemoryError")) is expected
    assert cause(RuntimeError("RESOURCE_EXHAUSTED: no space")) is Cause.OUT_OF_MEMORY
