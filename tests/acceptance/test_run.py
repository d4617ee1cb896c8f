"""A newcomer's way: run a study, look at it, export the best, repeat it."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.numpy import load_file

from tests.support.commands import ok, tuner
from tests.support.studies import quick, slow
from tests.support.waiting import STUCK, eventually
from tuner.commands import reading
from tuner.database.engine import Database
from tuner.errors import StudyNotFoundError
from tuner.trials import StudyState, TrialState


def test_from_a_study_file_to_a_verified_export(
    environment: dict[str, str], tmp_path: Path
) -> None:
    file = quick(tmp_path, "first", trials=8, epochs=4)
    run = {"environment": environment, "cwd": tmp_path}
    result = ok("run", str(file), "--json", process=True, **run)
    assert result["study"]["state"] == "finished"
    assert sum(result["counts"].values()) == 8
    best = result["best"]
    assert best["metric"]["validation"] == best["metric"]["validation_from_weights"]
    assert 0.3 < best["metric"]["test"] <= 1

    folder = tmp_path / "exports" / "first"
    assert {p.name for p in folder.iterdir()} == {
        *("card.md", "config.yaml", "lock.txt", "manifest.json", "predict.py"),
        *("preprocessing.json", "reproduce.yaml", "result.json", "weights.safetensors"),
    }
    assert json.loads((folder / "result.json").read_text()) == best
    assert yaml.safe_load((folder / "config.yaml").read_text()) == best["params"]
    assert "features.0.weight" in load_file(folder / "weights.safetensors")

    trials = ok("trials", "first", "--json", **run)
    assert [t["number"] for t in trials] == list(range(8))
    ends = {t["state"] for t in trials}
    assert ends <= {"complete", "pruned"}
    complete = [t for t in trials if t["state"] == "complete"]
    assert max(t["values"][0] for t in complete) == best["metric"]["validation"]
    assert all(len(t["reports"]) == 4 for t in complete)
    rows = list(csv.DictReader(io.StringIO(ok("trials", "first", "-f", "csv", **run))))
    assert [int(row["number"]) for row in rows] == list(range(8))
    assert {row["param.optimizer"] for row in rows} <= {"adam", "adamw"}
    lines = ok("trials", "first", "-f", "jsonl", "--rows", "attempts", **run)
    attempts = [json.loads(line) for line in lines.splitlines()]
    assert [(attempt["trial"], attempt["attempt"]) for attempt in attempts] == [
        (n, 1) for n in range(8)
    ]
    assert {attempt["outcome"] for attempt in attempts} <= {"complete", "pruned"}
    assert "learning_rate" in ok("trials", "first", "--top", "3", "--sort", "value", **run)
    assert yaml.safe_load(ok("best", "first", **run)) == best["params"]
    assert ok("best", "first", "--json", **run)["params"] == best["params"]
    assert [s["name"] for s in ok("list", "--json", **run)] == ["first"]
    assert "search space" in ok("show", "first", **run)
    assert ok("show", "first", "--json", **run)["counts"]["complete"] == len(complete)

    ok("report", "first", **run)
    page = (tmp_path / "reports" / "first.html").read_text(encoding="utf-8")
    assert "first" in page
    assert "learning_rate" in page

    # it is finished: nothing is trained again, and the folder is its own
    again = ok("run", str(file), "--json", **run)
    assert again["best"] == best

    # an export is never overwritten unasked
    refused = tuner("export", "first", **run)
    assert refused.returncode == 2
    assert "exists already" in refused.stderr
    ok("export", "first", "--force", process=True, **run)
    verified = ok("verify", str(folder), "--predict", "--json", process=True, **run)
    assert [check["name"] for check in verified["checks"]] == [
        *("files", "figures", "predictions", "training")
    ]
    assert verified["passed"], verified
    training = verified["checks"][-1]
    assert training["claimed"] == training["found"] == best["metric"]["validation"]

    # the exported study file trains the same weights again, to the last bit
    repeated = ok("run", str(folder / "reproduce.yaml"), "--json", **run)
    assert repeated["best"]["metric"]["validation"] == best["metric"]["validation"]
    mine = load_file(folder / "weights.safetensors")
    theirs = load_file(tmp_path / "exports" / "first-reproduced" / "weights.safetensors")
    assert all((mine[name] == theirs[name]).all() for name in mine)

    refused = tuner("delete", "first", **run)  # asks, and nobody answers
    assert refused.returncode != 0
    ok("delete", "first", "--yes", **run)
    assert tuner("show", "first", **run).returncode == 2


def test_ctrl_c_pauses_and_running_again_resumes(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    file = slow(tmp_path, trials=2)
    command = [sys.executable, "-m", "tuner", "run", str(file), "--workers", "1"]
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        eventually(lambda: _reports(database, "slow") >= 2)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        stderr = process.stderr.read()
        assert process.wait(STUCK) == 130
    assert f" -m tuner run {file}" in stderr.splitlines()[-1]  # how to go on, after all the rest
    assert "Traceback" not in stderr
    study = reading.find(database, "slow")
    assert study.state is StudyState.PAUSED
    trial = reading.load_trials(database, study)[0]
    assert (trial.number, trial.state) == (0, TrialState.WAITING)
    assert len(trial.reports) >= 2

    # with a smaller budget it ends soon; the interrupted trial keeps its number
    rerun = tuner(
        "run", str(file), "--set", "budget.trials=1", "--set", "budget.target=0.1",
        environment=environment, cwd=tmp_path,
    )  # fmt: skip
    assert rerun.returncode == 0, rerun.stderr
    trials = reading.load_trials(database, study)
    assert [(t.number, t.state, t.attempt) for t in trials] == [(0, TrialState.COMPLETE, 2)]


def _reports(database: Database, name: str) -> int:
    try:
        study = reading.find(database, name)
    except StudyNotFoundError:
        return 0
    return sum(len(t.reports) for t in reading.load_trials(database, study))


def test_two_runs_of_one_study_share_it(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    file = quick(tmp_path, "shared", trials=14)
    command = [sys.executable, "-m", "tuner", "run", str(file), "--workers", "1"]
    both = [
        subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        _, stderr = process.communicate(timeout=STUCK)
        assert process.returncode == 0, stderr
    study = reading.find(database, "shared")
    trials = reading.load_trials(database, study)
    assert [t.number for t in trials] == list(range(14))
    assert {t.state for t in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert study.issued == 14


def test_a_target_ends_the_study_early(environment: dict[str, str], tmp_path: Path) -> None:
    file = quick(tmp_path, trials=30)
    arguments = ("run", str(file), "--set", "budget.target=0.3", "--workers", "1", "--json")
    result = ok(*arguments, environment=environment, cwd=tmp_path)
    assert "reached the target 0.3" in result["study"]["reason"]
    assert sum(result["counts"].values()) < 30


def test_diverging_trials_pause_the_study(environment: dict[str, str], tmp_path: Path) -> None:
    file = quick(tmp_path, trials=30)
    process = tuner(
        "run", str(file), "--set", "search.learning_rate=1e30", "--set", "search.optimizer=sgd",
        "--set", "budget.max_failures=3", "--workers", "1",
        environment=environment, cwd=tmp_path,
    )  # fmt: skip
    assert process.returncode == 1
    assert "3 trials in a row failed (diverged)" in process.stderr
    overview = ok("show", "quick", environment=environment, cwd=tmp_path)
    assert "the training loss became" in overview


def test_changed_data_is_noticed(environment: dict[str, str], tmp_path: Path) -> None:
    rows = [f"{'good' if n % 2 else 'bad'} thing {n},{n % 2}" for n in range(60)]
    table = tmp_path / "reviews.csv"
    table.write_text("text,label\n" + "\n".join(rows))
    file = tmp_path / "reviews.yaml"
    file.write_text(
        "name: reviews\nfamily: text_cnn\ndata: {path: reviews.csv}\n"
        "budget: {trials: 9, epochs: 1, max_failures: 2}\n"
    )
    run = {"environment": environment, "cwd": tmp_path}
    ok("launch", str(file), **run)
    table.write_text("text,label\n" + "\n".join(rows[:40]))
    process = tuner("worker", "--until-done", "--workers", "1", **run)
    assert process.returncode == 0, process.stderr
    trials = ok("trials", "reviews", "--json", **run)
    assert {t["cause"] for t in trials} == {"user_error"}
    assert "the data has changed since the study was launched" in trials[0]["message"]
    assert "the data has changed" in trials[0]["log_tail"]
    assert "the data has changed" in ok("logs", "reviews", "0", **run)
    assert tuner("logs", "reviews", "7", **run).returncode == 2


def test_the_embedded_server_needs_nothing(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNER_")}
    environment |= {"TUNER_HOME": str(tmp_path / "home"), "TUNER_DATABASE_LINGER": "0.1"}
    file = quick(tmp_path, trials=2, epochs=1)
    ok("run", str(file), "--workers", "1", environment=environment, cwd=tmp_path)
    assert [s["state"] for s in ok("list", "--json", environment=environment, cwd=tmp_path)] == [
        "finished"
    ]
    status = ok("db", "status", "--json", environment=environment, cwd=tmp_path)
    assert status["server"] == "embedded"
    url = ok("db", "url", environment=environment, cwd=tmp_path)
    assert "***" in url
    doctor = ok("doctor", "--json", environment=environment, cwd=tmp_path)
    assert {c["name"]: c["verdict"] for c in doctor}["database"] == "ok"


@pytest.mark.parametrize("command", ["run", "worker", "trials", "export", "db", "doctor"])
def test_help_reads_well(command: str, environment: dict[str, str], tmp_path: Path) -> None:
    text = ok(command, "--help", environment=environment, cwd=tmp_path)
    assert text.strip().startswith("Usage:")
    assert "Traceback" not in text
