"""A user's mistakes: each is answered with one sentence and exit code 2, and changes nothing.

Most command lines run in this process, through the same `execute` as the program; what hangs on a
process of its own (signals, pipes, encodings) runs as one.
"""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import optuna
import pytest
from optuna.trial import TrialState as OptunaState
from sqlalchemy import text

from tests.support.commands import tuner, tuner_here
from tests.support.studies import slow
from tests.support.waiting import STUCK, eventually
from tuner import artifacts, settings
from tuner.cli import completion
from tuner.commands import exporting, reading, steering
from tuner.database import studies, workers
from tuner.database.engine import Database
from tuner.errors import StudyNotFoundError
from tuner.families.bundle.requests import Evaluate, Evaluated
from tuner.search.storage import Storage
from tuner.settings import Settings
from tuner.trials import StudyState, TrialState
from tuner.winner import confirmations

STUDY = """
name: small
family: cnn
data: digits
budget: {trials: 5, epochs: 1}
search:
  learning_rate: {low: 0.001, high: 0.1}
  batch_size: 128
  optimizer: adam
  weight_decay: 0
  dropout: 0
  label_smoothing: 0
  schedule: constant
  warmup: 0
  clip_norm: 0
  depth: 1
  filters: 8
  kernel: 3
  dense: 32
  batch_norm: false
  residual: false
  shift: 0
  flip: false
"""
HOSTILE = (
    "../../x",
    "a/b",
    "/etc/x",
    "..",
    "",
    "[red]boo[/red]",
    "[/]",
    ":fire:",
    "new\nline",
    "esc\x1b[31mred\x07",
    "\u202ertl",
    "--json",
    "x" * 300,
)


class CommandResult(NamedTuple):
    """What a command returned and printed."""

    code: int
    out: str
    err: str


Line = Callable[..., CommandResult]


@pytest.fixture
def line(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Line:
    """Runs a command line in this process, in an empty folder of its own."""
    for key in [key for key in os.environ if key.startswith("TUNER_")]:
        if key not in ("TUNER_TEST_HOME", "TUNER_TEST_DATABASE_URL"):
            monkeypatch.delenv(key)
    for key in ("TUNER_DATABASE_URL", "TUNER_HOME"):
        monkeypatch.setenv(key, environment[key])
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*words: str) -> CommandResult:
        process = tuner_here(words, dict(os.environ))
        return CommandResult(process.returncode, process.stdout, process.stderr)

    return run


def error_of(result: CommandResult, code: int = 2) -> str:
    """Return the error sentence, after checking what holds for every error."""
    assert (result.code, result.out) == (code, ""), result
    sentence = result.err.removeprefix("error: ").rstrip("\n")
    assert result.err.startswith("error: "), result
    assert sentence.isprintable()  # one line, no control characters
    assert "Traceback" not in sentence
    return sentence


def files() -> set[str]:
    """Everything in the working directory."""
    return {path.as_posix() for path in Path().rglob("*")}


def write_study(text: str = STUDY, name: str = "s.yaml") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def in_optuna(database: Database, name: str, **more: Any) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(
        storage=Storage(database), study_name=name, load_if_exists=True, **more
    )


def add_trial(database: Database, name: str, learning_rate: float = 0.01, **trial: Any) -> None:
    """A trial of a study as if a worker had trained it."""
    in_optuna(database, name, direction="maximize").add_trial(
        optuna.create_trial(
            params={"learning_rate": learning_rate},
            distributions={"learning_rate": optuna.distributions.FloatDistribution(0.001, 0.1)},
            **trial,
        )
    )
    with database.transaction() as connection:
        worker_id = uuid4()
        workers.register(
            connection, worker_id, host="here", pid=1, slots=1, devices=["cpu"], version="1"
        )
        connection.execute(
            text("UPDATE tuner.trials SET worker_id = :worker WHERE started_at IS NOT NULL"),
            {"worker": worker_id},
        )


@pytest.fixture
def small(line: Line, database: Database) -> CommandResult:
    """The study `small` with one complete trial, launched."""
    result = line("launch", write_study())
    assert result.code == 0, result.err
    add_trial(database, "small", value=0.5)
    return result


# Commands that are named


def pasted(command: str) -> list[str]:
    """The words behind `tuner` of a printed command as bash reads them."""
    printer = "tuner() { printf '%s\\0' \"$@\"; }; "
    process = subprocess.run(
        ["bash", "-c", printer + command],
        env={"LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout.split("\0")[:-1]


@pytest.mark.parametrize("name", [*HOSTILE, "my study", "it's $(x) `y`", "-n"])
def test_hints_name_the_study_so_that_bash_reads_it(
    line: Line, database: Database, name: str
) -> None:
    add_trial(database, name, state=OptunaState.FAIL)
    study = reading.find(database, name)

    def state() -> StudyState:
        return reading.find(database, name).state

    result = line("pause", "--", name)
    resume = result.out.removeprefix("paused; continue with ").removesuffix("\n")
    assert state() is StudyState.PAUSED
    result = line("retry", "--", name)
    assert result.err == f"the study is paused; continue it with {resume}\n"
    assert reading.load_trial(database, study, 0).state is TrialState.WAITING
    result = line(*pasted(resume))
    assert result.out == "active; its trials run where `study.optimize` is called\n", result
    assert state() is StudyState.ACTIVE
    result = line("kill", "--", name, "0")
    retry = result.out.removeprefix("killed trial 0; ").removesuffix(" queues it again\n")
    assert line(*pasted(retry)).out == "queued again: 0\n"


def test_hints_of_a_launch_and_a_stop(
    line: Line, small: CommandResult, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names, labels, exports that are there already."""
    monkeypatch.setattr("tuner.export.evaluation.evaluate", measured)
    labelled = STUDY.replace("small", "with label") + "resources: {labels: {gpu: h200}}\n"
    result = line("launch", write_study(labelled, "l.yaml"))
    assert result.code == 0, result.err
    worker, show = (row.split("   ")[0].strip() for row in result.out.splitlines()[2:])
    assert pasted(worker) == ["worker", "--label", "gpu=h200"]
    assert line(*pasted(show)).code == 0
    assert line("stop", "with label").out == "stopped\n"  # there is nothing to export

    for options in ([], ["--force"]):  # the second time there is an export
        result = line("stop", "small")
        export = result.out.removeprefix("stopped; ").removesuffix(" exports the best so far\n")
        assert pasted(export) == ["export", "small", *options]
        assert line(*pasted(export)).code == 0
        line("resume", "small")


# Study files and data


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "s.yaml: is empty; a study needs `name`, `family` and `data`"),
        ("name: a\n  family: cnn\n", "s.yaml:2: is not valid YAML: there is a second `:` here"),
        (STUDY + "buget: {}\n", "s.yaml:24: unknown key `buget`; did you mean `budget`?"),
        (STUDY.replace("cnn", "cnnn"), "s.yaml:3: family: unknown family `cnnn`; did you mean"),
        (STUDY + "objective: {metric: acuracy}\n", "did you mean `accuracy`?"),
        (STUDY.replace("optimizer: adam", "optimizer: adm"), "did you mean `adam`?"),
        (STUDY.replace("low: 0.001", "low: 1"), "must be below high (0.1), is 1"),
    ],
)
def test_study_files(line: Line, text: str, expected: str) -> None:
    file = write_study(text)
    assert expected in error_of(line("launch", file))
    assert json.loads(line("list", "--json").out) == []


def test_a_study_file_that_is_none(line: Line) -> None:
    assert error_of(line("launch", "no.yaml")) == "no.yaml: there is no such file"
    assert error_of(line("run", ".")) == ".: is a folder, not a study file"
    assert error_of(line("run", "a\x1b[31m")) == r"a\x1b[31m: there is no such file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_study_file_that_may_not_be_read(line: Line) -> None:
    Path(write_study()).chmod(0)
    assert error_of(line("run", "s.yaml")) == "s.yaml: cannot be read: permission denied"


GOOD_ROWS = "".join(f"{'good' if n % 2 else 'bad'} thing {n},{n % 2}\n" for n in range(60))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no such file"),
        (b"", "empty"),
        (f"words,label\n{GOOD_ROWS}".encode(), "text"),
        (b"text,label\n" + b"good thing,1\n" * 60, "class"),
        (b"text,label\ngood,1\nbad,0\n", "needs at least 3"),
        (b"text,label\n\xff,1\n" * 60, "UTF-8"),
    ],
)
def test_data_files(line: Line, content: bytes | None, expected: str) -> None:
    if content is not None:
        Path("data.csv").write_bytes(content)
    file = write_study("name: a\nfamily: text_cnn\ndata: {path: data.csv}\n")
    sentence = error_of(line("launch", file))
    assert sentence.startswith("s.yaml:3: data")
    assert "data.csv" in sentence
    assert expected in sentence


def test_a_home_that_cannot_be_written(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_HOME", str(Path(write_study()).absolute()))
    sentence = error_of(line("launch", "s.yaml"))
    assert sentence.endswith(
        "s.yaml/cache: cannot be written (Not a directory); TUNER_HOME can name another folder"
    )
    checks = json.loads(line("doctor", "--json").out)
    assert {check["name"]: check["verdict"] for check in checks}["disk"] == "wrong"


# Names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b", "must not contain `/`"),
        ("a\x1b", "must not contain the control character U+001B"),
        ("a\udcff", "must not contain the control character U+DCFF"),
        ("../x", "must not start with `.`"),
        ("y" * 300, "has 300 characters; 100 are allowed"),
        ("", "must not be empty"),
    ],
)
def test_names_that_a_study_cannot_have(line: Line, name: str, expected: str) -> None:
    assert error_of(line("launch", write_study(), "--name", name)) == f"--name: name: {expected}"


@pytest.mark.parametrize(
    "words",
    [
        *(["show"], ["trials"], ["best"], ["export"], ["report"], ["retry"]),
        *(["pause"], ["resume"], ["stop"], ["delete"], ["worker", "--study"]),
    ],
    ids=lambda words: words[0],
)
def test_names_that_no_study_has(line: Line, words: list[str]) -> None:
    for name in ("a/b", "n\nl", "\x1b[31m", "\0", "\udcff", "z" * 300):
        sentence = error_of(line(*words, name))
        assert sentence.startswith("there is no study named `")
        assert sentence.endswith("; `tuner list` shows them")
        assert len(sentence) < 120
    assert files() == set()


def test_the_nearest_name_is_suggested(line: Line, small: CommandResult) -> None:
    sentence = error_of(line("show", "smal"))
    assert sentence == "there is no study named `smal`; did you mean `small`?"
    sentence = error_of(line("enqueue", "smal", "learning_rate=0.01"))
    assert sentence.endswith("did you mean `small`?")


@pytest.mark.parametrize("name", HOSTILE)
def test_names_from_optuna_break_out_of_nothing(
    line: Line, database: Database, name: str, tmp_path: Path
) -> None:
    study = in_optuna(database, name)
    study.add_trial(
        optuna.create_trial(
            value=1.0,
            params={"[b]\x1b]0;p\x07": "[red]\x9b31m"},
            distributions={
                "[b]\x1b]0;p\x07": optuna.distributions.CategoricalDistribution(["[red]\x9b31m"])
            },
        )
    )
    visible_name = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
    for words in (
        *(["list"], ["list", "--json"], ["show", "--", name], ["show", "--json", "--", name]),
        *(["trials", "--", name], ["trials", "-f", "csv", "--", name]),
        *(["best", "--", name], ["best", "--json", "--", name]),
    ):
        result = line(*words)
        assert result.code == 0, result
        assert all(c.isprintable() or c == "\n" for c in result.out), words
        assert "[red]" in result.out or words[0] == "list"
        if "--json" in words[:2]:
            json.loads(result.out)
        elif words[0] in ("list", "show"):
            assert visible_name in result.out
    assert "was made through Optuna" in error_of(line("export", "--", name))
    assert "was made through Optuna" in error_of(line("worker", f"--study={name}"))

    report = line("report", "--json", "--", name)
    (page,) = Path("reports").iterdir()
    assert json.loads(report.out) == {"study": name, "report": str(page)}
    assert page.name.endswith(".html")
    assert not page.name.startswith(".")
    assert page.name.isprintable()
    assert files() == {"reports", str(page)}
    assert {p.name for p in tmp_path.iterdir()} <= {"here", "home"}


# Studies that are there


def test_launching_what_is_there(line: Line, small: CommandResult, database: Database) -> None:
    sentence = error_of(line("launch", "s.yaml"))
    assert "a study named `small` exists already (active)" in sentence
    assert "`tuner run` with its file" in sentence
    assert "`--name`" in sentence
    line("pause", "small")
    assert "`tuner resume small`" in error_of(line("launch", "s.yaml"))
    sentence = error_of(line("run", "s.yaml", "--set", "search.depth=2"))
    assert "exists with another definition (search.depth.value: 1 → 2)" in sentence
    in_optuna(database, "theirs")
    assert "was made through Optuna" in error_of(line("run", "s.yaml", "--name", "theirs"))
    assert reading.find(database, "small").state is StudyState.PAUSED


def test_an_export_that_is_in_the_way_is_found_before_training(line: Line) -> None:
    Path("exports/small").mkdir(parents=True)
    Path("exports/small/thesis.txt").write_text("all of it")
    sentence = error_of(line("run", write_study()))
    assert sentence.startswith("exports/small: exists already and is not an export of this study")
    assert json.loads(line("list", "--json").out) == []


@pytest.mark.parametrize(
    ("name", "trial", "counted"),
    [
        ("none", None, "no trials at all"),
        ("failed", {"state": OptunaState.FAIL}, "1 failed"),
        ("pruned", {"state": OptunaState.PRUNED, "value": 0.1}, "1 pruned"),
        ("infinite", {"value": float("inf")}, "1 complete"),
    ],
)
def test_no_best_trial(
    line: Line, database: Database, name: str, trial: dict[str, Any] | None, counted: str
) -> None:
    assert line("launch", write_study(), "--name", name).code == 0
    if trial is not None:
        add_trial(database, name, **trial)
    for command in ("best", "export"):
        sentence = error_of(line(command, name))
        assert sentence.startswith(f"the study `{name}` has no complete trial")
        assert counted in sentence
    assert not Path("exports").exists()
    assert line("report", name).code == 0
    assert json.loads(line("show", name, "--json").out)["best"] is None


def test_configurations_that_cannot_be_queued(
    line: Line, small: CommandResult, database: Database
) -> None:
    for assignment, expected in (
        ("lerning_rate=1", "unknown parameter `lerning_rate`; did you mean `learning_rate`?"),
        ("learning_rate=5", "learning_rate: must be between 0.001 and 0.1, is 5"),
        ("learning_rate=abc", "learning_rate: must be a number, is the text `abc`"),
        ("learning_rate", "`learning_rate`: must be a name, `=` and a value"),
        ("learning_rate=[1]", "`learning_rate=[1]`: must be a single value, is a list"),
    ):
        assert expected in error_of(line("enqueue", "small", assignment))
    assert error_of(line("enqueue", "small")).startswith("PARAMS is missing")
    assert len(reading.load_trials(database, reading.find(database, "small"))) == 1


def test_states_that_do_not_allow_it(line: Line, small: CommandResult, database: Database) -> None:
    assert "trial 0 of `small` is complete; only failed" in error_of(line("retry", "small", "0"))
    for number in ("7", "99999999999999999999"):
        assert f"has no trial {number}" in error_of(line("retry", "small", number))
    assert "TRIAL: must be a whole number" in error_of(line("retry", "small", "x"))
    assert line("retry", "small").out == "there are no failed trials\n"
    assert "is active; stop it first: `tuner stop small`" in error_of(
        line("delete", "small", "--yes")
    )
    assert line("stop", "small").code == 0
    assert "only active studies can be paused" in error_of(line("pause", "small"))
    assert line("stop", "small").code == 0  # asking twice is no error
    assert reading.find(database, "small").state is StudyState.STOPPED


def test_delete_wants_the_name(
    line: Line, small: CommandResult, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    line("stop", "small")
    for answer in ("", "Small", "y"):
        monkeypatch.setattr("typer.prompt", lambda *_, answer=answer, **__: answer)
        result = line("delete", "small")
        assert result.code == 2
        assert "nothing was deleted" in result.err
    in_optuna(database, "")
    assert "cannot be typed" in error_of(line("delete", "--", ""))
    assert len(json.loads(line("list", "--json").out)) == 2
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "small")
    assert line("delete", "small").out == "deleted small with 1 trial\n"
    with pytest.raises(StudyNotFoundError):
        reading.find(database, "small")


# Exports


@pytest.fixture
def weights(small: CommandResult, database: Database, environment: dict[str, str]) -> Path:
    """Where the weights of the complete trial should be; something that is none lies there."""
    study = reading.find(database, "small")
    (trial,) = reading.load_trials(database, study)
    chosen = Settings(home=environment["TUNER_HOME"])
    folder = artifacts.attempt_folder(chosen, study.id, trial.number, trial.attempt)
    folder.mkdir(parents=True)
    path = folder / artifacts.WEIGHTS_FILE
    path.write_bytes(b"no weights")
    return path


def measured(request: Evaluate, **_: object) -> Evaluated:
    """Figures without measuring."""
    figures = {part: {"accuracy": 0.5} for part in request.parts}
    return Evaluated(measured=figures, intervals={}, scale=None, build="tuner.families.cnn:build")


def test_weights_that_are_gone_or_damaged(line: Line, weights: Path) -> None:
    before = files()
    sentence = error_of(line("export", "small"), code=1)
    assert sentence.startswith(f"{weights}: these weights cannot be measured: the file is damaged")
    weights.unlink()
    sentence = error_of(line("export", "small"))
    assert sentence.startswith(f"the weights of trial 0 are not in {weights.parent}")
    assert {f for f in files() if f != "exports"} == before


def test_places_where_no_export_can_be(
    line: Line, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.export.evaluation.evaluate", measured)
    assert line("export", "small").code == 0
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("all of it")
    before = files()
    assert "exports/small: exists already" in error_of(line("export", "small"))
    for words, expected in (
        (["--to", "s.yaml"], "s.yaml: exists already"),
        (["--to", "s.yaml", "--force"], "s.yaml: is a file, a folder is needed"),
        (["--to", "s.yaml/x"], "s.yaml/x: cannot be written (File exists)"),
        (["--to", "n" * 300], "cannot be written (File name too long)"),
        (["--to", "mine", "--force"], "mine: holds more than an export and is not replaced"),
        (["--to", ".", "--force"], ".: holds more than an export and is not replaced"),
    ):
        assert expected in error_of(line("export", "small", *words)), words
    assert "mine: cannot be written (Is a directory)" in error_of(
        line("report", "small", "--to", "mine")
    )
    assert files() == before
    assert line("export", "small", "--force").code == 0
    assert files() == before


@pytest.mark.parametrize(
    ("number", "code", "expected"),
    [
        (errno.ENOSPC, 1, "no space left on the device"),
        (errno.EACCES, 2, "cannot be written (Permission denied)"),
        (errno.EIO, 1, "cannot be written (Input/output error)"),
    ],
)
def test_a_disk_that_fails_leaves_nothing(
    line: Line,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    code: int,
    expected: str,
) -> None:
    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", fails)
    monkeypatch.setattr("tuner.export.evaluation.evaluate", measured)
    Path("exports").mkdir()
    Path("reports").mkdir()
    before = files()
    assert error_of(line("export", "small"), code) == f"exports/small: {expected}"
    assert error_of(line("report", "small"), code) == f"reports/small.html: {expected}"
    assert files() == before


def test_what_an_export_cannot_be(
    line: Line, weights: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_trial(database, "small", state=OptunaState.FAIL)
    for words, expected in (
        (["--trial", "1"], "trial 1 of `small` is failed; only complete trials can be exported"),
        (["--trial", "7"], "the study `small` has no trial 7"),
        (
            ["--trial", "0", "--top", "2"],
            "`--trial` exports one trial, `--top` several of the best",
        ),
        (["--config", "jason"], "--config: there is no form `jason`; did you mean `json`?"),
        (["--optuna", "sqlite:///x", "--trial", "0"], "`--optuna` copies the study; of the other"),
    ):
        assert error_of(line("export", "small", *words)).startswith(expected), words
    assert "s.yaml: cannot be read" in error_of(line("verify", "s.yaml"))
    assert error_of(line("verify", "nowhere")).startswith("nowhere: there is no such folder")
    assert not Path("exports").exists()


def test_the_test_part_is_read_for_one_trial_and_another_look_is_recorded(
    line: Line, weights: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.export.evaluation.evaluate", measured)
    add_trial(database, "small", 0.02, value=0.4)
    second = weights.parent.with_name("1.1") / artifacts.WEIGHTS_FILE
    second.parent.mkdir()
    second.write_bytes(b"no weights")
    database_rows = reading.load_trials(database, reading.find(database, "small"))
    second.parent.rename(second.parent.with_name(f"1.{database_rows[1].attempt}"))

    def export(*words: str) -> dict[str, Any]:
        result = line("export", "small", "--force", "--json", *words)
        assert result.code == 0, result.err
        return json.loads(result.out)

    def looks() -> list[int]:
        attributes = reading.find(database, "small").user_attrs
        return [look["trial"] for look in attributes["tuner:test_looks"]]

    first = export()
    assert first["metric"]["test"] == 0.5
    assert looks() == [0]
    assert export()["metric"]["test"] == 0.5  # as it was seen: nothing is read again
    assert looks() == [0]
    other = export("--trial", "1")
    assert "test" not in other["metric"]
    assert "was already read for trial 0 on " in other["notes"][-1]
    # pasted, it replaces this export, not that of the best trial in the default folder
    elsewhere = export("--trial", "1", "--to", "my other")["notes"][-1]
    assert "`tuner export small --trial 1 --to 'my other' --look-again --force`" in elsewhere
    several = export("--top", "2", "--to", "two", "--config", "toml")[1]["notes"][-1]
    paste = "--trial 1 --to two/trial-1 --config toml --look-again --force`"
    assert f"`tuner export small {paste} reads it for this trial too" in several
    assert "the study was still running" in other["notes"][0]
    assert looks() == [0]
    forced = export("--trial", "1", "--look-again")
    assert forced["metric"]["test"] == 0.5
    assert "a choice between trials that have all seen it is biased" in forced["notes"][-1]
    assert looks() == [0, 1]
    assert [look["chosen_by"] for look in forced["test_looks"]] == ["search", "user"]
    both = export("--top", "2", "--to", "both")
    assert [record["trial"] for record in both] == [0, 1]
    assert {path.name for path in Path("both").iterdir()} == {"trial-0", "trial-1"}
    again = line("export", "small", "--top", "2", "--to", "both")
    assert error_of(again).startswith("both: exists already")


def test_another_winner_of_a_confirmation_has_its_own_first_look(
    line: Line, weights: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The confirmation never reads the test part, so the figure is as good as a first one."""
    monkeypatch.setattr("tuner.export.evaluation.evaluate", measured)
    add_trial(database, "small", 0.02, value=0.4)
    second = reading.load_trials(database, reading.find(database, "small"))[1]
    folder = weights.parent.with_name(f"1.{second.attempt}")
    folder.mkdir()
    (folder / artifacts.WEIGHTS_FILE).write_bytes(b"no weights")

    def export() -> dict[str, Any]:
        answer = line("export", "small", "--force", "--json")
        assert answer.code == 0, answer.err
        return json.loads(answer.out)

    first = export()
    assert (first["trial"], first["metric"]["test"]) == (0, 0.5)
    card = (Path("exports") / "small" / "card.md").read_text()
    sentence = "The test figure is of the search's winner, which no confirmation has retrained"
    assert sentence in card
    assert line("change", "small", "confirm.seeds=3").code == 0
    assert (
        "the study file asks for a confirmation, which has not been made" in export()["notes"][-1]
    )
    candidate = {
        "values": [0.4, 0.5, 0.6], "failed": 0, "seconds": 1.0, "searched": 0.4, "mean": 0.5,
        "interval": [0.3, 0.7], "overstated_by": 0.1, "cheaper": False,
    }  # fmt: skip
    record = {
        "at": "2026-11-29", "study": "small-confirm", "winner": 1, "best_mean": 1, "seeds": 3,
        "margin": 0.01, "margin_given": False, "bound": 0.2,
        "candidates": [
            {**candidate, "number": 1, "standing": "wins"},
            {**candidate, "number": 0, "standing": "not told apart"},
        ],
    }  # fmt: skip
    with database.transaction() as connection:
        study = studies.by_name(connection, "small")
        attribute = confirmations.ATTRIBUTE
        studies.set_attribute(connection, study.id, "user_attrs", attribute, record)
    other = export()
    assert (other["trial"], other["metric"]["test"]) == (1, 0.5)
    assert [(look["trial"], look["chosen_by"]) for look in other["test_looks"]] == [
        (0, "search"), (1, "confirmation"),
    ]  # fmt: skip
    assert "and this figure is from its own first look" in other["notes"][-1]
    card = (Path("exports") / "small" / "card.md").read_text()
    assert "trial 1 was chosen by the confirmation, which never reads it" in card
    assert "With 95 % confidence, no candidate is better than trial 1 by more than 0.2." in card
    again = export()  # as it was seen: nothing is read again
    assert again["test_looks"] == other["test_looks"]
    assert len(reading.find(database, "small").user_attrs[exporting.LOOKS]) == 2


# The command line itself


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trials", "x", "--top", "0"], "--top: must be at least 1 (see `tuner trials --help`)"),
        (["trials", "x", "--format", "xml"], "--format: must be one of `table`, `csv`, `json`,"),
        (
            ["trials", "x", "--format", "parquet"],
            "--format parquet: cannot be printed; name a file with",
        ),
        (["trials", "x", "--rows", "reports"], "--rows reports: needs `--format csv`, `jsonl` or"),
        (["trials", "x", "--to", "y"], "--to: needs `--format csv`, `jsonl` or `parquet`"),
        (
            ["trials", "x", "--tensorboard", "y", "--rows", "reports"],
            "`--tensorboard` and `--mlflow`",
        ),
        (["trials", "x", "--state", "done"], "--state: must be one of `waiting`, `running`, `com"),
        (["trials", "x", "--sort", "size"], "--sort: must be one of `number`, `value`, is `size`"),
        (["trials"], "NAME is missing (see `tuner trials --help`)"),
        (["show", "x", "--bla"], "no such option: --bla (see `tuner show --help`)"),
        (["shwo"], "no such command `shwo`; did you mean `show`? (see `tuner --help`)"),
        (["list", "x"], "got unexpected extra argument"),
        (["worker", "--workers", "0"], "--workers: must be at least 1 (see"),
        (["worker", "--workers", "99999"], "--workers: must be at most 1024 (see"),
        (["worker", "--threads", "x"], "--threads: must be a whole number (see"),
        (["worker", "--device", "cpuu"], "--device: must be auto, cpu, cuda or mps, is `cpuu`"),
        (["launch", "s.yaml", "--set", "x"], "--set x: must be a name, `=` and a value; write"),
    ],
    ids=" ".join,
)
def test_words_that_are_not_understood(line: Line, words: list[str], expected: str) -> None:
    write_study()
    assert error_of(line(*words)).startswith(expected)


def test_a_device_that_is_not_there(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert "there is no NVIDIA GPU" in error_of(line("worker", "--device", "cuda"))
    assert "this is no Mac with Apple's GPU" in error_of(line("worker", "--device", "mps"))


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("LEASE_SECONDS", "-1", "must be at least 1, is `-1`"),
        ("LEASE_SECONDS", "nan", "must be a finite number, is `nan`"),
        ("DATABASE_LINGER", "abc", "must be a number, is `abc`"),
        ("LOG_LEVEL", "banana", "must be one of DEBUG, INFO, WARNING, ERROR, is `banana`"),
        ("HOME", "", "must be the path of a folder, is ``"),
        ("HOME", "~no-such-user/x", "starts with a user that has no home folder"),
    ],
)
def test_settings(
    line: Line, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(f"TUNER_{variable}", value)
    monkeypatch.setenv("TUNER_DATABASE_URL", "postgresql://u:s3cr3t@nowhere.invalid/x")
    sentence = error_of(line("list"))
    assert sentence.startswith(f"TUNER_{variable}: {expected}")
    assert "s3cr3t" not in sentence


def test_json_is_one_value(
    line: Line, small: CommandResult, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.export.evaluation.evaluate", measured)
    for words in (
        "list --json",
        "show small --json",
        "trials small --json",
        "trials small -f json",
        "best small --json",
        "export small --json",
        "report small --json",
        "families --json",
        "doctor --json",
        "db status --json",
        "schema",
        "launch s.yaml --name other --json",
        "enqueue small learning_rate=0.02 --extend --json",
        "retry small --json",
        "pause small --json",
        "resume small --json",
        "stop small --json",
        "delete small --yes --json",
    ):
        result = line(*words.split())
        assert result.code == 0, result
        json.loads(result.out)


def test_completing_the_names_of_studies(
    line: Line, small: CommandResult, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("smooth", "n\nl", "other"):
        in_optuna(database, name)
    settings.settings.cache_clear()
    assert completion.study_names("sm") == ["small", "smooth"]
    assert completion.study_names("n") == []  # what a shell cannot take is not offered
    monkeypatch.setenv("TUNER_DATABASE_URL", "postgresql://u:p@no.such.host.invalid/x")
    settings.settings.cache_clear()
    assert completion.study_names("sm") == []
    monkeypatch.delenv("TUNER_DATABASE_URL")
    settings.settings.cache_clear()
    assert completion.study_names("sm") == []  # and no server is started for it
    assert not Path(os.environ["TUNER_HOME"], "postgres").exists()


# As processes


def shell(command: str, environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """A line for bash in which `tuner` is this tuner; the exit code is tuner's."""
    called = f"{sys.executable} -m tuner"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace("tuner", called, 1)],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "code", "stderr"),
    [
        ("tuner list --json | true", 1, ""),
        ("tuner list > /dev/full", 1, "error: standard output: no space left on the device\n"),
        ("tuner trials müde -f csv >&-", 0, ""),
        # a file may not be larger than 100 kB; the report is some megabytes
        (
            "ulimit -f 100; tuner report müde",
            1,
            "error: reports/müde.html: cannot be written (File too large)\n",
        ),
        ("PYTHONIOENCODING=ascii tuner list", 0, ""),
        ("LC_ALL=C tuner show müde", 0, ""),
    ],
)
def test_where_the_output_goes(
    environment: dict[str, str],
    database: Database,
    tmp_path: Path,
    command: str,
    code: int,
    stderr: str,
) -> None:
    in_optuna(database, "müde")
    process = shell(command, environment, tmp_path)
    assert (process.returncode, process.stderr) == (code, stderr)
    leftovers = [
        path for path in tmp_path.rglob("*") if path.is_file() and "home" not in path.parts
    ]
    assert leftovers == []


def test_the_shell_completes(environment: dict[str, str], database: Database) -> None:
    in_optuna(database, "smooth")
    completion_request = {
        "_TUNER_COMPLETE": "complete_bash",
        "COMP_WORDS": "tuner show s",
        "COMP_CWORD": "2",
    }
    code = "import sys; sys.argv[0] = 'tuner'; from tuner.cli import main; main()"
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, **completion_request},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.stdout, process.stderr) == ("smooth\n", "")


def test_an_export_that_is_terminated_leaves_nothing(
    environment: dict[str, str], weights: Path
) -> None:
    command = [sys.executable, "-m", "tuner", "export", "small"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        eventually(lambda: list(Path("exports").glob(".small.*/weights.safetensors")))
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert process.stderr.read() == "error: interrupted\n"
        assert process.wait(STUCK) == 128 + signal.SIGTERM
    assert list(Path("exports").iterdir()) == []


def test_a_run_that_others_stop(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    file = slow(tmp_path, trials=3)
    command = [sys.executable, "-m", "tuner", "run", str(file), "--workers", "1"]

    def trains() -> bool:
        try:
            study = reading.find(database, "slow")
        except StudyNotFoundError:
            return False
        return any(
            t.state is TrialState.RUNNING and t.reports
            for t in reading.load_trials(database, study)
        )

    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        eventually(trains)
        steering.pause(database, "slow")
        assert process.stderr is not None
        stderr = process.stderr.read()
        assert process.wait(STUCK) == 1
    assert "paused: paused by the user" in stderr
    assert "--state failed" not in stderr  # nothing has failed
    _, hint = stderr.split(". Continue with `")
    assert hint == f"python -m tuner run {file} --workers 1`\n"

    # running it again takes it up; SIGTERM is answered as Ctrl-C
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        eventually(trains)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        stderr = process.stderr.read()
        assert process.wait(STUCK) == 128 + signal.SIGTERM
    assert "Continue with" in stderr
    study = reading.find(database, "slow")
    assert study.state is StudyState.PAUSED
    assert {t.state for t in reading.load_trials(database, study)} == {TrialState.WAITING}
    assert not (tmp_path / "exports").exists()


def test_help_is_grouped(environment: dict[str, str], tmp_path: Path) -> None:
    process = tuner("--help", environment=environment)
    positions = [
        process.stdout.index(f" {title} ")
        for title in ("Launch and work", "Inspect and export", "Steer", "Installation")
    ]
    assert positions == sorted(positions)
    wide = tuner("run", "--help", environment={**environment, "COLUMNS": "300"})
    paragraph = next(line for line in wide.stdout.splitlines() if "If the file has" in line)
    assert "the best family is exported. Ctrl-C, SIGTERM" in paragraph  # no docstring's line ends
    home = tmp_path / "shell"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    # it looks for a shell among its parents
    below = ["bash", "-c", '"$@"; exit $?', "bash", sys.executable, "-m", "tuner"]
    process = subprocess.run(
        [*below, "--install-completion"],
        env={**environment, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert list(home.rglob("tuner.sh"))
